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
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import { MemoryConsumer } from './consumer.ts'
import { defaultResultExpiresMs, type MemoryOptions, type MemoryStore } from './store.ts'
import { maxMessageBytes } from './stored-message.ts'

export const memoryCapabilities: BrokerCapabilities = {
  maxDelayMs: Number.POSITIVE_INFINITY,
  priorityLevels: 10,
  unsetPriority: 0,
  silentPeek: true,
  lease: 'timed',
  maxMessageBytes,
  atomicSettle: true,
}

const defaultLeaseMs = 30_000

/**
 * The reference broker: queues in the memory of this process. Messages live as long as the process; connections to one
 * store share them. For tests, and for work that may be lost with the process.
 */
export class MemoryBroker implements Broker {
  readonly capabilities = memoryCapabilities
  readonly store: MemoryStore
  readonly #clock: Clock
  readonly #resultExpiresMs: number
  readonly #consumers = new Set<MemoryConsumer>()
  #closed = false

  constructor({ store, clock = systemClock, resultExpiresMs = defaultResultExpiresMs }: MemoryOptions) {
    this.store = store
    this.#clock = clock
    this.#resultExpiresMs = resultExpiresMs
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async publish(messages: Iterable<OutgoingMessage>): Promise<void> {
    this.#assertOpen()
    this.store.prepare([...messages], this.#clock.now())()
  }

  async consume(queues: readonly string[], options: ConsumeOptions = {}): Promise<Consumer> {
    this.#assertOpen()
    const { leaseMs = defaultLeaseMs, delayed = false } = options
    const deps = {
      store: this.store,
      clock: this.#clock,
      resultExpiresMs: this.#resultExpiresMs,
      onEnd: (ended: MemoryConsumer) => void this.#consumers.delete(ended),
    }
    const consumer = new MemoryConsumer(deps, queues, leaseMs, delayed)
    this.#consumers.add(consumer)
    return consumer
  }

  async queues(): Promise<QueueInfo[]> {
    const nowMs = this.#catchUp()
    return this.store.queues().map((queue) => queue.info(nowMs))
  }

  async depth(queue: string): Promise<Depth> {
    const nowMs = this.#catchUp()
    return this.store.findQueue(queue)?.depth(nowMs) ?? { ready: 0, delayed: 0, inFlight: 0 }
  }

  async peek(queue: string, limit: number, offset = 0): Promise<PeekedMessage[]> {
    const nowMs = this.#catchUp()
    return this.store.findQueue(queue)?.peek(limit, offset, nowMs) ?? []
  }

  async purge(queue: string): Promise<number> {
    this.#catchUp()
    return this.store.findQueue(queue)?.purge() ?? 0
  }

  async pause(queue: string): Promise<void> {
    this.#assertOpen()
    this.store.queue(queue).pause()
  }

  async resume(queue: string): Promise<void> {
    this.#assertOpen()
    this.store.queue(queue).resume()
  }

  async server(): Promise<ServerInfo> {
    this.#assertOpen()
    const unknown = { version: null, memoryLimitBytes: null, connections: null, fileBytes: null }
    return { product: 'memory of this process', memoryBytes: process.memoryUsage.rss(), ...unknown, facts: {} }
  }

  /** Nothing listens outside of the event loop. */
  answerPings(): () => void {
    return () => undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()))
  }

  /** @returns the present time, once what fell due by then is done */
  #catchUp(): number {
    this.#assertOpen()
    const nowMs = this.#clock.now()
    this.store.recoverLapsed(nowMs)
    return nowMs
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory broker is closed')
  }
}
