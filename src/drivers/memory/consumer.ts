import type { Consumer, Delivery, FetchOptions } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import { Bell } from './bell.ts'
import { MemoryDelivery } from './delivery.ts'
import type { Holder, Loan, MemoryQueue } from './queue.ts'
import type { MemoryStore } from './store.ts'

const defaultWaitMs = 5_000

/** What a consumer needs of its broker. */
export interface ConsumerDeps {
  readonly store: MemoryStore
  readonly clock: Clock
  readonly resultExpiresMs: number
  /** The consumer is closed or lost. */
  readonly onEnd: (consumer: MemoryConsumer) => void
}

/** A hold on some queues. Only a fetch that waits has a timer: for its end, or for the next message known to be due. */
export class MemoryConsumer implements Consumer {
  readonly #deps: ConsumerDeps
  readonly #holder: Holder
  readonly #delayed: boolean
  readonly #bell = new Bell()
  #queues: readonly MemoryQueue[] = []
  /** Counts on from queue to queue, so that each has its turn. */
  #turn = 0
  #ended = false

  /** `delayed` = of what is kept back, not of what is ready. */
  constructor(deps: ConsumerDeps, queues: readonly string[], leaseMs: number, delayed: boolean) {
    this.#deps = deps
    this.#delayed = delayed
    this.#holder = { leaseMs, loans: new Set(), lapsesAtMs: Number.POSITIVE_INFINITY }
    for (const queue of queues) this.#join(queue)
  }

  async fetch(max: number, { waitMs = defaultWaitMs, signal }: FetchOptions = {}): Promise<Delivery[]> {
    this.#assertOpen()
    const { store, clock } = this.#deps
    const endsAtMs = clock.monotonic() + waitMs
    while (!this.#ended && !signal?.aborted) {
      const taken = this.#take(max)
      const leftMs = endsAtMs - clock.monotonic()
      if (taken.length > 0 || leftMs <= 0) return taken.map((loan) => new MemoryDelivery(this.#deps, loan))
      const dueAtMs = this.#delayed ? [] : this.#queues.map((queue) => queue.nextDueAtMs)
      const nextAtMs = Math.min(store.nextLapseAtMs, ...dueAtMs)
      await this.#change(Math.min(leftMs, nextAtMs - clock.now()), signal)
    }
    return []
  }

  async add(queue: string): Promise<void> {
    this.#assertOpen()
    this.#join(queue)
    this.#bell.ring()
  }

  async cancel(name: string): Promise<void> {
    this.#assertOpen()
    this.#deps.store.findQueue(name)?.consumers.delete(this.#holder)
    this.#queues = this.#queues.filter((queue) => queue.name !== name)
    this.#bell.ring()
  }

  async close(): Promise<void> {
    if (this.#ended) return
    this.#end()
    const nowMs = this.#deps.clock.now()
    for (const queue of this.#queues) queue.consumers.delete(this.#holder)
    for (const loan of this.#holder.loans) loan.queue.giveBack(loan, 0, nowMs)
  }

  /**
   * Vanishes as by `kill -9`, for tests: nothing is released, and the lease begins to run out. Deliveries can still be
   * settled until then, as by a process that was stalled.
   */
  abandon(): void {
    if (this.#ended) return
    this.#end()
    this.#deps.store.lose(this.#holder, this.#deps.clock.now())
  }

  #end(): void {
    this.#ended = true
    this.#deps.onEnd(this)
    this.#bell.ring()
  }

  #join(name: string): void {
    const queue = this.#deps.store.queue(name)
    queue.consumers.add(this.#holder)
    if (!this.#queues.includes(queue)) this.#queues = [...this.#queues, queue]
  }

  /** One message from each queue in turn, until there are enough or all are empty. */
  #take(max: number): Loan[] {
    const nowMs = this.#deps.clock.now()
    this.#deps.store.recoverLapsed(nowMs)
    const taken: Loan[] = []
    let emptyInARow = 0
    while (taken.length < max && emptyInARow < this.#queues.length) {
      const queue = this.#queues[this.#turn++ % this.#queues.length]
      const loan = this.#delayed ? queue?.lendDelayed(this.#holder) : queue?.lend(this.#holder, nowMs)
      if (loan === undefined) {
        emptyInARow += 1
      } else {
        emptyInARow = 0
        taken.push(loan)
      }
    }
    return taken
  }

  /** Resolves when something may be there to take, or the fetch may have to end; after `ms` at the latest. */
  #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        signal?.removeEventListener('abort', done)
        for (const stop of stops) stop()
        resolve()
      }
      const timer = this.#deps.clock.after(ms, done)
      const stops = [this.#bell, ...this.#queues.map((queue) => queue.bell)].map((bell) => bell.listen(done))
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  #assertOpen(): void {
    if (this.#ended) throw new CeleriacError('CLOSED', 'the consumer is closed')
  }
}
