/** One message on loan. */
import type { Delivery, Effects, Message } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import { decodeEnvelope, type Envelope } from './envelope.ts'
import type { Held } from './settlements.ts'

/** What a delivery asks of its consumer. */
export interface Loan {
  readonly id: string
  ack(held: Held, effects: Effects | undefined): Promise<void>
  release(held: Held, delayMs: number): Promise<void>
  extend(leaseMs: number): Promise<void>
  /** It is settled: no longer to be kept over a broken connection. */
  forget(number: number): void
}

export interface Taken {
  readonly queue: string
  readonly number: number
  readonly delayMs: number
  /** The envelope, as it came. */
  readonly text: string
}

export class RedisDelivery implements Delivery, Held {
  readonly queue: string
  readonly number: number
  readonly delayMs: number
  readonly consumer: Loan
  #text: string
  #envelope: Envelope | undefined
  #isSettled = false

  constructor(consumer: Loan, { queue, number, delayMs, text }: Taken) {
    this.consumer = consumer
    this.queue = queue
    this.number = number
    this.delayMs = delayMs
    this.#text = text
  }

  get message(): Message {
    return this.#open().message
  }

  get deliveryCount(): number {
    return this.#open().losses + 1
  }

  ack(effects?: Effects): Promise<void> {
    return this.#begin() ?? this.consumer.ack(this, effects)
  }

  release(delayMs = 0): Promise<void> {
    return this.#begin() ?? this.consumer.release(this, delayMs)
  }

  reject(): Promise<void> {
    return this.ack()
  }

  /** Told once a settlement is over. One that failed may be tried again. */
  settled(error: unknown): void {
    if (error === undefined || error instanceof LeaseLostError) this.consumer.forget(this.number)
    else this.#isSettled = false
  }

  async extend(leaseMs: number): Promise<void> {
    if (this.#isSettled) throw settledBefore()
    await this.consumer.extend(leaseMs)
  }

  /** Read when it is asked for: of those that wait for a slot, only the text is in memory. */
  #open(): Envelope {
    if (this.#envelope === undefined) {
      this.#envelope = decodeEnvelope(this.#text)
      this.#text = ''
    }
    return this.#envelope
  }

  /** A refusal, where it was settled before. */
  #begin(): Promise<never> | undefined {
    if (this.#isSettled) return Promise.reject(settledBefore())
    this.#isSettled = true
    return undefined
  }
}

function settledBefore(): LeaseLostError {
  return new LeaseLostError('this delivery was settled before')
}
