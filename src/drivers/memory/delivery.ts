import type { Delivery, Effects, Message } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import type { Loan } from './queue.ts'
import type { MemoryStore } from './store.ts'
import { readMessage } from './stored-message.ts'

interface DeliveryDeps {
  readonly store: MemoryStore
  readonly clock: Clock
  readonly resultExpiresMs: number
}

/** A loan in the hands of a receiver. Each settlement is one synchronous step: nothing can come between its parts. */
export class MemoryDelivery implements Delivery {
  readonly queue: string
  readonly message: Message
  readonly deliveryCount: number
  readonly delayMs: number
  readonly #deps: DeliveryDeps
  readonly #loan: Loan

  constructor(deps: DeliveryDeps, loan: Loan) {
    this.queue = loan.queue.name
    this.message = readMessage(loan.entry.message)
    this.deliveryCount = loan.entry.losses + 1
    this.delayMs = Math.max(0, loan.keptUntilMs - deps.clock.now())
    this.#deps = deps
    this.#loan = loan
  }

  async ack({ save = [], publish = [] }: Effects = {}): Promise<void> {
    const nowMs = this.#assertHeld()
    const { store, resultExpiresMs } = this.#deps
    // Whatever can be refused is refused before the first change.
    const saveAll = store.results.prepare(save, nowMs, resultExpiresMs)
    const publishAll = store.prepare(publish, nowMs)
    saveAll()
    publishAll()
    this.#loan.queue.drop(this.#loan)
  }

  async release(delayMs = 0): Promise<void> {
    const nowMs = this.#assertHeld()
    this.#loan.queue.giveBack(this.#loan, delayMs, nowMs)
  }

  async reject(): Promise<void> {
    this.#assertHeld()
    this.#loan.queue.drop(this.#loan)
  }

  async extend(leaseMs: number): Promise<void> {
    const nowMs = this.#assertHeld()
    this.#loan.extendedToMs = Math.max(this.#loan.extendedToMs, nowMs + leaseMs)
  }

  /** @returns the present time @throws LeaseLostError */
  #assertHeld(): number {
    const nowMs = this.#deps.clock.now()
    this.#deps.store.recoverLapsed(nowMs)
    this.#loan.queue.assertHeld(this.#loan)
    return nowMs
  }
}
