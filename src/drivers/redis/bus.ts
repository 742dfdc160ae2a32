/**
 * The bus on Redis's pub/sub. A topic is a channel, `/<db>.celeriac.bus/<topic>`, named as kombu names those of a fanout
 * exchange: channels know no databases, so the number keeps applications of one server apart. What is published there
 * is `{"payload": …, "reply_to": …}`, the latter only for requests: the channel that waits for the replies.
 *
 * While the connection is away, what is published is missed: the bus keeps nothing.
 */
import { randomUUID } from 'node:crypto'
import { type Bus, type BusMessage, type RequestOptions, type Subscription, topicMatches } from '../../broker/bus.ts'
import { CeleriacError } from '../../errors.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'

interface Envelope {
  readonly payload: unknown
  readonly reply_to?: string
}

export class RedisBus implements Bus {
  readonly #client: RedisClient
  /** What closing has to end: subscriptions, and requests that still gather. */
  readonly #running = new Set<() => Promise<void>>()
  readonly #use: ClientUse

  constructor(client: RedisClient) {
    this.#client = client
    this.#use = new ClientUse(client, 'the bus')
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async publish(topic: string, payload: unknown): Promise<void> {
    this.#use.assertOpen()
    await this.#send(this.#channel(topic), payload)
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    this.#use.assertOpen()
    const wanted = withoutCovered(topics)
    const channels = wanted.filter((topic) => !isPattern(topic)).map((topic) => this.#channel(topic))
    const patterns = wanted.filter(isPattern).map((topic) => this.#pattern(topic))
    return this.#listen({ channels, patterns }, (channel, { payload, reply_to: replyTo }) =>
      listener({
        topic: channel.slice(this.#channel('').length),
        payload,
        reply: replyTo === undefined ? undefined : (reply) => this.#send(replyTo, reply),
      }),
    )
  }

  async request(
    topic: string,
    payload: unknown,
    { timeoutMs, replies: wanted = Number.POSITIVE_INFINITY }: RequestOptions,
  ): Promise<unknown[]> {
    this.#use.assertOpen()
    const replies: unknown[] = []
    let end: () => void = () => undefined
    const over = new Promise<void>((resolve) => {
      end = resolve
    })
    // One that many may answer at once, and nobody else hears: not below the bus, where `#` would.
    const replyTo = `${this.#client.prefix}/${this.#client.db}.celeriac.reply/${randomUUID()}`
    const subscription = await this.#listen({ channels: [replyTo] }, (_channel, reply) => {
      if (replies.length < wanted) replies.push(reply.payload)
      if (replies.length >= wanted) end()
    })
    const timer = this.#client.clock.after(timeoutMs, end)
    const endEarly = async (): Promise<void> => end()
    this.#running.add(endEarly)
    try {
      await this.#send(this.#channel(topic), payload, replyTo)
      await over
    } finally {
      timer.cancel()
      this.#running.delete(endEarly)
      await subscription.close()
    }
    return replies
  }

  close(): Promise<void> {
    return this.#use.close(() => Promise.all(Array.from(this.#running, (end) => end())))
  }

  #channel(topic: string): string {
    return `${this.#client.prefix}/${this.#client.db}.celeriac.bus/${topic}`
  }

  /** Everything that begins as the topic does before its `#`. */
  #pattern(topic: string): string {
    return `${this.#channel(topic.slice(0, -1)).replace(/[\\*?[\]^]/g, '\\$&')}*`
  }

  async #send(channel: string, payload: unknown, replyTo?: string): Promise<void> {
    const json = JSON.stringify(payload) as string | undefined
    if (json === undefined) throw new CeleriacError('PAYLOAD_INVALID', 'a bus message must be a JSON value')
    const reply = replyTo === undefined ? '' : `,"reply_to":${JSON.stringify(replyTo)}`
    await this.#client.command('PUBLISH', channel, `{"payload":${json}${reply}}`)
  }

  async #listen(
    to: { channels?: readonly string[]; patterns?: readonly string[] },
    listener: (channel: string, envelope: Envelope) => void,
  ): Promise<Subscription> {
    let isOpen = true
    const subscription = await this.#client.subscribe(to, (text, channel) => {
      const envelope = readEnvelope(text)
      if (envelope === undefined) {
        this.#client.logger.debug({ channel }, 'what was published on the bus is no message of its')
        return
      }
      // Not within the client's own turn: a listener that throws is its owner's failure.
      queueMicrotask(() => {
        if (isOpen) listener(channel, envelope)
      })
    })
    const close = async (): Promise<void> => {
      isOpen = false
      this.#running.delete(close)
      await subscription.close()
    }
    this.#running.add(close)
    return { close }
  }
}

function isPattern(topic: string): boolean {
  return topic === '#' || topic.endsWith('.#')
}

/** Without topics that others of them cover already, so that nothing is heard twice. */
function withoutCovered(topics: readonly string[]): string[] {
  const different = [...new Set(topics)]
  return different.filter((topic) => !different.some((other) => other !== topic && topicMatches(other, topic)))
}

function readEnvelope(text: string): Envelope | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('payload' in value)) return undefined
  const { payload, reply_to: replyTo } = value as Partial<Envelope>
  return { payload, ...(typeof replyTo === 'string' && { reply_to: replyTo }) }
}
