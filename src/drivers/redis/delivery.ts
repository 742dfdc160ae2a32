/** One message on loan.. */
import type { Delivery, Effects, Message } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import type { Envelope } from './envelope.ts'
import type { Held } from './settlements.ts'

/** What a delivery asks of its consumer. */
export interface Loan {
  readonly id: string
  ack(held: Held, effects: Effects | undefined): Promise<void>
  release(held: Held, delayMs: number): Promise<void>
  extend(leaseMs: number): Promise<void>
  /** The tag is settled: no longer to be kept over a broken connection. */
  forget(tag: string): void
}

export interface Taken {
  readonly queue: string
  readonly tag: string
  readonly number: number
  readonly delayMs: number
  readonly envelope: Envelope
}

export class RedisDelivery implements Delivery, Held {
  readonly queue: string
  readonly tag: string
  readonly number: number
  readonly delayMs: number
  readonly message: Message
  readonly deliveryCount: number
  readonly consumer: Loan
  #isSettled = false

  constructor(consumer: Loan, { queue, tag, number, delayMs, envelope }: Taken) {
    this.consumer = consumer
    this.queue = queue
    this.tag = tag
    this.number = number
    this.delayMs = delayMs
    this.message = envelope.message
    this.deliveryCount = envelope.losses + 1
  }

  ack(effects?: Effects): Promise<void> {
    return this.#settle(() => this.consumer.ack(this, effects))
  }

  release(delayMs = 0): Promise<void> {
    return this.#settle(() => this.consumer.release(this, delayMs))
  }

  reject(): Promise<void> {
    return this.ack()
  }

  async extend(leaseMs: number): Promise<void> {
    if (this.#isSettled) throw settledBefore()
    await this.consumer.extend(leaseMs)
  }

  /** A settlement that failed may be tried again. */
  #settle(run: () => Promise<void>): Promise<void> {
    if (this.#isSettled) return Promise.reject(settledBefore())
    this.#isSettled = true
    const settlement = run()
    settlement.then(
      () => this.consumer.forget(this.tag),
      (error: unknown) => {
        if (error instanceof LeaseLostError) this.consumer.forget(this.tag)
        else this.#isSettled = false
      },
    )
    return settlement
  }
}

function settledBefore(): LeaseLostError {
  return new LeaseLostError('this delivery was settled before')
}
