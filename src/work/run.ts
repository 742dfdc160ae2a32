/** Runs an attempt: gives the function its context, guards its time, and makes an outcome of whatever comes. */
import type { Clock, Timer } from '../clock.ts'
import { toMs } from '../duration.ts'
import { CeleriacError, Ignore, Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { type RunningTask, runAs, type TaskContext } from '../task/context.ts'
import { decideRetry } from '../task/retry-policy.ts'
import type { Attempt } from './attempt.ts'
import type { Outcome } from './outcome.ts'

export interface RunParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly worker: string
  /** Stores a state of the task's own. */
  readonly updateState: (attempt: Attempt, state: string, meta: unknown) => Promise<void>
}

/** The reason with which `ctx.signal` aborts when the worker must stop. */
export class WorkerShutdown extends CeleriacError {
  constructor() {
    super('CLOSED', 'the worker is shutting down; the task goes back to its queue')
  }
}

/** A run under way. */
export class Run {
  readonly #attempt: Attempt
  readonly #parts: RunParts
  readonly #context: RunContext

  constructor(attempt: Attempt, parts: RunParts) {
    this.#attempt = attempt
    this.#parts = parts
    this.#context = new RunContext(attempt, parts)
  }

  async outcome(): Promise<Outcome> {
    const { definition, message } = this.#attempt
    try {
      const value = await this.#timed(
        runAs(this.#context, () => definition.run(message.args, message.kwargs, this.#context)),
      )
      return { kind: 'success', value }
    } catch (error) {
      return this.#outcomeOf(error)
    }
  }

  /** Aborts `ctx.signal`; what the task then throws gives it back to its queue. */
  interrupt(): void {
    this.#context.abort(new WorkerShutdown())
  }

  #outcomeOf(error: unknown): Outcome {
    if (error instanceof Ignore) return { kind: 'ignored' }
    if (this.#context.reason instanceof WorkerShutdown) return { kind: 'interrupted' }
    const { definition, message } = this.#attempt
    const decision = decideRetry(error, message.retries, definition.name, definition.options)
    if (decision.retry) return { kind: 'retry', error: decision.error, countdownMs: decision.countdownMs }
    return { kind: 'failure', error: decision.error, reason: decision.reason }
  }

  /** Adds timers only where there is a limit. A function that outlives its limit is left behind, its result unheard. */
  #timed(result: unknown): unknown {
    const { message, definition } = this.#attempt
    const softMs = message.softTimeLimitS === null ? definition.options.softTimeLimitMs : message.softTimeLimitS * 1_000
    const hardMs = message.timeLimitS === null ? definition.options.timeLimitMs : message.timeLimitS * 1_000
    if (softMs === undefined && hardMs === undefined) return result
    const timers: Timer[] = []
    const { clock } = this.#parts
    if (softMs !== undefined) {
      timers.push(clock.after(softMs, () => this.#context.abort(new SoftTimeLimitExceeded(softMs))))
    }
    const limited = new Promise((resolve, reject) => {
      Promise.resolve(result).then(resolve, reject)
      if (hardMs === undefined) return
      const stop = (): void => {
        const error = new TimeLimitExceeded(hardMs)
        this.#context.abort(error)
        reject(error)
      }
      timers.push(clock.after(hardMs, stop))
    })
    return limited.finally(() => {
      for (const timer of timers) timer.cancel()
    })
  }
}

/** The context of one run. Its signal and logger are made when first asked for: most tasks need neither. */
class RunContext implements TaskContext, RunningTask {
  readonly #attempt: Attempt
  readonly #parts: RunParts
  #controller: AbortController | undefined
  #logger: Logger | undefined
  #reason: CeleriacError | undefined

  constructor(attempt: Attempt, parts: RunParts) {
    this.#attempt = attempt
    this.#parts = parts
  }

  get taskId(): string {
    return this.#attempt.message.id
  }

  get name(): string {
    return this.#attempt.message.task
  }

  get queue(): string {
    return this.#attempt.delivery.queue
  }

  get retries(): number {
    return this.#attempt.message.retries
  }

  get deliveryCount(): number {
    return this.#attempt.delivery.deliveryCount
  }

  get rootId(): string {
    return this.#attempt.message.rootId
  }

  get parentId(): string | null {
    return this.#attempt.message.parentId
  }

  get groupId(): string | null {
    return this.#attempt.message.groupId
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.#attempt.message.headers
  }

  get worker(): string {
    return this.#parts.worker
  }

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#reason !== undefined) this.#controller.abort(this.#reason)
    }
    return this.#controller.signal
  }

  get logger(): Logger {
    this.#logger ??= taskLogger(this.#parts.logger, { task: this.name, taskId: this.taskId })
    return this.#logger
  }

  /** Why the run was told to stop, if it was. */
  get reason(): CeleriacError | undefined {
    return this.#reason
  }

  updateState(state: string, meta: unknown = null): Promise<void> {
    return this.#parts.updateState(this.#attempt, state, meta)
  }

  retry(options: Parameters<TaskContext['retry']>[0] = {}): Retry {
    const { countdown, maxRetries, cause } = options
    return new Retry({
      countdownMs: countdown === undefined ? undefined : toMs(countdown, 'countdown'),
      maxRetries,
      cause,
    })
  }

  addChild(taskId: string): void {
    this.#attempt.children.push(taskId)
  }

  abort(reason: CeleriacError): void {
    if (this.#reason !== undefined) return
    this.#reason = reason
    this.#controller?.abort(reason)
  }
}

function taskLogger(logger: Logger, task: object): Logger {
  return {
    debug: (fields, message) => logger.debug({ ...task, ...fields }, message),
    info: (fields, message) => logger.info({ ...task, ...fields }, message),
    warn: (fields, message) => logger.warn({ ...task, ...fields }, message),
    error: (fields, message) => logger.error({ ...task, ...fields }, message),
  }
}
