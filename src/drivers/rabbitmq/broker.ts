/** Queues on RabbitMQ, which share them with Celery's workers and producers. See `client.ts` for the connections. */
import type { Channel } from 'amqplib'
import type {
  Broker,
  BrokerCapabilities,
  ConsumeOptions,
  Consumer,
  Depth,
  OutgoingMessage,
  PeekedMessage,
  PublishOptions,
  QueueInfo,
  ServerInfo,
} from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import { startThread } from '../../thread.ts'
import type { RabbitmqClient } from './client.ts'
import { RabbitmqConsumer } from './consumer.ts'
import { DelayedConsumer } from './delayed-consumer.ts'
import { delayPrefix, maxDelayMs } from './delays.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import { Management } from './management.ts'
import { maxMessageBytes } from './message.ts'
import { peekInto } from './peek.ts'
import { nothingHeld, Peers } from './peers.ts'
import type { PingThreadData } from './ping-thread.ts'
import { readServer } from './server-info.ts'
import type { Topics } from './topics.ts'

const extension = import.meta.url.endsWith('.ts') ? 'ts' : 'js'

/** Delayed messages are purged in groups of so many. */
const purgeBatch = 10_000
/** While a message passes from one queue of delays to the next it is in neither. In ms. */
const passageMs = 100

/** As the queues are that it makes with nothing said in the URL, which are Celery's. */
export const rabbitmqCapabilities: BrokerCapabilities = {
  maxDelayMs,
  priorityLevels: 1,
  unsetPriority: 0,
  silentPeek: false,
  lease: 'connection',
  maxMessageBytes,
  atomicSettle: false,
}

interface Counts {
  readonly messageCount: number
  readonly consumerCount: number
}

export class RabbitmqBroker implements Broker {
  readonly capabilities: BrokerCapabilities
  readonly client: RabbitmqClient
  readonly #topics: Topics
  readonly #peers: Peers
  readonly #consumers = new Set<RabbitmqConsumer | DelayedConsumer>()
  #closing: Promise<void> | undefined

  constructor(client: RabbitmqClient) {
    this.client = client
    const { maxPriority } = client.settings
    const priorityLevels = maxPriority === undefined ? 1 : Math.min(10, maxPriority + 1)
    this.capabilities = { ...rabbitmqCapabilities, priorityLevels }
    this.#topics = client.topics('celeriac.peers', 'celeriac.presence')
    this.#peers = new Peers(this.#topics, this.#consumers)
  }

  open(): Promise<void> {
    return this.client.open()
  }

  async publish(messages: Iterable<OutgoingMessage>, options?: PublishOptions): Promise<void> {
    this.#refuseClosed()
    await this.client.outbox.publish(messages, 0, options)
  }

  async consume(queues: readonly string[], options: ConsumeOptions = {}): Promise<Consumer> {
    this.#refuseClosed()
    return options.delayed === true ? this.#consumeDelayed(queues) : this.#consume(queues, options)
  }

  async server(): Promise<ServerInfo> {
    this.#refuseClosed()
    const { consuming, timeoutMs, settings } = this.client
    const { serverVersion, product, facts } = await consuming.ready(timeoutMs)
    // The protocol tells no more.
    const managed = await readServer(new Management(settings))
    return { product, version: serverVersion || null, ...managed, facts: { ...facts, ...managed.facts } }
  }

