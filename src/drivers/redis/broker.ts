/** Queues on Redis, in kombu's layout, so that Python's producers and workers share them. See `keys.ts`. */
import type {
  Broker,
  BrokerCapabilities,
  ConsumeOptions,
  Consumer,
  Depth,
  OutgoingMessage,
  PeekedMessage,
  QueueInfo,
  ServerInfo,
} from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import type { RedisClient } from './client.ts'
import { RedisConsumer } from './consumer.ts'
import { depthOf, peekAt, purgeQueue, queuesOf } from './inspection.ts'
import { KeyWatch } from './key-watch.ts'
import { bindingKey, separator } from './keys.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { maxMessageBytes, Outbox } from './outbox.ts'
import { pauseQueue, resumeQueue } from './pausing.ts'
import { Promoter } from './promoter.ts'
import { serverOf } from './server-info.ts'
import { Settlements } from './settlements.ts'

export const redisCapabilities: BrokerCapabilities = {
  maxDelayMs: Number.POSITIVE_INFINITY,
  priorityLevels: 4,
  unsetPriority: 9,
  silentPeek: true,
  lease: 'timed',
  maxMessageBytes,
  atomicSettle: true,
}

const defaultLeaseMs = 30_000

export class RedisBroker implements Broker {
  readonly capabilities = redisCapabilities
  readonly client: RedisClient
  /** Shared with whoever publishes in a script of its own. */
  readonly outbox: Outbox
  readonly #settlements: Settlements
  readonly #leases: LeaseKeeper
  readonly #keyWatch: KeyWatch
  readonly #promoter: Promoter
  readonly #consumers = new Set<RedisConsumer>()
  /** Queues that the server was told of on the present connection. */
  readonly #known = new Set<string>()
  readonly #publishing = new Set<Promise<unknown>>()
  #stopHearing: () => void = () => undefined
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined

  constructor(client: RedisClient) {
    this.client = client
    const onQueue = (queue: string): void => this.#know(queue)
    this.#promoter = new Promoter(client)
    this.outbox = new Outbox(client, onQueue, (nextMs) => this.#promoter.plan(nextMs))
    this.#settlements = new Settlements(client, this.outbox)
    this.#leases = new LeaseKeeper(client)
    this.#keyWatch = new KeyWatch(client)
  }

  open(): Promise<void> {
    this.#opening ??= this.client.open().then(() => {
      this.#stopHearing = this.client.onUp(() => this.#known.clear())
    })
    return this.#opening
  }

  async publish(messages: Iterable<OutgoingMessage>): Promise<void> {
    this.#refuseClosed()
    const publishing = this.outbox.publish(messages)
    this.#publishing.add(publishing)
    try {
      await publishing
    } finally {
      this.#publishing.delete(publishing)
    }
  }

  async consume(queues: readonly string[], options: ConsumeOptions = {}): Promise<Consumer> {
    this.#refuseClosed()
    const { leaseMs = defaultLeaseMs, name = `consumer-${process.pid}`, delayed = false } = options
    const parts = {
      client: this.client,
      settlements: this.#settlements,
      leases: this.#leases,
      keyWatch: this.#keyWatch,
      onClose: (closed: RedisConsumer) => void this.#consumers.delete(closed),
      onQueue: (queue: string) => this.#know(queue),
      onDelayed: (nextMs: number) => this.#promoter.plan(nextMs),
    }
    const consumer = new RedisConsumer(parts, queues, { leaseMs, name, delayed })
    await consumer.open()
    this.#consumers.add(consumer)
    return consumer
  }

  async queues(): Promise<QueueInfo[]> {
    this.#refuseClosed()
    return queuesOf(this.client)
  }

  async server(): Promise<ServerInfo> {
    this.#refuseClosed()
    return serverOf(this.client)
  }

  async depth(queue: string): Promise<Depth> {
    this.#refuseClosed()
    return depthOf(this.client, queue)
  }

  async peek(queue: string, limit: number, offset = 0): Promise<PeekedMessage[]> {
    this.#refuseClosed()
    return peekAt(this.client, queue, limit, offset)
  }

  async purge(queue: string): Promise<number> {
    this.#refuseClosed()
    return purgeQueue(this.client, queue)
  }

  async pause(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#know(queue)
    await pauseQueue(this.client, queue)
  }

  async resume(queue: string): Promise<void> {
    this.#refuseClosed()
    await resumeQueue(this.client, queue)
  }

  answerPings(node: string, onChange: (isAnswering: boolean) => void): () => void {
    return this.#leases.answerPings(node, onChange)
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    if (this.#opening === undefined) return
    await Promise.allSettled([...this.#consumers].map((consumer) => consumer.close()))
    await Promise.allSettled(this.#publishing)
    this.#promoter.close()
    this.#stopHearing()
    await this.#leases.close()
    await this.#keyWatch.close()
    await this.client.close()
  }

  /** Makes a queue known to us and, as kombu does when it declares one, to Python's producers. */
  #know(queue: string): void {
    if (this.#known.has(queue)) return
    this.#known.add(queue)
    const { prefix } = this.client
    const tell = async (): Promise<void> => {
      await this.client.command('SADD', `${prefix}celeriac:queues`, queue)
      await this.client.command('SADD', bindingKey(prefix, queue), `${queue}${separator}${separator}${queue}`)
    }
    tell().catch((error) => {
      this.#known.delete(queue)
      this.client.logger.warn({ queue, error }, 'a queue could not be made known')
    })
  }

  /** @throws CeleriacError `CLOSED` */
  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', 'the broker is closed')
    if (this.#opening === undefined) throw new CeleriacError('CLOSED', 'the broker is not open')
  }
}
