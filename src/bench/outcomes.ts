/**
 * How flows end: by the stored outcome of their last task, which is lost with no worker and no event. A step that fails
 * ends the ones behind it, so a flow that broke off on its way has an outcome there too.
 *
 * Nobody is asked for one flow at a time. Events say which ones may have ended, and those are looked up together; the
 * others are gone through in turn, in case their events were lost. An outcome says itself when it came to be, so looking
 * late costs no exactness.
 */
import type { Clock } from '../clock.ts'
import type { ResultRecord, ResultStore } from '../result/result-store.ts'
import { isReady } from '../result/states.ts'
import { describeError } from '../result/stored-error.ts'
import type { SentFlow } from './sent-flow.ts'
import { Times } from './times.ts'

/** Failures of one kind. */
export interface FailureCount {
  /** Class of the error. */
  readonly error: string
  /** What the first of them said. */
  readonly example: string
  readonly count: number
}

/** Looked up in one go: those that may have ended, and of the others. */
const maxHinted = 1_000
const maxInTurn = 200
/** Kinds of failures that are counted apart; texts are cut. */
const maxErrors = 20
const maxTextLength = 160

export class Outcomes {
  readonly #results: ResultStore
  readonly #clock: Clock
  readonly #onEnded: (flow: SentFlow) => void
  /** By the id of their last task. The one looked up longest ago comes first. */
  readonly #pending = new Map<string, SentFlow>()
  readonly #hinted = new Set<string>()
  readonly #failures = new Map<string, { readonly example: string; count: number }>()
  /** From the moment it was to be sent to the end of its last task. */
  readonly latency = new Times()
  completed = 0
  failed = 0
  /** Epoch ms; 0 before the first. */
  lastEndMs = 0
  /** Flows that ended in each second, by its number since the epoch. */
  readonly #perSecond = new Map<number, number>()
  /** By so much at least the clock of a worker is ahead of ours. */
  aheadMs = 0

  constructor(results: ResultStore, clock: Clock, onEnded: (flow: SentFlow) => void) {
    this.#results = results
    this.#clock = clock
    this.#onEnded = onEnded
  }

  /** Flows without an outcome so far. */
  get pending(): readonly SentFlow[] {
    return [...this.#pending.values()]
  }

  get pendingCount(): number {
    return this.#pending.size
  }

  /** The most frequent first. */
  get failures(): FailureCount[] {
    return [...this.#failures].map(([error, rest]) => ({ error, ...rest })).sort((a, b) => b.count - a.count)
  }

  /** Flows a second in the busiest stretch of so many seconds; null where they did not go on for so long. */
  busiest(seconds: number): number | null {
    const [first, last] = [Math.min(...this.#perSecond.keys()), Math.max(...this.#perSecond.keys())]
    // The first and the last one are not whole seconds.
    if (!(last - first - 1 >= seconds)) return null
    let most = 0
    for (let from = first + 1; from + seconds <= last; from++) {
      let count = 0
      for (let second = from; second < from + seconds; second++) count += this.#perSecond.get(second) ?? 0
      most = Math.max(most, count)
    }
    return most / seconds
  }

  add(flow: SentFlow): void {
    this.#pending.set(flow.lastId, flow)
  }

  /** It may have ended. */
  hint({ lastId }: SentFlow): void {
    if (this.#pending.has(lastId)) this.#hinted.add(lastId)
  }

  /** Looks up some. @throws CeleriacError the store's error */
  async look(): Promise<void> {
    const hinted = take(this.#hinted, maxHinted)
    for (const id of hinted) this.#hinted.delete(id)
    const inTurn = take(this.#pending.keys(), maxInTurn)
    for (const id of inTurn) this.#moveLast(id)
    const ids = [...new Set([...hinted, ...inTurn])]
    await this.#lookUp(ids)
  }

  /** Looks up all that is left. @throws CeleriacError the store's error */
  async lookAtAll(): Promise<void> {
    const ids = [...this.#pending.keys()]
    for (let at = 0; at < ids.length; at += maxHinted) await this.#lookUp(ids.slice(at, at + maxHinted))
  }

  async #lookUp(ids: readonly string[]): Promise<void> {
    if (ids.length === 0) return
    const records = await this.#results.load(ids)
    for (const [index, record] of records.entries()) {
      const flow = this.#pending.get(ids[index] as string)
      if (flow !== undefined && record !== undefined && isReady(record.status)) this.#end(flow, record)
    }
  }

  #end(flow: SentFlow, { status, doneAt, result }: ResultRecord): void {
    const nowMs = this.#clock.now()
    const endMs = doneAt ?? nowMs
    this.#pending.delete(flow.lastId)
    this.aheadMs = Math.max(this.aheadMs, endMs - nowMs)
    this.lastEndMs = Math.max(this.lastEndMs, endMs)
    const second = Math.floor(endMs / 1_000)
    this.#perSecond.set(second, (this.#perSecond.get(second) ?? 0) + 1)
    if (status === 'SUCCESS') {
      this.completed += 1
      this.latency.record(endMs - flow.intendedMs)
    } else {
      this.failed += 1
      this.#countFailure(result)
    }
    this.#onEnded(flow)
  }

  #countFailure(stored: unknown): void {
    const { type, message } = describeError(stored)
    const own = type.slice(0, maxTextLength)
    const error = this.#failures.has(own) || this.#failures.size < maxErrors ? own : 'others'
    const failure = this.#failures.get(error) ?? { example: message.slice(0, maxTextLength), count: 0 }
    failure.count += 1
    this.#failures.set(error, failure)
  }

  #moveLast(id: string): void {
    const flow = this.#pending.get(id) as SentFlow
    this.#pending.delete(id)
    this.#pending.set(id, flow)
  }
}

function take(ids: Iterable<string>, count: number): string[] {
  const taken: string[] = []
  for (const id of ids) {
    if (taken.length >= count) break
    taken.push(id)
  }
  return taken
}
