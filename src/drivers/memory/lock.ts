import type { Lock, LockLease } from '../../broker/lock.ts'
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { LockTable } from './lock-table.ts'
import type { MemoryOptions } from './store.ts'

/** The reference lock: among the parts of this process. */
export class MemoryLock implements Lock {
  readonly #locks: LockTable
  readonly #clock: Clock
  #closed = false

  constructor({ store, clock = systemClock }: MemoryOptions) {
    this.#locks = store.locks
    this.#clock = clock
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async acquire(name: string, leaseMs: number): Promise<LockLease | null> {
    this.#assertOpen()
    const token = this.#locks.acquire(name, leaseMs, this.#clock.now())
    if (token === null) return null
    return {
      name,
      token,
      renew: async (newLeaseMs) => this.#locks.renew(name, token, newLeaseMs, this.#clock.now()),
      release: async () => this.#locks.release(name, token),
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory lock is closed')
  }
}
