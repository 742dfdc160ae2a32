/**
 * Takes what is kept back for some queues out of the queues of delays, to be moved elsewhere. Those are shared by all
 * queues, so every message in them is looked at: what is for others, or more than was asked for, goes back at once, to
 * its old place and with its time, which runs on meanwhile.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Consumer, Delivery, FetchOptions } from '../../broker/broker.ts'
import { type Clock, sleep } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import { closeChannel } from './close-channel.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { DelayedDelivery } from './delayed-delivery.ts'
import { targetWord } from './delays.ts'
import { requestFailure } from './failures.ts'
import { giveBack } from './give-back.ts'
import type { Outbox } from './outbox.ts'

export interface DelayedConsumerParts {
  readonly connection: Connection
  readonly outbox: Outbox
  readonly clock: Clock
  /** How long to wait for a connection, in ms. */
  readonly timeoutMs: number
  /** Names of the queues of delays. */
  readonly stops: () => Promise<string[]>
  readonly onClose: (consumer: DelayedConsumer) => void
}

interface Found {
  readonly delivery: DelayedDelivery
  readonly raw: ConsumeMessage
  readonly stop: string
}

const defaultWaitMs = 5_000
/** Delays are looked through so often while nothing is found, in ms. */
const lookEveryMs = 250
/** Messages that were counted a moment ago come at once. In ms. */
const arrivalMs = 1_000

export class DelayedConsumer implements Consumer {
  readonly #parts: DelayedConsumerParts
  /** Queues by the words that stand for them in routing keys. */
  readonly #queues = new Map<string, string>()
  readonly #loans = new Set<DelayedDelivery>()
  #channel: Promise<Channel> | undefined
  #closing: Promise<void> | undefined

  constructor(queues: readonly string[], parts: DelayedConsumerParts) {
    this.#parts = parts
    for (const queue of queues) this.#queues.set(targetWord(queue), queue)
  }

  async fetch(max: number, { waitMs = defaultWaitMs, signal }: FetchOptions = {}): Promise<Delivery[]> {
    const { clock } = this.#parts
    const deadline = clock.monotonic() + waitMs
    this.#refuseClosed()
    while (this.#closing === undefined && !signal?.aborted) {
      const found = await this.#look(max)
      const leftMs = deadline - clock.monotonic()
      if (found.length > 0 || leftMs <= 0) return found
      await sleep(clock, Math.min(leftMs, lookEveryMs), signal)
    }
    return []
  }

  async add(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#queues.set(targetWord(queue), queue)
  }

  async cancel(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#queues.delete(targetWord(queue))
  }

  /** What is not settled goes back with the channel, its time unchanged. */
  close(): Promise<void> {
    this.#closing ??= this.abandon()
    return this.#closing
  }

  /** The same as to close it: nobody counts who had a message out of its delay. For tests. */
  async abandon(): Promise<void> {
    this.#parts.onClose(this)
    const channel = await this.#channel?.catch(() => undefined)
    if (channel !== undefined) await closeChannel(channel)
  }

  /** What it has of a queue, as other consumers tell it. */
  holds(queue: string): { loaned: number; arrived: number; subscriptions: number; isConsumed: boolean } {
    let loaned = 0
    for (const delivery of this.#loans) if (delivery.queue === queue) loaned += 1
    return { loaned, arrived: 0, subscriptions: 0, isConsumed: false }
  }

  /** Pausing holds back what is ready, not what is moved. */
  async setPaused(): Promise<void> {}

  /** Once through all delays, in the order messages pass from one to the next, so that none is missed. */
  async #look(max: number): Promise<DelayedDelivery[]> {
    const { clock, stops } = this.#parts
    try {
      const channel = await this.#open()
      const names = (await stops()).sort((one, other) => one.localeCompare(other, 'en', { numeric: true }))
      const found: Found[] = []
      for (const stop of names) found.push(...(await this.#lookThrough(channel, stop)))
      found.sort((one, other) => one.delivery.dueMs - other.delivery.dueMs)
      const surplus = found.splice(max)
      for (const stop of names) {
        const back = surplus.filter((one) => one.stop === stop).map(({ raw }) => raw)
        await giveBack(channel, clock, stop, back)
      }
      const taken = found.map(({ delivery }) => delivery)
      for (const delivery of taken) this.#loans.add(delivery)
      return taken
    } catch (error) {
      this.#channel?.then(closeChannel).catch(() => undefined)
      this.#channel = undefined
      throw requestFailure(error, 'a look through the delays')
    }
  }

  async #open(): Promise<Channel> {
    const { connection, timeoutMs } = this.#parts
    const session = await connection.ready(timeoutMs)
    if (this.#channel === undefined) {
      this.#channel = session.openChannel()
      const channel = await this.#channel
      channel.once('close', () => {
        this.#channel = undefined
        this.#loans.clear()
      })
    }
    return this.#channel
  }

  async #lookThrough(channel: Channel, stop: string): Promise<Found[]> {
    const { clock, outbox } = this.#parts
    const what = `looking through '${stop}'`
    const { messageCount } = await withDeadline(clock, requestTimeoutMs, what, channel.checkQueue(stop))
    if (messageCount === 0) return []
    const found: Found[] = []
    const others: ConsumeMessage[] = []
    let sawAll = (): void => undefined
    const all = new Promise<void>((resolve) => {
      sawAll = resolve
    })
    const take = (raw: ConsumeMessage | null): void => {
      if (raw === null) return sawAll()
      const queue = this.#queues.get(raw.fields.routingKey.split('.', 1)[0] ?? '')
      if (queue === undefined) others.push(raw)
      else {
        const delivery = new DelayedDelivery(queue, raw, { channel, clock, outbox, loans: this.#loans })
        found.push({ delivery, raw, stop })
      }
      if (found.length + others.length >= messageCount) sawAll()
    }
    const consuming = Promise.all([channel.prefetch(0), channel.consume(stop, take)])
    const [, { consumerTag }] = await withDeadline(clock, requestTimeoutMs, what, consuming)
    // Fewer come when some fell due since they were counted.
    await withDeadline(clock, arrivalMs, what, all).catch(() => undefined)
    await withDeadline(clock, requestTimeoutMs, what, channel.cancel(consumerTag))
    await giveBack(channel, clock, stop, others)
    return found
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', 'the consumer is closed')
  }
}
