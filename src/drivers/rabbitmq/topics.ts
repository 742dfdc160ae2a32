/**
 * Fan-out over a topic exchange: what the bus and our own notices are made of. Each process listens through one private
 * queue, exclusive to its connection; it goes with the connection, and is made again with the next one.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import { type BusMessage, topicMatches } from '../../broker/bus.ts'
import type { Clock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import type { Outbound } from './message.ts'
import type { Publisher } from './publisher.ts'
import type { Session } from './session.ts'

export interface TopicsParts {
  /** Where it listens. */
  readonly connection: Connection
  readonly publisher: Publisher
  readonly clock: Clock
  readonly logger: Logger
  /** How long to wait for a connection, in ms. */
  readonly timeoutMs: number
  /** A queue that every listener consumes and nobody publishes to: the number of its consumers is that of listeners. */
  readonly presence?: string
}

type Listener = (message: BusMessage) => void

interface Request {
  readonly onReply: (payload: unknown) => void
}

/** A topic goes as one word of the routing key, or as a header where it is longer than a key may be, in bytes. */
const maxKeyBytes = 200

export class Topics {
  readonly #parts: TopicsParts
  readonly #exchange: string
  readonly #subscriptions = new Set<{ readonly topics: readonly string[]; readonly listener: Listener }>()
  readonly #requests = new Map<string, Request>()
  #requestCount = 0
  #stopListening: (() => void) | undefined
  /** The private queue of the present session, and the way to it for replies. */
  #ear: { readonly session: Session; readonly queue: Promise<string> } | undefined
  #closed = false
  #countListeners: () => Promise<number> = async () => 0

  constructor(exchange: string, parts: TopicsParts) {
    this.#exchange = exchange
    this.#parts = parts
  }

  /** @throws CeleriacError `PAYLOAD_INVALID`, and what publishing throws */
  async publish(topic: string, payload: unknown, replyTo?: { queue: string; id: string }): Promise<void> {
    this.#refuseClosed()
    await this.#parts.publisher.publish([
      this.#outbound(this.#exchange, topicKey(topic), toJson(payload, topic), topic, replyTo),
    ])
  }

  /** @returns stops telling */
  async subscribe(topics: readonly string[], listener: Listener): Promise<() => void> {
    this.#refuseClosed()
    await this.#ready()
    const subscription = { topics, listener }
    this.#subscriptions.add(subscription)
    return () => this.#subscriptions.delete(subscription)
  }

  /** Gathers replies until there are so many, or the time is over. */
  async request(topic: string, payload: unknown, timeoutMs: number, wanted: number): Promise<unknown[]> {
    this.#refuseClosed()
    const queue = await this.#ready()
    const id = String(this.#requestCount++)
    const replies: unknown[] = []
    await new Promise<void>((resolve, reject) => {
      const end = (): void => {
        timer.cancel()
        this.#requests.delete(id)
        resolve()
      }
      const timer = this.#parts.clock.after(timeoutMs, end)
      const onReply = (reply: unknown): void => {
        replies.push(reply)
        if (replies.length >= wanted) end()
      }
      this.#requests.set(id, { onReply })
      this.publish(topic, payload, { queue, id }).catch((error) => {
        end()
        reject(error)
      })
    })
    return replies
  }

  /** How many processes listen, this one included once it does. Needs `presence`. */
  async listeners(): Promise<number> {
    await this.#ready()
    return this.#countListeners()
  }

  /** The private queue goes with the connection, which is its owner's to close. */
  close(): void {
    this.#closed = true
    this.#stopListening?.()
    this.#subscriptions.clear()
    for (const { onReply } of this.#requests.values()) onReply(undefined)
    this.#requests.clear()
  }

  /** Resolves, with the private queue's name, once everything published from now on is heard. */
  async #ready(): Promise<string> {
    const { connection, timeoutMs } = this.#parts
    this.#stopListening ??= connection.listen({ onUp: (session) => this.#open(session) })
    const session = await connection.ready(timeoutMs)
    if (this.#ear?.session !== session) this.#open(session)
    return this.#ear?.queue ?? ''
  }

  #open(session: Session): void {
    const queue = withDeadline(this.#parts.clock, requestTimeoutMs, 'a private queue', this.#listenOn(session))
    this.#ear = { session, queue }
    queue.catch((error) => {
      if (this.#ear?.session === session) this.#ear = undefined
      // One that cannot hear is not to look as if it could.
      if (session.isAlive && !this.#closed) {
        this.#parts.logger.warn(
          { exchange: this.#exchange, error },
          'a private queue could not be opened; trying again',
        )
        session.destroy('no private queue could be opened')
      }
    })
  }

  async #listenOn(session: Session): Promise<string> {
    const channel: Channel = await session.openChannel()
    await channel.assertExchange(this.#exchange, 'topic', { durable: true })
    const { queue } = await channel.assertQueue('', { exclusive: true, autoDelete: true, durable: false })
    await channel.bindQueue(queue, this.#exchange, '#')
    const hear = (message: ConsumeMessage | null): void => {
      if (message === null) session.destroy('a private queue was deleted')
      else this.#hear(message)
    }
    await channel.consume(queue, hear, { noAck: true, exclusive: true })
    const { presence } = this.#parts
    if (presence !== undefined) {
      await channel.assertQueue(presence, { durable: true })
      await channel.consume(presence, () => undefined, { noAck: true })
      this.#countListeners = async () => (await channel.checkQueue(presence)).consumerCount
    }
    session.watch(channel, () => {
      if (!this.#closed) session.destroy('the channel of a private queue was closed')
    })
    return queue
  }

  #hear({ fields, properties, content }: ConsumeMessage): void {
    const text = content.toString('utf8')
    if (fields.exchange === '') {
      const request = this.#requests.get(String(properties.correlationId))
      request?.onReply(fromJson(text))
      return
    }
    const { topic: longTopic } = (properties.headers ?? {}) as { topic?: unknown }
    const topic = typeof longTopic === 'string' ? longTopic : fields.routingKey
    const { replyTo, correlationId } = properties as { replyTo?: unknown; correlationId?: unknown }
    const reply =
      typeof replyTo === 'string'
        ? (payload: unknown) => this.#reply(replyTo, String(correlationId), payload)
        : undefined
    for (const { topics, listener } of [...this.#subscriptions]) {
      if (!topics.some((subscribed) => topicMatches(subscribed, topic))) continue
      try {
        listener({ topic, payload: fromJson(text), reply })
      } catch (error) {
        // Thrown on, it would cost every listener the channel.
        this.#parts.logger.error({ topic, error }, 'a listener on the bus threw')
      }
    }
  }

  /** To a queue that is gone with its asker, it is dropped by the server. */
  async #reply(queue: string, id: string, payload: unknown): Promise<void> {
    const outbound = this.#outbound('', queue, toJson(payload, 'a reply'), undefined, undefined)
    await this.#parts.publisher.publish([{ ...outbound, options: { ...outbound.options, correlationId: id } }])
  }

  #outbound(
    exchange: string,
    routingKey: string,
    json: string,
    topic: string | undefined,
    replyTo: { queue: string; id: string } | undefined,
  ): Outbound {
    return {
      exchange,
      routingKey,
      content: Buffer.from(json),
      options: {
        contentType: 'application/json',
        contentEncoding: 'utf-8',
        ...(topic !== undefined && topic !== routingKey && { headers: { topic } }),
        ...(replyTo !== undefined && { replyTo: replyTo.queue, correlationId: replyTo.id }),
      },
      queue: undefined,
      delay: undefined,
      isTopic: exchange !== '',
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
