/**
 * A consumer: one hold after the other, as sessions and channels come and go, and the fetches that wait for them.
 *
 * A fetch asks the server for as much as it wants; nothing is fetched ahead beyond that. What arrives too late for its
 * fetch waits for the next one, and goes back when that does not come.
 */
import type { Consumer, Delivery, FetchOptions } from '../../broker/broker.ts'
import { type Clock, sleep, type Timer } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import { Hold } from './hold.ts'
import type { Outbox } from './outbox.ts'
import type { Requests } from './requests.ts'
import type { Session } from './session.ts'
import type { Topology } from './topology.ts'

export interface ConsumerParts {
  readonly connection: Connection
  readonly requests: Requests
  readonly topology: Topology
  readonly outbox: Outbox
  readonly clock: Clock
  readonly logger: Logger
  /** How long to wait for the first connection, in ms. */
  readonly timeoutMs: number
  /** Names of the queues that are paused. */
  readonly paused: () => Promise<readonly string[]>
  readonly onClose: (consumer: RabbitmqConsumer) => void
}

const defaultWaitMs = 5_000
/** What arrived and is not fetched for so long goes back for others to take. In ms. */
const staleMs = 500
/** A channel that could not be set up is tried again after so long, in ms. */
const retryMs = 250
/**
 * A channel on which a subscription is not answered for so long is given up, in ms. A server under load may take seconds;
 * one that is gone is noticed by the session long before.
 */
const deafMs = 20_000
/** What the server has counted as ready, and owes us, comes within this time. In ms. */
const lookMs = 250

export class RabbitmqConsumer implements Consumer {
  readonly name: string
  readonly #parts: ConsumerParts
  readonly #queues: Set<string>
  #hold: Hold | undefined
  #stopListening: () => void = () => undefined
  #wake: (() => void) | undefined
  #stale: Timer | undefined
  #closing: Promise<void> | undefined

  constructor(parts: ConsumerParts, queues: readonly string[], name: string) {
    this.name = name
    this.#parts = parts
    this.#queues = new Set(queues)
  }

  /** Takes hold. From then on it is made again after whatever ends it. */
  async open(): Promise<void> {
    const { connection, timeoutMs } = this.#parts
    await this.#attach(await connection.ready(timeoutMs))
    this.#stopListening = connection.listen({ onUp: (session) => void this.#attachAgain(session) })
  }

