/** The inside of a child: runs what it is sent, one job at a time, and says how each ended. */
import type { Clock } from '../clock.ts'
import type { CeleriacError } from '../errors.ts'
import { decodeJson, encodeJson } from '../json.ts'
import type { Logger } from '../logger.ts'
import type { Content } from '../send/content.ts'
import { decodeTask } from '../send/decode-task.ts'
import type { Registry } from '../task/registry.ts'
import {
  type FromChild,
  type LogLevel,
  type Question,
  receiveError,
  receiveReason,
  type SentCall,
  type SentEnd,
  type SentJob,
  sendEnd,
  type ToChild,
} from './child-messages.ts'
import type { Job } from './job.ts'
import type { BatchOutcome, RunOutcome } from './outcome.ts'
import { Run, type RunParts } from './run.ts'
import type { Kept } from './steps.ts'
import { outcomeOfStop } from './stop-reasons.ts'

export interface ChildParts {
  readonly registry: Registry
  readonly content: Content
  readonly clock: Clock
  /** Node name of the worker. */
  readonly worker: string
  readonly send: (message: FromChild) => void
  /** Undefined where nobody wants to know. */
  readonly memoryBytes: (() => number) | undefined
  /** Called when it was told to stop, and nothing runs. */
  readonly onStop: () => void
}

/** Ends are told together, but never later than this, in ms. */
const tellEveryMs = 5

interface ChildJob extends Job {
  readonly id: number
  readonly softMs: number | undefined
}

export class ChildRunner {
  readonly #parts: ChildParts
  readonly #runParts: RunParts<ChildJob>
  readonly #waiting: SentJob[] = []
  #running: { readonly id: number; readonly run: Run<ChildJob> } | undefined
  #isStopping = false
  #ends: SentEnd[] = []
  #toldAt = 0
  #lastRequest = 0
  /** Who waits for an answer. */
  readonly #requests = new Map<number, (answer: string | undefined, error: Error | undefined) => void>()

  constructor(parts: ChildParts) {
    this.#parts = parts
    this.#runParts = {
      clock: parts.clock,
      logger: new SendingLogger(parts.send),
      worker: parts.worker,
      limitsOf: ({ softMs }) => ({ softMs, hardMs: undefined }),
      updateState: async ({ id }, state, meta) => {
        await this.#ask(id, { what: 'updateState', state, meta: encodeJson(meta) })
      },
      loadStep: async ({ id }, name) => {
        const kept = await this.#ask(id, { what: 'loadStep', name })
        return kept === undefined ? undefined : (decodeJson(kept) as Kept)
      },
      keepStep: async ({ id }, name, kept) => {
        await this.#ask(id, { what: 'keepStep', name, kept: encodeJson(kept) })
      },
    }
  }

  receive(message: ToChild): void {
    switch (message.kind) {
      case 'run':
        this.#waiting.push(...message.jobs)
        if (this.#running === undefined) void this.#work()
        return
      case 'abort':
        return this.#abort(message.job, receiveReason(message.reason))
      case 'answer': {
        const settle = this.#requests.get(message.request)
        this.#requests.delete(message.request)
        return settle?.(message.answer, message.error === undefined ? undefined : receiveError(message.error))
      }
      case 'stop':
        this.#isStopping = true
        if (this.#running === undefined) this.#parts.onStop()
    }
  }

  async #work(): Promise<void> {
    for (let sent = this.#waiting.shift(); sent !== undefined; sent = this.#waiting.shift()) {
      const children: string[] = []
      const steps: string[] = []
      const outcome = await this.#run(sent, children, steps)
      this.#running = undefined
      this.#ends.push({ job: sent.id, outcome: sendEnd(outcome), children, steps })
      const now = this.#parts.clock.monotonic()
      if (this.#waiting.length === 0 || now - this.#toldAt >= tellEveryMs) this.#tell(now)
    }
    if (this.#isStopping) this.#parts.onStop()
  }

  #run(sent: SentJob, children: string[], steps: string[]): Promise<RunOutcome | BatchOutcome> {
    const { id, softMs } = sent
    let job: Job
    try {
      job = this.#jobOf(sent, children)
    } catch (error) {
      // The worker has it: its module is not what this child has loaded.
      return Promise.resolve({ kind: 'failure', error, reason: 'failed' })
    }
    const batch = sent.batch?.map((call) => this.#jobOf(call, children))
    const run = new Run<ChildJob>({ ...job, id, softMs, steps, ...(batch !== undefined && { batch }) }, this.#runParts)
    this.#running = { id, run }
    return run.outcome()
  }

  /** @throws CeleriacError `TASK_UNKNOWN` */
  #jobOf({ message: wire, queue, deliveryCount }: SentCall, children: string[]): Job {
    const message = decodeTask(wire, this.#parts.content)
    const definition = this.#parts.registry.get(message.task)
    if (definition === undefined) throw this.#parts.registry.unknown(message.task)
    return { message, wire, definition, queue, deliveryCount, children }
  }

  #tell(now: number): void {
    this.#toldAt = now
    const ends = this.#ends
    this.#ends = []
    this.#parts.send({ kind: 'ended', ends, memoryBytes: this.#parts.memoryBytes?.() })
  }

  #abort(job: number, reason: CeleriacError): void {
    if (this.#running?.id === job) return this.#running.run.abort(reason)
    const at = this.#waiting.findIndex(({ id }) => id === job)
    const outcome = outcomeOfStop(reason)
    if (at < 0 || outcome === undefined) return
    this.#waiting.splice(at, 1)
    this.#ends.push({ job, outcome: sendEnd(outcome), children: [], steps: [] })
    this.#tell(this.#parts.clock.monotonic())
  }

  #ask(job: number, question: Question): Promise<string | undefined> {
    this.#lastRequest += 1
    const request = this.#lastRequest
    return new Promise((resolve, reject) => {
      this.#requests.set(request, (answer, error) => (error === undefined ? resolve(answer) : reject(error)))
      this.#parts.send({ kind: 'ask', job, request, question })
    })
  }
}

/** Has the worker write what tasks log. */
class SendingLogger implements Logger {
  readonly #send: (message: FromChild) => void

  constructor(send: (message: FromChild) => void) {
    this.#send = send
  }

  debug(fields: object, message: string): void {
    this.#log('debug', fields, message)
  }

  info(fields: object, message: string): void {
    this.#log('info', fields, message)
  }

  warn(fields: object, message: string): void {
    this.#log('warn', fields, message)
  }

  error(fields: object, message: string): void {
    this.#log('error', fields, message)
  }

  #log(level: LogLevel, fields: object, message: string): void {
    this.#send({ kind: 'log', level, fields: JSON.stringify(fields, loggable), message })
  }
}

/** Errors have nothing that JSON shows. */
function loggable(_key: string, value: unknown): unknown {
  return value instanceof Error ? `${value.name}: ${value.message}` : typeof value === 'bigint' ? String(value) : value
}
