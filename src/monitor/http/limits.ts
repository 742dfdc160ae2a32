/** How much may be asked: at once by everybody, and in a second by each. */
import type { Clock } from '../../clock.ts'
import { HttpProblem } from './problem.ts'

const maxAtOnce = 100
/** Of one address. */
const perSecond = 500
const maxBurst = 1_000
const maxAddresses = 10_000

interface Bucket {
  left: number
  atMs: number
}

export class RequestLimits {
  readonly #clock: Clock
  readonly #buckets = new Map<string, Bucket>()
  #running = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @throws HttpProblem 429, 503 */
  async within<T>(address: string, work: () => Promise<T>): Promise<T> {
    this.#take(address)
    if (this.#running >= maxAtOnce) {
      throw new HttpProblem(503, 'TOO_MANY_REQUESTS', `${maxAtOnce} requests are being answered; try again in a moment`)
    }
    this.#running += 1
    try {
      return await work()
    } finally {
      this.#running -= 1
    }
  }

  #take(address: string): void {
    const nowMs = this.#clock.monotonic()
    const bucket = this.#buckets.get(address) ?? { left: maxBurst, atMs: nowMs }
    bucket.left = Math.min(maxBurst, bucket.left + ((nowMs - bucket.atMs) * perSecond) / 1_000)
    bucket.atMs = nowMs
    // The one seen last comes last.
    this.#buckets.delete(address)
    this.#buckets.set(address, bucket)
    if (this.#buckets.size > maxAddresses) this.#buckets.delete(this.#buckets.keys().next().value as string)
    if (bucket.left < 1) {
      throw new HttpProblem(429, 'TOO_MANY_REQUESTS', `an address may send ${perSecond} requests a second`)
    }
    bucket.left -= 1
  }
}
