/**
 * Runs a job on this event loop: gives the function its context, guards its time, and makes an outcome of whatever comes.
 */
import { type AnyCanvas, checkCanvas } from '../canvas/canvas.ts'
import { Replace } from '../canvas/replace.ts'
import type { Clock, Timer } from '../clock.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError, Ignore, Retry, SoftTimeLimitExceeded, TimeLimitExceeded } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { type Composed, type RunningTask, runAs, type TaskContext } from '../task/context.ts'
import { decideRetry } from '../task/retry-policy.ts'
import { BatchRun } from './batch-run.ts'
import type { Execution, Job, Limits } from './job.ts'
import type { BatchOutcome, RunOutcome } from './outcome.ts'
import { type StepStore, Steps } from './steps.ts'
import { outcomeOfStop } from './stop-reasons.ts'

export interface RunParts<J extends Job = Job> extends StepStore<J> {
  readonly clock: Clock
  readonly logger: Logger
  readonly worker: string
  readonly limitsOf: (job: J) => Limits
  /** Stores a state of the task's own. */
  readonly updateState: (job: J, state: string, meta: unknown) => Promise<void>
}

/** A run under way. */
export class Run<J extends Job = Job> implements Execution {
  readonly pid = null
  readonly #job: J
  readonly #parts: RunParts<J>
  readonly #context: RunContext<J>

  constructor(job: J, parts: RunParts<J>) {
    this.#job = job
    this.#parts = parts
    this.#context = new RunContext(job, parts)
  }

  async outcome(): Promise<RunOutcome | BatchOutcome> {
    const { definition, message, batch } = this.#job
    if (batch !== undefined) return this.#batchOutcome(batch)
    try {
      const value = await this.#timed(
        runAs(this.#context, definition, () => definition.run(message.args, message.kwargs, this.#context)),
      )
      const { added, asleep } = this.#context
      if (asleep !== undefined) return asleep
      return added.length === 0 ? { kind: 'success', value } : { kind: 'success', value, added }
    } catch (error) {
      return this.#outcomeOf(error)
    }
  }

  async #batchOutcome(jobs: readonly Job[]): Promise<RunOutcome | BatchOutcome> {
    const run = new BatchRun(jobs, this.#context)
    try {
      await this.#timed(runAs(this.#context, this.#job.definition, () => run.start()))
    } catch (error) {
      if (error instanceof Ignore) return { kind: 'ignored' }
      const stopped = outcomeOfStop(this.#context.reason)
      if (stopped !== undefined) return stopped
      run.failAll(error)
    }
    return { kind: 'batch', outcomes: run.outcomes(outcomeOfError) }
  }

  abort(reason: CeleriacError): void {
    this.#context.abort(reason)
  }

  /** A function on the event loop cannot be ended: its signal is all there is. */
  kill(reason: CeleriacError): boolean {
    this.abort(reason)
    return false
  }

  #outcomeOf(error: unknown): RunOutcome {
    if (error instanceof Ignore) return { kind: 'ignored' }
    const stopped = outcomeOfStop(this.#context.reason)
    if (stopped !== undefined) return stopped
    const { asleep } = this.#context
    if (asleep !== undefined) return asleep
    if (error instanceof Replace) return { kind: 'replaced', canvas: error.canvas }
    return outcomeOfError(error, this.#job)
  }

  /** Adds timers only where there is a limit. A function that outlives its limit is left behind, its result unheard. */
  #timed(result: unknown): unknown {
    const { softMs, hardMs } = this.#parts.limitsOf(this.#job)
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

/** What a job's policy makes of an error. */
export function outcomeOfError(error: unknown, { definition, message }: Job): RunOutcome {
  const decision = decideRetry(error, message.retries, definition.name, definition.options)
  if (decision.retry) return { kind: 'retry', error: decision.error, countdownMs: decision.countdownMs }
  return { kind: 'failure', error: decision.error, reason: decision.reason }
}

/** The context of one run. Its signal and logger are made when first asked for: most tasks need neither. */
class RunContext<J extends Job> implements TaskContext, RunningTask {
  /** To its chord. */
  readonly added: AnyCanvas[] = []
  readonly #job: J
  readonly #parts: RunParts<J>
  #controller: AbortController | undefined
  #logger: Logger | undefined
  #reason: CeleriacError | undefined
  #steps: Steps<J> | undefined

  constructor(job: J, parts: RunParts<J>) {
    this.#job = job
    this.#parts = parts
  }

  get asleep(): (RunOutcome & { kind: 'asleep' }) | undefined {
    if (this.#steps?.asleepMs === undefined) return undefined
    return { kind: 'asleep', delayMs: this.#steps.asleepMs, steps: this.#steps.kept }
  }

  get taskId(): string {
    return this.#job.message.id
  }

  get name(): string {
    return this.#job.message.task
  }

  get queue(): string {
    return this.#job.queue
  }

  get retries(): number {
    return this.#job.message.retries
  }

  get deliveryCount(): number {
    return this.#job.deliveryCount
  }

  get rootId(): string {
    return this.#job.message.rootId
  }

  get parentId(): string | null {
    return this.#job.message.parentId
  }

  get groupId(): string | null {
    return this.#job.message.groupId
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.#job.message.headers
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
    return this.#parts.updateState(this.#job, state, meta)
  }

  step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    return this.#durable().step(name, work)
  }

  async sleep(duration: Duration, name?: string): Promise<void> {
    await this.#durable().sleep(toMs(duration, 'duration'), name)
  }

  #durable(): Steps<J> {
    this.#steps ??= new Steps(this.#job, this.#parts, this.#parts.clock)
    return this.#steps
  }

  retry(options: Parameters<TaskContext['retry']>[0] = {}): Retry {
    const { countdown, maxRetries, cause } = options
    return new Retry({
      countdownMs: countdown === undefined ? undefined : toMs(countdown, 'countdown'),
      maxRetries,
      cause,
    })
  }

  replace(canvas: Composed): Replace {
    checkCanvas(canvas, 'what replaces a task')
    return new Replace(canvas as AnyCanvas)
  }

  addToChord(canvas: Composed): void {
    checkCanvas(canvas, 'what is added to a chord')
    const { embed, groupId } = this.#job.message
    if (embed.chord === null || groupId === null) {
      throw new CeleriacError(
        'CANVAS_INVALID',
        `task ${this.taskId} is in the header of no chord, so nothing can be added to it`,
      )
    }
    this.added.push(canvas as AnyCanvas)
  }

  addChild(taskId: string): void {
    this.#job.children.push(taskId)
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
