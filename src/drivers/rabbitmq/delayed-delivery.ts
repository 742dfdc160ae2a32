/** A message that is being kept back, out of its delay while it is on loan. Given back, its time goes on. */
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Delivery, Effects } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import { decodeMessage, withoutReturns } from './message.ts'
import type { Outbox } from './outbox.ts'

export interface DelayedDeliveryParts {
  readonly channel: Channel
  readonly clock: Clock
  readonly outbox: Outbox
  /** Those on loan; it leaves them when it is settled, and all do when the channel ends. */
  readonly loans: Set<DelayedDelivery>
}

export class DelayedDelivery implements Delivery {
  readonly queue: string
  readonly message: Delivery['message']
  readonly deliveryCount: number
  readonly delayMs: number
  /** Epoch ms. */
  readonly dueMs: number
  readonly #parts: DelayedDeliveryParts
  readonly #raw: ConsumeMessage
  #isSettled = false

  constructor(queue: string, raw: ConsumeMessage, parts: DelayedDeliveryParts) {
    // Whoever looks through the delays takes it and gives it back, so that count says nothing.
    const { message, losses, dueMs = 0 } = decodeMessage(withoutReturns(raw))
    this.queue = queue
    this.message = message
    this.deliveryCount = losses + 1
    this.dueMs = dueMs
    this.delayMs = Math.max(0, dueMs - parts.clock.now())
    this.#parts = parts
    this.#raw = raw
  }

  async ack({ publish = [], save = [] }: Effects = {}): Promise<void> {
    this.#refuseSettled()
    if (save.length > 0) throw new CeleriacError('UNSUPPORTED', 'RabbitMQ keeps no results that an ack could save')
    await this.#parts.outbox.publish(publish)
    this.#settle((channel) => channel.ack(this.#raw))
  }

  async release(): Promise<void> {
    this.#settle((channel) => channel.nack(this.#raw, false, true))
  }

  async reject(): Promise<void> {
    await this.ack()
  }

  async extend(): Promise<void> {
    this.#refuseSettled()
    if (!this.#parts.loans.has(this)) throw channelGone()
  }

  #settle(settle: (channel: Channel) => void): void {
    this.#refuseSettled()
    try {
      settle(this.#parts.channel)
    } catch {
      throw channelGone()
    }
    this.#isSettled = true
    this.#parts.loans.delete(this)
  }

  #refuseSettled(): void {
    if (this.#isSettled) throw new LeaseLostError('this delivery was settled before')
  }
}

function channelGone(): LeaseLostError {
  return new LeaseLostError('the channel this message came on is gone; it is in its delay again')
}
