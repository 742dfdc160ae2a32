/** A message on loan, under the tag of the channel it came on. */
import type { Delivery, Effects, Message } from '../../broker/broker.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import type { Arrival } from './source.ts'

/** What a delivery asks of the consumer's hold that it came by. */
export interface Loan {
  ack(delivery: RabbitmqDelivery, effects: Effects | undefined): Promise<void>
  release(delivery: RabbitmqDelivery, delayMs: number): Promise<void>
  /** Whether the channel lives on which it can be settled. */
  readonly isAlive: boolean
}

export class RabbitmqDelivery implements Delivery {
  readonly queue: string
  readonly delayMs = 0
  readonly arrival: Arrival
  readonly #loan: Loan
  #isSettled = false

  constructor(loan: Loan, arrival: Arrival) {
    this.queue = arrival.source.queue
    this.arrival = arrival
    this.#loan = loan
  }

  get message(): Message {
    return this.arrival.received.message
  }

  get deliveryCount(): number {
    return this.arrival.received.losses + 1
  }

  ack(effects?: Effects): Promise<void> {
    if (effects?.save !== undefined && effects.save.length > 0) {
      return Promise.reject(new CeleriacError('UNSUPPORTED', 'RabbitMQ keeps no results that an ack could save'))
    }
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    this.#isSettled = true
    const settling = this.#loan.ack(this, effects)
    // Without effects it can fail only with the channel, and then there is nothing left to try again.
    return effects === undefined ? settling : this.#mayTryAgain(settling)
  }

  release(delayMs = 0): Promise<void> {
    const refusal = this.#refusal()
    if (refusal !== undefined) return Promise.reject(refusal)
    this.#isSettled = true
    return this.#mayTryAgain(this.#loan.release(this, delayMs))
  }

  reject(): Promise<void> {
    return this.ack()
  }

  /** The lease is the connection's, and needs no renewal. */
  async extend(): Promise<void> {
    const refusal = this.#refusal()
    if (refusal !== undefined) throw refusal
  }

  #refusal(): LeaseLostError | undefined {
    if (this.#isSettled) return new LeaseLostError('this delivery was settled before')
    if (!this.#loan.isAlive) {
      return new LeaseLostError('the channel this message came on is gone; another worker may have it')
    }
    return undefined
  }

  /** What was refused for the sake of what it brings along may be settled otherwise. */
  #mayTryAgain(settling: Promise<void>): Promise<void> {
    return settling.catch((error) => {
      if (!(error instanceof LeaseLostError)) this.#isSettled = false
      throw error
    })
  }
}
