/** The caller's side of a task: its id, and whatever the result store knows of it. */
import type { Clock } from '../clock.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError, TaskFailedError, TaskRevokedError } from '../errors.ts'
import { fromJsonValue } from '../json.ts'
import type { GroupResult } from './group-result.ts'
import type { ResultRecord, ResultStore } from './result-store.ts'
import { isReady, type TaskState } from './states.ts'
import { describeError } from './stored-error.ts'
import { type ResultNode, resultTree } from './tree.ts'
import { type Why, whyWaiting } from './why.ts'

/** Where results are read from. Without a store every question is answered by `RESULTS_DISABLED`. */
export interface ResultSource {
  readonly store: ResultStore | undefined
  readonly clock: Clock
  /** The call asked that none be kept. @default false */
  readonly isIgnored?: boolean
  readonly revoke: (ids: string | readonly string[], options: RevokeOptions) => Promise<unknown>
}

export interface RevokeOptions {
  /** Also end it where it is running: a child that runs it is killed. @default false: its signal aborts */
  readonly terminate?: boolean
}

export interface WaitOptions {
  /** @default waits as long as it takes */
  readonly timeout?: Duration
  readonly signal?: AbortSignal
}

/** A push can be missed while a store fails over; so a long wait looks again by itself, this often. */
const lookAgainMs = 10_000

export class AsyncResult<T = unknown> {
  readonly id: string
  /** The step before it, where it is a step of a chain sent from here; of the body of a chord its header. */
  readonly parent: AsyncResult | GroupResult | undefined
  readonly #source: ResultSource

  constructor(id: string, source: ResultSource, parent?: AsyncResult | GroupResult) {
    this.id = id
    this.parent = parent
    this.#source = source
  }

  /**
   * The returned value, once the task has ended.
   * @throws TaskFailedError what the task threw
   * @throws TaskRevokedError it was revoked or had expired
   * @throws CeleriacError `RESULT_TIMEOUT`, or `RESULTS_DISABLED` where the app keeps no results
   */
  async get(options: WaitOptions = {}): Promise<T> {
    const deadline = options.timeout === undefined ? undefined : AbortSignal.timeout(toMs(options.timeout, 'timeout'))
    const signals = [deadline, options.signal].filter((signal) => signal !== undefined)
    for await (const record of this.watch({ signal: AbortSignal.any(signals) })) {
      if (isReady(record.status)) return outcomeOf(record) as T
    }
    options.signal?.throwIfAborted()
    throw new CeleriacError(
      'RESULT_TIMEOUT',
      `task ${this.id} had not ended after ${options.timeout}; it may still be waiting or running (state: ${await this.state()})`,
    )
  }

  /**
   * Has it not run: one that waits never starts, on any worker; one that runs has its `ctx.signal` aborted. Resolves once
   * that is on its way, whatever the task does then.
   */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    await this.#source.revoke(this.id, options)
  }

  /** PENDING while it waits in a queue; UNKNOWN for an id the store has never heard of, or has forgotten. */
  async state(): Promise<TaskState | 'UNKNOWN'> {
    return (await this.info())?.status ?? 'UNKNOWN'
  }

  /** Everything the store knows of it. */
  async info(): Promise<ResultRecord | undefined> {
    const [record] = await this.#store().load([this.id])
    return record === undefined ? undefined : { ...record, result: fromJsonValue(record.result) }
  }

  /** Each state as it is stored, the present one first, up to the end of the task or the signal. */
  async *watch({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<ResultRecord, void, undefined> {
    const news: ResultRecord[] = []
    let wake: () => void = () => undefined
    const store = this.#store()
    const subscription = await store.subscribe([this.id], (record) => {
      news.push(record)
      wake()
    })
    const onAbort = (): void => wake()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      const present = await this.info()
      let fence = -1
      if (present !== undefined) {
        fence = present.fence
        yield present
        if (isReady(present.status)) return
      }
      while (!signal?.aborted) {
        const record = news.shift()
        if (record !== undefined) {
          if (record.fence < fence) continue
          fence = record.fence
          yield { ...record, result: fromJsonValue(record.result) }
          if (isReady(record.status)) return
          continue
        }
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, lookAgainMs)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
        if (news.length === 0 && !signal?.aborted) news.push(...(await this.#missed()))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      await subscription.close()
    }
  }

  /** Removes what the store keeps of it. */
  async forget(): Promise<void> {
    await this.#store().forget([this.id])
  }

  /** The whole pipeline it belongs to, from its first task on, as far as the store knows it. */
  async tree(): Promise<ResultNode> {
    return resultTree(this.id, this.#store())
  }

  /** What it waits for, if it has not ended, down to what runs, lies in a queue, or is lost. */
  why(): Promise<Why> {
    return whyWaiting(this.id, this.#store())
  }

  async #missed(): Promise<ResultRecord[]> {
    const [record] = await this.#store().load([this.id])
    return record !== undefined && isReady(record.status) ? [record] : []
  }

  #store(): ResultStore {
    return storeOf(this.#source, `task ${this.id}`)
  }
}

/** @throws CeleriacError `RESULTS_DISABLED` */
export function storeOf(source: ResultSource | undefined, what: string): ResultStore {
  if (source?.isIgnored) {
    throw new CeleriacError('RESULTS_DISABLED', `${what} was sent with \`ignoreResult\`, so no result of it is kept`)
  }
  if (source?.store === undefined) {
    throw new CeleriacError(
      'RESULTS_DISABLED',
      'this application keeps no results; create it with `results: true` or the URL of a result store',
    )
  }
  return source.store
}

/** The value of an ended task. @throws TaskFailedError, TaskRevokedError */
export function outcomeOf({ taskId, status, result, traceback }: ResultRecord): unknown {
  if (status === 'SUCCESS') return result
  const { type, module, message } = describeError(result)
  if (status === 'REVOKED') throw new TaskRevokedError(taskId, message)
  throw new TaskFailedError(taskId, type, message, traceback, module)
}