  async queues(): Promise<QueueInfo[]> {
    this.#refuseClosed()
    const { usedQueues, pausedQueues, topology } = this.client
    const listed = new Set([...(await usedQueues.list()), ...topology.queues])
    const names = [...listed].filter((name) => !name.startsWith(delayPrefix)).sort()
    const [held, paused] = await Promise.all([this.#peers.held(names), pausedQueues.list()])
    const infos: QueueInfo[] = []
    for (const queue of names) {
      const counts = await this.#counts(queue)
      if (counts === undefined) continue
      const { loaned, arrived, subscriptions, consumers } = held.get(queue) ?? nothingHeld
      infos.push({
        queue,
        ready: counts.messageCount + arrived,
        delayed: 0,
        inFlight: loaned,
        paused: paused.includes(queue),
        // Those that are not ours, Python's for example, have one subscription each.
        consumers: consumers + Math.max(0, counts.consumerCount - subscriptions),
        oldestMs: null,
      })
    }
    return infos
  }

  async depth(queue: string): Promise<Depth> {
    this.#refuseClosed()
    const counts = await this.#counts(queue)
    if (counts === undefined) return { ready: 0, delayed: 0, inFlight: 0 }
    const { loaned, arrived } = (await this.#peers.held([queue])).get(queue) ?? nothingHeld
    return { ready: counts.messageCount + arrived, delayed: 0, inFlight: loaned }
  }

  async peek(queue: string, limit: number, offset = 0): Promise<PeekedMessage[]> {
    this.#refuseClosed()
    const counts = await this.#counts(queue)
    const wanted = Math.min(offset + limit, counts?.messageCount ?? 0)
    if (wanted <= offset) return []
    const session = await this.client.consuming.ready(this.client.timeoutMs)
    return (await peekInto(session, this.client.clock, queue, wanted)).slice(offset)
  }

  async purge(queue: string): Promise<number> {
    this.#refuseClosed()
    const counts = await this.#counts(queue)
    if (counts === undefined) return 0
    const { messageCount } = await this.#request(`purging queue '${queue}'`, (channel) => channel.purgeQueue(queue))
    const consumer = await this.#consumeDelayed([queue])
    try {
      for (let delayed = 0; ; ) {
        const deliveries = await consumer.fetch(purgeBatch, { waitMs: passageMs })
        if (deliveries.length === 0) return messageCount + delayed
        await Promise.all(deliveries.map((delivery) => delivery.ack()))
        delayed += deliveries.length
      }
    } finally {
      await consumer.close()
    }
  }

  async pause(queue: string): Promise<void> {
    this.#refuseClosed()
    const { pausedQueues } = this.client
    if (!(await pausedQueues.list()).includes(queue)) await pausedQueues.add(queue)
    await this.#peers.tellPaused(queue, true)
  }

  async resume(queue: string): Promise<void> {
    this.#refuseClosed()
    await this.client.pausedQueues.remove(queue)
    await this.#peers.tellPaused(queue, false)
  }

  answerPings(node: string, onChange: (isAnswering: boolean) => void): () => void {
    const data: PingThreadData = { url: this.client.url, node }
    const thread = startThread(new URL(`./ping-thread.${extension}`, import.meta.url), data)
    thread.unref()
    thread.once('message', () => onChange(true))
    thread.on('error', (error: unknown) => {
      onChange(false)
      this.client.logger.debug({ node, error }, 'pings are answered by the event loop alone')
    })
    return () => thread.postMessage('end')
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()))
    this.#topics.close()
    await this.client.close()
  }

  async #consume(queues: readonly string[], { name }: ConsumeOptions): Promise<RabbitmqConsumer> {
    const { consuming: connection, requests, topology, outbox, clock, logger, timeoutMs, pausedQueues } = this.client
    const consumer = new RabbitmqConsumer(
      {
        connection,
        requests,
        topology,
        outbox,
        clock,
        logger,
        timeoutMs,
        paused: () => pausedQueues.list(),
        onClose: (closed) => this.#consumers.delete(closed),
      },
      queues,
      name ?? `consumer-${process.pid}`,
    )
    // Known to the others before it looks who is paused, so that no pause falls between.
    this.#consumers.add(consumer)
    try {
      await this.#peers.open()
      await consumer.open()
    } catch (error) {
      this.#consumers.delete(consumer)
      throw requestFailure(error, 'to be consumed from')
    }
    return consumer
  }

  async #consumeDelayed(queues: readonly string[]): Promise<DelayedConsumer> {
    const { consuming: connection, outbox, usedQueues, clock, timeoutMs } = this.client
    await this.#peers.open()
    const consumer = new DelayedConsumer(queues, {
      connection,
      outbox,
      clock,
      timeoutMs,
      stops: async () => (await usedQueues.list()).filter((name) => name.startsWith(delayPrefix)),
      onClose: (closed) => this.#consumers.delete(closed),
    })
    this.#consumers.add(consumer)
    return consumer
  }

  /** Undefined where there is no such queue. */
  async #counts(queue: string): Promise<Counts | undefined> {
    try {
      return await this.client.requests.run(`counting queue '${queue}'`, (channel) => channel.checkQueue(queue))
    } catch (error) {
      if (replyCodeOf(error) === replyCodes.notFound) return undefined
      throw requestFailure(error, `counting queue '${queue}'`)
    }
  }

  async #request<T>(what: string, request: (channel: Channel) => Promise<T>): Promise<T> {
    try {
      return await this.client.requests.run(what, request)
    } catch (error) {
      throw requestFailure(error, what)
    }
  }

  /** The client may well be open still, for the results it also carries. */
  #refuseClosed(): void {
    if (this.#closing !== undefined) {
      throw new CeleriacError('CLOSED', `the broker on ${this.client.settings.name} is closed`)
    }
  }
}
