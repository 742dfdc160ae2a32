/**
 * One queue of a consumer: what the server may send of it, and what has arrived and waits to be fetched.
 *
 * AMQP's way to say "so many at a time" is a number fixed with each subscription (per-consumer prefetch; quorum queues
 * refuse any other). So a source holds as many subscriptions as it takes to be owed what was asked for: it adds one
 * when a fetch wants more, and ends them all when nobody fetches what they brought.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Acks } from './acks.ts'
import { decodeMessage, type Received } from './message.ts'

/** One subscription, and how much it may bring at a time. */
interface Subscription {
  readonly prefetch: number
  unacknowledged: number
}

/** A message that has arrived, under the channel's tag. */
export class Arrival {
  readonly raw: ConsumeMessage
  readonly source: Source
  #received: Received | undefined

  constructor(raw: ConsumeMessage, source: Source) {
    this.raw = raw
    this.source = source
  }

  get tag(): number {
    return this.raw.fields.deliveryTag
  }

  /** Read when first asked for, and only once: reading takes what is ours out of the headers. */
  get received(): Received {
    this.#received ??= decodeMessage(this.raw)
    return this.#received
  }
}

export interface SourceParts {
  readonly channel: Channel
  readonly acks: Acks
  /** Something was added to `arrivals`. */
  readonly onArrival: () => void
  /** The server ended a subscription: the queue is gone, or has moved. */
  readonly onCancel: (queue: string) => void
  /** Decides whether an arrival may be fetched; false = it was dealt with otherwise. */
  readonly accept: (arrival: Arrival) => boolean
}

/** Beyond so many subscriptions they are made into one again. */
const maxSubscriptions = 16

export class Source {
  readonly queue: string
  readonly arrivals: Arrival[] = []
  isPaused = false
  readonly #parts: SourceParts
  readonly #subscriptions = new Map<string, Subscription>()
  /** By delivery tag, so that a settled delivery gives its room back. */
  readonly #bearers = new Map<number, Subscription>()
  #changing: Promise<void> | undefined

  constructor(queue: string, parts: SourceParts) {
    this.queue = queue
    this.#parts = parts
  }

  get subscriptions(): number {
    return this.#subscriptions.size
  }

  /** Makes sure that about so many may come, beyond what is here. */
  async want(count: number): Promise<void> {
    while (this.#changing !== undefined) await this.#changing
    const missing = count - this.#owed()
    if (this.isPaused || missing <= count / 2) return
    await this.#change(async () => {
      if (this.#subscriptions.size >= maxSubscriptions) await this.#cancelAll()
      await this.#subscribe(Math.min(count, 65_535) - this.#owed())
    })
  }

  /** Ends all subscriptions; what has arrived stays. */
  async stop(): Promise<void> {
    while (this.#changing !== undefined) await this.#changing
    if (this.#subscriptions.size > 0) await this.#change(() => this.#cancelAll())
  }

  /** A delivery is off our hands. */
  settled(tag: number): void {
    const bearer = this.#bearers.get(tag)
    if (bearer === undefined) return
    this.#bearers.delete(tag)
    bearer.unacknowledged -= 1
  }

  #owed(): number {
    let owed = 0
    for (const { prefetch, unacknowledged } of this.#subscriptions.values()) owed += prefetch - unacknowledged
    return owed
  }

  async #subscribe(prefetch: number): Promise<void> {
    if (prefetch <= 0) return
    const { channel } = this.#parts
    const subscription: Subscription = { prefetch, unacknowledged: 0 }
    const deliver = (raw: ConsumeMessage | null): void => {
      if (raw === null) this.#ended(subscription)
      else this.#arrived(subscription, raw)
    }
    // Sent one after the other, without another source's number between them.
    const [, { consumerTag }] = await Promise.all([channel.prefetch(prefetch), channel.consume(this.queue, deliver)])
    this.#subscriptions.set(consumerTag, subscription)
  }

  async #cancelAll(): Promise<void> {
    const tags = [...this.#subscriptions.keys()]
    this.#subscriptions.clear()
    await Promise.all(tags.map((tag) => this.#parts.channel.cancel(tag)))
  }

  #change(change: () => Promise<void>): Promise<void> {
    this.#changing = change().finally(() => {
      this.#changing = undefined
    })
    return this.#changing
  }

  #arrived(subscription: Subscription, raw: ConsumeMessage): void {
    const tag = raw.fields.deliveryTag
    const { acks, accept, onArrival } = this.#parts
    acks.opened(tag)
    subscription.unacknowledged += 1
    this.#bearers.set(tag, subscription)
    const arrival = new Arrival(raw, this)
    if (!accept(arrival)) return
    this.arrivals.push(arrival)
    onArrival()
  }

  #ended(subscription: Subscription): void {
    for (const [tag, known] of this.#subscriptions) if (known === subscription) this.#subscriptions.delete(tag)
    this.#parts.onCancel(this.queue)
  }
}
