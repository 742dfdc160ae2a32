/**
 * One worker process: `celeriac worker` on one stage's queue, from its start to its end.
 *
 * It is a process group of its own, so that a Ctrl-C in the terminal reaches only us, and we stop it in our own order:
 * a worker that is signalled twice drops what it is doing.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import type { Stage } from './stages.ts'

export interface WorkerProcessOptions {
  readonly name: string
  readonly stage: Stage
  /** Folder of its log, which is continued. */
  readonly logs: string
  readonly environment: Record<string, string>
}

const root = join(import.meta.dirname, '..', '..')
const leash = pathToFileURL(join(import.meta.dirname, 'leash.mjs')).href
const startTimeoutMs = 30_000
/** Its last output is kept, for when that says why it failed. */
const lastWordsLength = 2_000

export class WorkerProcess {
  readonly name: string
  readonly stage: Stage
  /** Settles once it takes tasks, or has failed to. */
  readonly ready: Promise<void>
  /** How it ended, e.g. `exit code 1`. Resolves when it has. */
  readonly ended: Promise<string>
  readonly #process: ChildProcess
  #wasReady = false
  #hasEnded = false
  #lastWords = ''

  constructor({ name, stage, logs, environment }: WorkerProcessOptions) {
    this.name = name
    this.stage = stage
    const command = ['--import', leash, join(root, 'bin', 'celeriac.js'), 'worker']
    const flags = [
      '-A',
      join(import.meta.dirname, 'app.ts'),
      '-Q',
      stage.queue,
      '-c',
      `${stage.concurrency}`,
      '-n',
      name,
    ]
    this.#process = spawn(process.execPath, [...command, ...flags], {
      cwd: root,
      env: { ...process.env, ...environment },
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      detached: true,
    })
    this.ended = this.#end()
    this.ready = this.#start(join(logs, `${name}.log`))
    // Whoever does not ask learns of it by `ended`.
    this.ready.catch(() => undefined)
  }

  get pid(): number | undefined {
    return this.#process.pid
  }

  get isReady(): boolean {
    return this.#wasReady && !this.#hasEnded
  }

  get wasReady(): boolean {
    return this.#wasReady
  }

  /** The end of what it wrote. */
  get lastWords(): string {
    return this.#lastWords.trim() || '(it said nothing)'
  }

  /** What to show when it failed to start. */
  failure(): Error {
    return new Error(`worker ${this.name} does not start:\n${this.lastWords}`)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }

  /** Asks it to finish what it is doing and end; kills it when that takes longer. */
  async stop(timeoutMs: number): Promise<void> {
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.kill(), timeoutMs)
    await this.ended
    clearTimeout(timer)
  }

  async #start(logFile: string): Promise<void> {
    const { stdout, stderr } = this.#process
    const log = createWriteStream(logFile, { flags: 'a' })
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => reject(this.failure()), startTimeoutMs)
      const listen = (chunk: Buffer): void => {
        log.write(chunk)
        this.#lastWords = (this.#lastWords + chunk.toString()).slice(-lastWordsLength)
        if (this.#wasReady || !/\bready\b/.test(this.#lastWords)) return
        this.#wasReady = true
        clearTimeout(timer)
        resolve()
      }
      stdout?.on('data', listen)
      stderr?.on('data', listen)
      void this.ended.then(() => {
        clearTimeout(timer)
        log.end()
        reject(this.failure())
      })
    })
  }

  async #end(): Promise<string> {
    // 'close' comes after the last output; a process that could not be spawned has an 'error' instead.
    const [code, signal] = await once(this.#process, 'close').catch((error: Error) => [error.message, null])
    this.#hasEnded = true
    return signal === null ? `exit code ${code}` : `signal ${signal}`
  }
}
