/**
 * Calls of batch tasks on their way into a run: put together by task and key until there are enough of them, or the
 * first has waited long enough.
 */
import type { Batching } from '../task/batch.ts'
import type { Attempt } from './attempt.ts'

interface Batch {
  /** Of its task and of its calls. */
  readonly key: string
  readonly attempts: Attempt[]
  readonly maxSize: number
  /** On the monotonic clock. */
  readonly deadline: number
}

export class Gathering {
  /** In the order of their first calls. */
  readonly #batches = new Set<Batch>()
  /** Those that take more, by task and key. */
  readonly #open = new Map<string, Batch>()
  #size = 0

  /** Calls that wait here. */
  get size(): number {
    return this.#size
  }

  attempts(): Attempt[] {
    return [...this.#batches].flatMap(({ attempts }) => attempts)
  }

  /** @param now on the monotonic clock @throws what the key of the call throws */
  add(attempt: Attempt, now: number): void {
    const { message, definition } = attempt
    const { maxSize, maxWaitMs, keyOf } = definition.batching as Batching
    const key = JSON.stringify([message.task, keyOf(message.args, message.kwargs)])
    let batch = this.#open.get(key)
    if (batch === undefined) {
      batch = { key, attempts: [], maxSize, deadline: now + maxWaitMs }
      this.#batches.add(batch)
      this.#open.set(key, batch)
    }
    batch.attempts.push(attempt)
    this.#size += 1
    if (batch.attempts.length >= maxSize) this.#open.delete(key)
  }

  /** The oldest of those that are complete or have waited long enough. It leaves. */
  takeReady(now: number): Attempt[] | undefined {
    for (const batch of this.#batches) {
      if (batch.attempts.length >= batch.maxSize || batch.deadline <= now) return this.#take(batch)
    }
    return undefined
  }

  /** Everything, ready or not. */
  takeAll(): Attempt[] {
    return [...this.#batches].flatMap((batch) => this.#take(batch))
  }

  /** When the next of the incomplete ones has waited long enough, on the monotonic clock; Infinity without any. */
  get nextDeadline(): number {
    let next = Number.POSITIVE_INFINITY
    for (const { deadline } of this.#open.values()) next = Math.min(next, deadline)
    return next
  }

  #take(batch: Batch): Attempt[] {
    this.#batches.delete(batch)
    this.#size -= batch.attempts.length
    if (this.#open.get(batch.key) === batch) this.#open.delete(batch.key)
    return batch.attempts
  }
}
