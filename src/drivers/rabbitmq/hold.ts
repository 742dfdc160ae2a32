/**
 * What a consumer has in one session: a channel, its sources, and the messages on loan. It ends with the channel, and
 * everything it lent is lost with it; the consumer then makes another.
 *
 * A message given back is published again and its old copy acknowledged: AMQP's own way (`basic.nack`) would mark it
 * redelivered, and that mark is the only sign by which messages of killed workers are known.
 */
import type { Channel } from 'amqplib'
import type { Effects, OutgoingMessage } from '../../broker/broker.ts'
import { type Clock, sleep } from '../../clock.ts'
import { LeaseLostError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { Acks } from './acks.ts'
import { closeChannel } from './close-channel.ts'
import { type Loan, RabbitmqDelivery } from './delivery.ts'
import { countsReturns } from './message.ts'
import type { Outbox } from './outbox.ts'
import type { Session } from './session.ts'
import { type Arrival, Source } from './source.ts'

export interface HoldParts {
  readonly outbox: Outbox
  readonly clock: Clock
  readonly logger: Logger
  readonly onArrival: () => void
  readonly onCancel: (queue: string) => void
}

/** A message that could not be put back is tried again after so long, in ms. */
const retryMs = 1_000

export class Hold implements Loan {
  readonly sources = new Map<string, Source>()
  readonly session: Session
  readonly channel: Channel
  readonly #parts: HoldParts
  readonly #acks: Acks
  readonly #loans = new Set<RabbitmqDelivery>()
  /** Settlements that wait for what they publish, and messages on their way back to their queue. */
  readonly #underway = new Set<Promise<unknown>>()
  #turn = 0
  #isOver = false

  constructor(session: Session, channel: Channel, parts: HoldParts) {
    this.session = session
    this.channel = channel
    this.#parts = parts
    this.#acks = new Acks(channel)
  }

  get isAlive(): boolean {
    return !this.#isOver && this.#acks.isAlive
  }

  add(queue: string): Source {
    const { onArrival, onCancel } = this.#parts
    const accept = (arrival: Arrival): boolean => this.#accept(arrival)
    const source = new Source(queue, { channel: this.channel, acks: this.#acks, onArrival, onCancel, accept })
    this.sources.set(queue, source)
    return source
  }

  /** Leaves a queue, but keeps what is on loan of it. */
  async remove(queue: string): Promise<void> {
    const source = this.sources.get(queue)
    this.sources.delete(queue)
    if (source !== undefined) await this.#empty(source)
  }

  async pause(queue: string): Promise<void> {
    const source = this.sources.get(queue)
    if (source === undefined || source.isPaused) return
    source.isPaused = true
    await this.#empty(source)
  }

  /** What has arrived, one from each source in turn. */
  take(max: number): RabbitmqDelivery[] {
    const taken: RabbitmqDelivery[] = []
    const sources = [...this.sources.values()]
    let emptyInARow = 0
    while (taken.length < max && emptyInARow < sources.length) {
      const arrival = sources[this.#turn++ % sources.length]?.arrivals.shift()
      if (arrival === undefined) {
        emptyInARow += 1
        continue
      }
      emptyInARow = 0
      const delivery = new RabbitmqDelivery(this, arrival)
      this.#loans.add(delivery)
      taken.push(delivery)
    }
    return taken
  }

  /** Asks the server for about so many, a fair share from each queue. */
  want(max: number): Promise<unknown> {
    const share = Math.ceil(max / Math.max(1, this.sources.size))
    return Promise.all([...this.sources.values()].map((source) => source.want(share)))
  }

  /** Whether anything waits to be fetched. */
  get hasArrivals(): boolean {
    for (const { arrivals } of this.sources.values()) if (arrivals.length > 0) return true
    return false
  }

  /** Gives back what nobody has fetched. */
  async giveBackArrivals(): Promise<void> {
    await Promise.all([...this.sources.values()].map((source) => this.#empty(source)))
  }

  count(queue: string): { loaned: number; arrived: number; subscriptions: number } {
    const source = this.sources.get(queue)
    let loaned = 0
    for (const delivery of this.#loans) if (delivery.queue === queue) loaned += 1
    return { loaned, arrived: source?.arrivals.length ?? 0, subscriptions: source?.subscriptions ?? 0 }
  }

  ack(delivery: RabbitmqDelivery, effects: Effects | undefined): Promise<void> {
    const publish = effects?.publish
    if (publish !== undefined && publish.length > 0) return this.#track(this.#publishThenAck(delivery, publish, 0))
    this.#loans.delete(delivery)
    return this.#acknowledge(delivery.arrival)
  }

  release(delivery: RabbitmqDelivery, delayMs: number): Promise<void> {
    const { queue, arrival } = delivery
    const { message, losses } = arrival.received
    const copy = delayMs > 0 ? { ...message, queue, delayMs } : { ...message, queue }
    return this.#track(this.#publishThenAck(delivery, [copy], losses))
  }

  /** Until what was begun has been done. */
  async settled(): Promise<void> {
    while (this.#underway.size > 0) await Promise.allSettled(this.#underway)
    await this.#acks.settled()
  }

  /** Gives back everything that is not settled, in the order it came, and ends. */
  async close(): Promise<void> {
    await Promise.all([...this.sources.values()].map((source) => source.stop()))
    await this.settled()
    const lent = [...this.#loans].map(({ arrival }) => arrival)
    const arrived = [...this.sources.values()].flatMap(({ arrivals }) => arrivals.splice(0))
    this.#isOver = true
    this.#loans.clear()
    await this.#giveBack([...lent, ...arrived].sort((one, other) => one.tag - other.tag))
    await this.#acks.settled()
    await this.end()
  }

  /** Ends without giving anything back: the server does, and marks it. */
  async end(): Promise<void> {
    this.#isOver = true
    await closeChannel(this.channel)
  }

  async #publishThenAck(
    delivery: RabbitmqDelivery,
    messages: readonly OutgoingMessage[],
    losses: number,
  ): Promise<void> {
    await this.#parts.outbox.publish(messages, losses)
    if (!this.isAlive) throw new LeaseLostError('the channel closed before this message was acknowledged')
    this.#loans.delete(delivery)
    await this.#acknowledge(delivery.arrival)
  }

  #acknowledge({ tag, source }: Arrival): Promise<void> {
    source.settled(tag)
    return this.#acks.add(tag)
  }

  async #empty(source: Source): Promise<void> {
    await source.stop()
    const arrivals = source.arrivals.splice(0)
    try {
      await this.#track(this.#giveBack(arrivals))
    } catch (error) {
      // Still ours, for the next fetch or another try.
      source.arrivals.unshift(...arrivals)
      throw error
    }
  }

  async #giveBack(arrivals: readonly Arrival[]): Promise<void> {
    if (arrivals.length === 0) return
    // By their losses, because a call has one number for all; most have none.
    const byLosses = new Map<number, OutgoingMessage[]>()
    for (const { received, source } of arrivals) {
      const { message, losses } = received
      byLosses.set(losses, [...(byLosses.get(losses) ?? []), { ...message, queue: source.queue }])
    }
    await Promise.all([...byLosses].map(([losses, messages]) => this.#parts.outbox.publish(messages, losses)))
    await Promise.all(arrivals.map((arrival) => this.#acknowledge(arrival)))
  }

  /**
   * A message that classic queues mark as redelivered was lost with a consumer. The mark does not count, so the count is
   * written into the message before anybody runs it again: it goes back to its queue as a copy that says it.
   */
  #accept(arrival: Arrival): boolean {
    if (!arrival.raw.fields.redelivered || countsReturns(arrival.raw)) return true
    void this.#track(this.#countLoss(arrival))
    return false
  }

  async #countLoss(arrival: Arrival): Promise<void> {
    const { outbox, logger, clock } = this.#parts
    const { queue } = arrival.source
    const { message, losses } = arrival.received
    while (this.isAlive) {
      try {
        await outbox.publish([{ ...message, queue }], losses + 1)
        return await this.#acknowledge(arrival)
      } catch (error) {
        if (!this.isAlive) return
        logger.warn({ queue, error }, 'a message of a lost consumer could not be put back yet; trying again')
        await sleep(clock, retryMs)
      }
    }
  }

  #track<T>(promise: Promise<T>): Promise<T> {
    const settled: Promise<unknown> = promise.catch(() => undefined).then(() => this.#underway.delete(settled))
    this.#underway.add(settled)
    return promise
  }
}
