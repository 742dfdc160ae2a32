/**
 * How often tasks may start in this worker: a bucket of one token for each limited task, filled at its rate (Celery's
 * `rate_limit`; the arithmetic is the generic cell rate algorithm, ITU-T I.371).
 *
 * What may not start yet goes back to the broker, each message until a moment of its own, so that a crowd that was
 * refused does not return as a crowd.
 */
import type { Clock } from '../clock.ts'

interface Bucket {
  readonly periodMs: number
  /** When the next may start, on the monotonic clock. */
  nextAt: number
  /** When the last of those that were sent away comes back. */
  lastBackAt: number
}

export class RateLimits {
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param perSecond undefined = no limit */
  set(task: string, perSecond: number | undefined): void {
    if (perSecond === undefined) this.#buckets.delete(task)
    else this.#buckets.set(task, { periodMs: 1_000 / perSecond, nextAt: 0, lastBackAt: 0 })
  }

  /** 0 = it may start, and its token is taken; else how long it should stay away, in ms. */
  take(task: string): number {
    const bucket = this.#buckets.get(task)
    if (bucket === undefined) return 0
    const now = this.#clock.monotonic()
    if (now >= bucket.nextAt) {
      bucket.nextAt = now + bucket.periodMs
      return 0
    }
    bucket.lastBackAt = Math.max(bucket.lastBackAt, bucket.nextAt - bucket.periodMs) + bucket.periodMs
    return bucket.lastBackAt - now
  }
}
