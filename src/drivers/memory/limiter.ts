import type { Limiter, Slot, SlotAsk, TokenAsk } from '../../broker/limiter.ts'
import { assertTokenAsks } from '../../broker/token-bucket.ts'
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { LimitTable } from './limit-table.ts'
import type { MemoryOptions } from './store.ts'

/** The reference limiter: for the parts of this process. */
export class MemoryLimiter implements Limiter {
  readonly #limits: LimitTable
  readonly #clock: Clock
  #closed = false

  constructor({ store, clock = systemClock }: MemoryOptions) {
    this.#limits = store.limits
    this.#clock = clock
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async reserve(asks: readonly TokenAsk[]): Promise<(number | null)[]> {
    this.#assertOpen()
    assertTokenAsks(asks)
    const now = this.#clock.now()
    return asks.map((ask) => this.#limits.reserve(ask, now))
  }

  async acquire(asks: readonly SlotAsk[], leaseMs: number): Promise<boolean[]> {
    this.#assertOpen()
    const now = this.#clock.now()
    return asks.map((ask) => this.#limits.acquire(ask, leaseMs, now))
  }

  async renew(slots: readonly Slot[], leaseMs: number): Promise<Slot[]> {
    this.#assertOpen()
    const now = this.#clock.now()
    return slots.filter((slot) => !this.#limits.renew(slot, leaseMs, now))
  }

  async release(slots: readonly Slot[]): Promise<void> {
    this.#assertOpen()
    for (const slot of slots) this.#limits.release(slot)
  }

  async claim(key: string, value: string, ttlMs: number): Promise<string> {
    this.#assertOpen()
    return this.#limits.claim(key, value, ttlMs, this.#clock.now())
  }

  async unclaim(key: string, value: string): Promise<void> {
    this.#assertOpen()
    this.#limits.unclaim(key, value)
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory limiter is closed')
  }
}
