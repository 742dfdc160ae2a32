/**
 * Fan-out over a topic exchange: what the bus and our own notices are made of. Each process listens through one private
 * queue, exclusive to its connection; it goes with the connection, and is made again with the next one.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import { type BusHeaders, type BusMessage, type RequestOptions, topicMatches } from '../../broker/bus.ts'
import { Gathering } from '../../broker/gathering.ts'
import { CeleriacError } from '../../errors.ts'
import { topicForm } from './exchanges.ts'
import type { Outbound } from './message.ts'
import { PrivateQueue, type PrivateQueueParts } from './private-queue.ts'
import type { Publisher } from './publisher.ts'

export interface TopicsParts extends PrivateQueueParts {
  readonly publisher: Publisher
  /** A queue that every listener consumes and nobody publishes to: the number of its consumers is that of listeners. */
  readonly presence?: string
}

type Listener = (message: BusMessage) => void

/** Where the reply to a request goes. */
interface ReplyTo {
  readonly queue: string
  readonly id: string
}

/** A topic goes as one word of the routing key, or as a header where it is longer than a key may be, in bytes. */
const maxKeyBytes = 200

export class Topics {
  readonly #parts: TopicsParts
  readonly #exchange: string
  readonly #queue: PrivateQueue
  readonly #subscriptions = new Set<{ readonly topics: readonly string[]; readonly listener: Listener }>()
  readonly #requests = new Map<string, Gathering>()
  #requestCount = 0
  #closed = false
  #countListeners: () => Promise<number> = async () => 0

  constructor(exchange: string, parts: TopicsParts) {
    this.#exchange = exchange
    this.#parts = parts
    this.#queue = new PrivateQueue(parts, {
      what: `the queue for ${exchange}`,
      bind: (channel, queue) => this.#bind(channel, queue),
      hear: (message) => this.#hear(message),
    })
  }

  /** @throws CeleriacError `PAYLOAD_INVALID`, and what publishing throws */
  async publish(topic: string, payload: unknown, headers: BusHeaders = {}, replyTo?: ReplyTo): Promise<void> {
    this.#refuseClosed()
    await this.#parts.publisher.publish([
      this.#outbound(this.#exchange, topicKey(topic), { topic, payload, headers, replyTo }),
    ])
  }

  /** @returns stops telling */
  async subscribe(topics: readonly string[], listener: Listener): Promise<() => void> {
    this.#refuseClosed()
    await this.#queue.ready()
    const subscription = { topics, listener }
    this.#subscriptions.add(subscription)
    return () => this.#subscriptions.delete(subscription)
  }

  /** Gathers replies until there are as many as wanted, or the time is over. */
  async request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    this.#refuseClosed()
    const { name: queue } = await this.#queue.ready()
    const id = String(this.#requestCount++)
    const gathering = new Gathering(this.#parts.clock, options)
    this.#requests.set(id, gathering)
    try {
      await this.publish(topic, payload, options.headers, { queue, id })
      return await gathering.over
    } finally {
      gathering.end()
      this.#requests.delete(id)
    }
  }

  /** How many processes listen, this one included once it does. Needs `presence`. */
  async listeners(): Promise<number> {
    await this.#queue.ready()
    return this.#countListeners()
  }

  /** Ends its requests with the replies there are. */
  close(): void {
    this.#closed = true
    this.#queue.close()
    this.#subscriptions.clear()
    for (const gathering of this.#requests.values()) gathering.end()
  }

  async #bind(channel: Channel, queue: string): Promise<void> {
    const { type, durable } = topicForm
    await channel.assertExchange(this.#exchange, type, { durable })
    await channel.bindQueue(queue, this.#exchange, '#')
    const { presence } = this.#parts
    if (presence === undefined) return
    await channel.assertQueue(presence, { durable: true })
    await channel.consume(presence, () => undefined, { noAck: true })
    this.#countListeners = async () => (await channel.checkQueue(presence)).consumerCount
  }

  #hear({ fields, properties, content }: ConsumeMessage): void {
    const text = content.toString('utf8')
    if (fields.exchange === '') {
      this.#requests.get(String(properties.correlationId))?.add(fromJson(text))
      return
    }
    const { topic: longTopic, headers } = (properties.headers ?? {}) as { topic?: unknown; headers?: unknown }
    const topic = typeof longTopic === 'string' ? longTopic : fields.routingKey
    const { replyTo, correlationId } = properties as { replyTo?: unknown; correlationId?: unknown }
    const reply: BusMessage['reply'] =
      typeof replyTo === 'string'
        ? (payload, beside = {}) => this.#reply({ queue: replyTo, id: String(correlationId) }, payload, beside)
        : undefined
    for (const { topics, listener } of [...this.#subscriptions]) {
      if (!topics.some((subscribed) => topicMatches(subscribed, topic))) continue
      try {
        listener({ topic, payload: fromJson(text), headers: readHeaders(headers), reply })
      } catch (error) {
        // Thrown on, it would cost every listener the channel.
        this.#parts.logger.error({ topic, error }, 'a listener on the bus threw')
      }
    }
  }

  /** To a queue that is gone with its asker, it is dropped by the server. */
  async #reply({ queue, id }: ReplyTo, payload: unknown, headers: BusHeaders): Promise<void> {
    const outbound = this.#outbound('', queue, { payload, headers })
    await this.#parts.publisher.publish([{ ...outbound, options: { ...outbound.options, correlationId: id } }])
  }

  #outbound(
    exchange: string,
    routingKey: string,
    content: {
      readonly topic?: string
      readonly payload: unknown
      readonly headers: BusHeaders
      readonly replyTo?: ReplyTo | undefined
    },
  ): Outbound {
    const { topic, payload, headers, replyTo } = content
    // As text: the wire's own tables do not keep every number as it was.
    const headersJson = toJson(headers, 'the headers')
    const own = {
      ...(topic !== undefined && topic !== routingKey && { topic }),
      ...(headersJson !== '{}' && { headers: headersJson }),
    }
    return {
      exchange,
      routingKey,
      content: Buffer.from(toJson(payload, topic ?? 'a reply')),
      options: {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        headers: own,
        ...(replyTo !== undefined && { replyTo: replyTo.queue, correlationId: replyTo.id }),
      },
      queue: undefined,
      delay: undefined,
      form: exchange === '' ? undefined : topicForm,
    }
  }

  #refuseClosed(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the bus is closed')
  }
}

function topicKey(topic: string): string {
  return Buffer.byteLength(topic) <= maxKeyBytes ? topic : 'long'
}

function toJson(value: unknown, what: string): string {
  try {
    // What JSON has no form for at all, such as undefined, becomes null.
    return JSON.stringify(value) ?? 'null'
  } catch (cause) {
    const message = `the payload for ${what} cannot be written as JSON: ${(cause as Error).message}`
    throw new CeleriacError('PAYLOAD_INVALID', message, { cause })
  }
}

/** Whatever others put on the exchange must not end the listener. */
function fromJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return null
  }
}

function readHeaders(json: unknown): BusHeaders {
  const headers = typeof json === 'string' ? fromJson(json) : null
  return typeof headers === 'object' && headers !== null ? (headers as BusHeaders) : {}
}