  async fetch(max: number, { waitMs = defaultWaitMs, signal }: FetchOptions = {}): Promise<Delivery[]> {
    this.#refuseClosed()
    const { clock } = this.#parts
    const deadline = clock.monotonic() + waitMs
    for (;;) {
      if (signal?.aborted || this.#closing !== undefined) return []
      const taken = this.#take(max)
      if (taken.length > 0) return taken
      const leftMs = deadline - clock.monotonic()
      if (leftMs <= 0) return waitMs > 0 ? this.#nothing() : this.#look(max)
      this.#want(max)
      await this.#change(leftMs, signal)
    }
  }

  async add(queue: string): Promise<void> {
    this.#refuseClosed()
    if (this.#queues.has(queue)) return
    this.#queues.add(queue)
    const { topology, requests, paused } = this.#parts
    await topology.ensureQueue(queue, requests)
    const isPaused = (await paused()).includes(queue)
    const hold = this.#hold
    if (hold !== undefined && !hold.sources.has(queue)) hold.add(queue).isPaused = isPaused
    this.#wake?.()
  }

  async cancel(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#queues.delete(queue)
    await this.#hold?.remove(queue)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** Ends without giving anything back, as a killed process does. For tests. */
  async abandon(): Promise<void> {
    this.#closing ??= Promise.resolve()
    this.#end()
    await this.#hold?.end()
  }

  async setPaused(queue: string, isPaused: boolean): Promise<void> {
    if (isPaused) return this.#hold?.pause(queue)
    const source = this.#hold?.sources.get(queue)
    if (source !== undefined) source.isPaused = false
    this.#wake?.()
  }

  /** What it has of a queue; undefined when it does not consume it and has nothing. */
  holds(queue: string): { loaned: number; arrived: number; subscriptions: number; isConsumed: boolean } {
    const counted = this.#hold?.count(queue) ?? { loaned: 0, arrived: 0, subscriptions: 0 }
    return { ...counted, isConsumed: this.#queues.has(queue) }
  }

  #take(max: number): Delivery[] {
    const hold = this.#hold
    if (hold === undefined) return []
    const taken = hold.take(max)
    this.#stale?.cancel()
    this.#stale = undefined
    if (hold.hasArrivals) this.#watchStale()
    return taken
  }

  /** What has arrived and is not fetched goes back after a while. */
  #watchStale(): void {
    this.#stale ??= this.#parts.clock.after(staleMs, () => {
      this.#stale = undefined
      this.#hold?.giveBackArrivals().catch((error) => {
        this.#complain(error)
        this.#watchStale()
      })
    })
  }

  #want(max: number): void {
    const hold = this.#hold
    if (hold === undefined) return
    withDeadline(this.#parts.clock, deafMs, 'subscribing to queues', hold.want(max)).catch((error) => {
      this.#complain(error)
      // A channel that does not answer would leave us deaf. One that was closed is made anew already.
      if (hold.isAlive && this.#closing === undefined) hold.session.destroy('a subscription was not answered')
    })
  }

  /** The wait is over: that nothing came is the truth only if something could have come. */
  #nothing(): Delivery[] {
    if (this.#hold?.isAlive) return []
    throw (
      this.#parts.connection.lastError ??
      new CeleriacError('BROKER_UNAVAILABLE', 'there is no channel to RabbitMQ at present; it is being opened again')
    )
  }

  /**
   * Looks once. Deliveries are pushed, so the question is whether the server has anything for us: it answers on the
   * channel that the deliveries come on, after them.
   */
  async #look(max: number): Promise<Delivery[]> {
    const hold = this.#hold
    if (hold === undefined) return this.#nothing()
    try {
      await hold.settled()
      await hold.want(max)
      for (const source of hold.sources.values()) {
        if (source.isPaused || hold.hasArrivals) continue
        const { messageCount } = await hold.channel.checkQueue(source.queue)
        // An answer of the channel alone: what the queue had sent before its own has passed by now.
        await hold.channel.prefetch(1)
        await hold.settled()
        if (messageCount > 0 && !hold.hasArrivals) await this.#change(lookMs, undefined)
      }
    } catch (error) {
      if (hold.isAlive) throw requestFailure(error, 'a look into the queues')
    }
    return this.#closing === undefined ? this.#take(max) : []
  }

  async #attachAgain(session: Session): Promise<void> {
    const { clock, logger } = this.#parts
    while (session.isAlive && this.#closing === undefined) {
      try {
        return await this.#attach(session)
      } catch (error) {
        if (!session.isAlive) return
        logger.warn({ consumer: this.name, error }, 'the queues cannot be consumed yet; trying again')
        await sleep(clock, retryMs)
      }
    }
  }

  async #attach(session: Session): Promise<void> {
    const { topology, requests, paused, outbox, clock, logger } = this.#parts
    for (const queue of this.#queues) await topology.ensureQueue(queue, requests)
    const pausedQueues = await paused()
    const channel = await withDeadline(clock, requestTimeoutMs, 'opening a channel', session.openChannel())
    const hold = new Hold(session, channel, {
      outbox,
      clock,
      logger,
      onArrival: () => this.#arrived(),
      onCancel: (queue) => this.#cancelled(queue),
    })
    for (const queue of this.#queues) hold.add(queue).isPaused = pausedQueues.includes(queue)
    channel.once('close', () => {
      if (this.#hold === hold) this.#hold = undefined
    })
    session.watch(channel, (failure) => {
      if (this.#closing !== undefined) return
      this.#explain(failure)
      void this.#attachAgain(session)
    })
    if (this.#closing !== undefined) return hold.end()
    this.#hold = hold
    this.#wake?.()
  }

  #arrived(): void {
    if (this.#wake === undefined) this.#watchStale()
    else this.#wake()
  }

  /** The server ended a subscription: the queue was deleted, or its node is gone. */
  #cancelled(queue: string): void {
    const { topology, requests, logger } = this.#parts
    logger.warn({ consumer: this.name, queue }, 'RabbitMQ ended the consumption, as it does when a queue is deleted')
    topology.forget(queue)
    topology.ensureQueue(queue, requests).then(
      () => this.#wake?.(),
      (error) => this.#complain(error),
    )
  }

  /** Tells why the server closed the channel. Everything on loan was given to others. */
  #explain(failure: Error | undefined): void {
    const queues = [...this.#queues]
    const fields = { consumer: this.name, queues: queues.join(', '), error: failure }
    if (
      replyCodeOf(failure ?? {}) === replyCodes.preconditionFailed &&
      /timed out|timeout/i.test(failure?.message ?? '')
    ) {
      const message =
        'RabbitMQ closed the channel because a message was not acknowledged within its consumer_timeout; tasks that run ' +
        'so long need a longer one: in rabbitmq.conf, or as the argument or policy consumer-timeout of their queue'
      return this.#parts.logger.error(fields, message)
    }
    this.#parts.logger.error(fields, 'RabbitMQ closed the channel; messages on loan are delivered again')
  }

  #complain(error: unknown): void {
    if (this.#closing === undefined) this.#parts.logger.debug({ consumer: this.name, error }, 'a request failed')
  }

  #end(): void {
    this.#stopListening()
    this.#stale?.cancel()
    this.#parts.onClose(this)
    this.#wake?.()
  }

  async #close(): Promise<void> {
    this.#end()
    const hold = this.#hold
    if (hold === undefined) return
    const { clock, logger, timeoutMs } = this.#parts
    await withDeadline(clock, timeoutMs, 'giving messages back', hold.close()).catch(async (error) => {
      logger.warn({ consumer: this.name, error }, 'messages could not be given back in order; RabbitMQ gives them back')
      await hold.end()
    })
  }

  /** Until something arrives or changes, or for so long. */
  #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        if (this.#wake === done) this.#wake = undefined
        timer.cancel()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.#parts.clock.after(ms, done)
      this.#wake = done
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', 'the consumer is closed')
  }
}
