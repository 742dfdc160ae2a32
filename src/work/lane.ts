/** A pool and what waits for it: a worker has one for each kind of pool that its tasks ask for. */
import type { Delivery } from '../broker/broker.ts'
import type { Timer } from '../clock.ts'
import type { Execution } from '../pool/job.ts'
import type { Pool } from '../pool/pool.ts'
import type { Attempt } from './attempt.ts'
import { Gathering } from './gathering.ts'
import { Prefetch } from './prefetch.ts'

export class Lane {
  readonly pool: Pool<Attempt>
  readonly prefetch: Prefetch
  /** Deliveries that wait for a slot, the next one first. */
  readonly waiting: Delivery[] = []
  readonly gathering = new Gathering()
  readonly running = new Map<Execution, Attempt>()
  /** Set for the next deadline of what is gathering. */
  deadline: Timer | undefined
  /** Calls that a run takes: the batch size of the task that came last, which the next ones probably have too. */
  callsPerRun = 1
  /** When one was started last, on the monotonic clock. */
  startedLastAt = 0

  constructor(pool: Pool<Attempt>, fixedPrefetch: number | undefined) {
    this.pool = pool
    this.prefetch = new Prefetch(() => pool.capacity, fixedPrefetch)
  }

  get isFull(): boolean {
    return this.running.size >= this.pool.capacity
  }

  /** Messages it can use now. */
  get room(): number {
    const waiting = this.waiting.length + this.gathering.size
    if (this.callsPerRun === 1) return this.prefetch.room(this.running.size, waiting)
    return this.prefetch.roomForBatches(this.running.size, waiting, this.callsPerRun)
  }

  /** Messages that wait and that it cannot use soon. */
  get surplus(): number {
    if (this.callsPerRun > 1) return 0
    return this.prefetch.surplus(this.running.size, this.waiting.length)
  }

  /** How long, by what its tasks took so far, until all that waits has been started; in ms. */
  get backlogMs(): number {
    return (this.waiting.length * this.prefetch.averageRunMs) / this.pool.size
  }
}
