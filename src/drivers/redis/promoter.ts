/**
 * Sees to it that delayed messages move when they are due. Every process that publishes or consumes does so; who comes
 * first moves them for all.
 */
import type { Timer } from '../../clock.ts'
import type { RedisClient } from './client.ts'
import { promoteScript } from './scripts.ts'

/** Nobody tells of a delay that another process adds; whoever waits for messages looks every second. */
const longestMs = 5_000
const retryMs = 500

export class Promoter {
  readonly #client: RedisClient
  #timer: Timer | undefined
  #dueAt = Number.POSITIVE_INFINITY
  #isClosed = false

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** The next delayed message is due in so many ms. */
  plan(nextMs: number): void {
    const { clock } = this.#client
    const dueAt = clock.monotonic() + Math.min(nextMs, longestMs)
    if (this.#isClosed || dueAt >= this.#dueAt) return
    this.#timer?.cancel()
    this.#dueAt = dueAt
    // A timer may fire a little early.
    const inMs = nextMs > 0 ? Math.min(nextMs, longestMs) + 1 : 0
    this.#timer = clock.after(inMs, () => void this.#promote())
  }

  close(): void {
    this.#isClosed = true
    this.#timer?.cancel()
  }

  async #promote(): Promise<void> {
    this.#dueAt = Number.POSITIVE_INFINITY
    try {
      const next = Number(await this.#client.scriptOnce(promoteScript, [], [this.#client.prefix]))
      if (next >= 0) this.plan(next)
    } catch {
      this.plan(retryMs)
    }
  }
}
