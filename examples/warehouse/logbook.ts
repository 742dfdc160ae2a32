/**
 * The logbook: a line for every run of a task that begins and one when it ends, from all workers in one file.
 *
 * It exists for the numbers of this example: how often a task ran, how long, and how it ended. A run that was killed
 * has a beginning and no end. Lines are short and appended in one write each, which the system does not interleave,
 * so any number of processes may write, and none loses what was written when it is killed.
 */
import { randomUUID } from 'node:crypto'
import { closeSync, existsSync, openSync, readSync, writeSync } from 'node:fs'

export type Entry = Began | Ended

export interface Began {
  readonly what: 'began'
  /** Different for every run. */
  readonly run: string
  readonly task: string
  readonly orderId: string
  /** Epoch ms. */
  readonly at: number
  /** How many retries came before this run. */
  readonly retries: number
}

export interface Ended {
  readonly what: 'ended'
  readonly run: string
  readonly task: string
  readonly orderId: string
  readonly at: number
  readonly runMs: number
  /** Orders that were in the same run, this one included. */
  readonly together: number
  /** Class name of the error it ended with, or null where it went well. */
  readonly error: string | null
}

interface RunFacts {
  readonly name: string
  readonly retries: number
  readonly together?: number
}

export class Logbook {
  readonly #file: string
  #handle: number | undefined

  /** The file is opened by the first run. */
  constructor(file: string) {
    this.#file = file
  }

  /** Does the work of a run between its two lines. `work` is given a name for the run that no other run has. */
  async run<T>(
    { name: task, retries, together = 1 }: RunFacts,
    orderId: string,
    work: (run: string) => Promise<T>,
  ): Promise<T> {
    const run = randomUUID()
    const startedAt = performance.now()
    const end = (error: string | null): void => {
      const runMs = performance.now() - startedAt
      this.#append({ what: 'ended', run, task, orderId, at: Date.now(), runMs, together, error })
    }
    this.#append({ what: 'began', run, task, orderId, at: Date.now(), retries })
    try {
      const result = await work(run)
      end(null)
      return result
    } catch (error) {
      end(error instanceof Error ? error.name : String(error))
      throw error
    }
  }

  #append(entry: Entry): void {
    this.#handle ??= openSync(this.#file, 'a')
    writeSync(this.#handle, `${JSON.stringify(entry)}\n`)
  }
}

/** Reads a logbook from its beginning, and later what has come since. */
export class LogbookReader {
  readonly #file: string
  readonly #buffer = Buffer.alloc(256 * 1024)
  #handle: number | undefined
  #rest = ''

  constructor(file: string) {
    this.#file = file
  }

  /** The entries since the last call. A line being written just now is left for the next. */
  read(): Entry[] {
    if (this.#handle === undefined && !existsSync(this.#file)) return []
    this.#handle ??= openSync(this.#file, 'r')
    const entries: Entry[] = []
    for (;;) {
      const bytes = readSync(this.#handle, this.#buffer)
      if (bytes === 0) return entries
      const lines = (this.#rest + this.#buffer.toString('utf8', 0, bytes)).split('\n')
      this.#rest = lines.pop() ?? ''
      entries.push(...lines.flatMap(parseEntry))
    }
  }

  close(): void {
    if (this.#handle !== undefined) closeSync(this.#handle)
    this.#handle = undefined
  }
}

/** One entry, or none where a line was cut short by a full disk. */
function parseEntry(line: string): Entry[] {
  try {
    return [JSON.parse(line) as Entry]
  } catch {
    return []
  }
}
