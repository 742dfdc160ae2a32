/** The run of a batch: one call of its function for many calls of its task, each of which ends by itself. */
import { CeleriacError, Ignore, type Retry } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { type BatchContext, type Batching, type BatchRequest, valuesOf } from '../task/batch.ts'
import type { TaskContext } from '../task/context.ts'
import type { Job } from './job.ts'
import type { RunOutcome } from './outcome.ts'

type End = { readonly value: unknown } | { readonly error: unknown }

export class BatchRun {
  readonly #jobs: readonly Job[]
  readonly #context: TaskContext
  readonly #ends: (End | undefined)[]

  /** @param context of the first of the jobs, for what concerns them all */
  constructor(jobs: readonly Job[], context: TaskContext) {
    this.#jobs = jobs
    this.#context = context
    this.#ends = jobs.map(() => undefined)
  }

  /** Calls whose input does not fit fail by themselves, and the function does not see them. */
  async start(): Promise<void> {
    const [{ definition }] = this.#jobs as readonly [Job]
    const batching = definition.batching as Batching
    const items: unknown[] = []
    const places: number[] = []
    for (const [place, { message }] of this.#jobs.entries()) {
      try {
        items.push(await batching.read(message.args, message.kwargs))
        places.push(place)
      } catch (error) {
        this.#ends[place] = { error }
      }
    }
    if (items.length === 0) return
    const requests = places.map((place) => requestOf(this.#jobs[place] as Job))
    const fail = (index: number, error: unknown): void => {
      const place = places[index]
      if (place === undefined) throw new RangeError(`the batch has items 0 to ${items.length - 1}, got ${index}`)
      this.#ends[place] = { error }
    }
    const value = await batching.run(items, new BatchRunContext(this.#context, requests, fail))
    const values = valuesOf(definition.name, value, items.length)
    for (const [index, place] of places.entries()) this.#ends[place] ??= { value: values[index] }
  }

  /** Ends every call with the error that has no end of its own. */
  failAll(error: unknown): void {
    for (const place of this.#ends.keys()) this.#ends[place] ??= { error }
  }

  /** @param outcomeOf what the policy of a job makes of an error */
  outcomes(outcomeOf: (error: unknown, job: Job) => RunOutcome): RunOutcome[] {
    return this.#ends.map((end, place) => {
      if (end === undefined) return { kind: 'success', value: undefined }
      if ('value' in end) return { kind: 'success', value: end.value }
      if (end.error instanceof Ignore) return { kind: 'ignored' }
      return outcomeOf(end.error, this.#jobs[place] as Job)
    })
  }
}

function requestOf({ message, deliveryCount }: Job): BatchRequest {
  const { id: taskId, retries, rootId, parentId, groupId, headers } = message
  return { taskId, retries, deliveryCount, rootId, parentId, groupId, headers }
}

class BatchRunContext implements BatchContext {
  readonly requests: readonly BatchRequest[]
  readonly fail: BatchContext['fail']
  readonly #first: TaskContext

  constructor(first: TaskContext, requests: readonly BatchRequest[], fail: BatchContext['fail']) {
    this.#first = first
    this.requests = requests
    this.fail = fail
  }

  get taskId(): string {
    return this.#first.taskId
  }

  get name(): string {
    return this.#first.name
  }

  get queue(): string {
    return this.#first.queue
  }

  get retries(): number {
    return this.#first.retries
  }

  get deliveryCount(): number {
    return this.#first.deliveryCount
  }

  get rootId(): string {
    return this.#first.rootId
  }

  get parentId(): string | null {
    return this.#first.parentId
  }

  get groupId(): string | null {
    return this.#first.groupId
  }

  get headers(): Readonly<Record<string, unknown>> {
    return this.#first.headers
  }

  get worker(): string {
    return this.#first.worker
  }

  get signal(): AbortSignal {
    return this.#first.signal
  }

  get logger(): Logger {
    return this.#first.logger
  }

  updateState(state: string, meta?: unknown): Promise<void> {
    return this.#first.updateState(state, meta)
  }

  retry(options?: Parameters<TaskContext['retry']>[0]): Retry {
    return this.#first.retry(options)
  }

  step(): never {
    throw new CeleriacError('UNSUPPORTED', `'${this.name}' runs in batches, which have no durable steps`)
  }

  sleep(): never {
    throw new CeleriacError('UNSUPPORTED', `'${this.name}' runs in batches, which cannot sleep`)
  }

  replace(): never {
    throw new CeleriacError('UNSUPPORTED', `'${this.name}' runs in batches, whose calls cannot be replaced`)
  }

  addToChord(): never {
    throw new CeleriacError('UNSUPPORTED', `'${this.name}' runs in batches, whose calls cannot add to a chord`)
  }
}
