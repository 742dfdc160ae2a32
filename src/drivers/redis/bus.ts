/**
 * The bus on Redis's pub/sub; `bus-channels.ts` says where. Celery's topics carry kombu's envelopes, and replies to
 * control messages go by lists, as Celery's do. What is published on ours is
 * `{"payload": …, "headers": …, "reply_to": …}`: headers only where there are some, and for requests the channel that waits
 * for the replies.
 *
 * While the connection is away, what is published is missed: the bus keeps nothing.
 */
import {
  type Bus,
  type BusHeaders,
  type BusMessage,
  controlTopic,
  type RequestOptions,
  type Subscription,
} from '../../broker/bus.ts'
import { askerOf, replyExchange, withAsker } from '../../broker/celery-asker.ts'
import {
  type CeleryRoute,
  celeryRoute,
  deliveryModeOf,
  fromCeleryJson,
  toCeleryJson,
} from '../../broker/celery-route.ts'
import { Gathering } from '../../broker/gathering.ts'
import { CeleriacError } from '../../errors.ts'
import { BusChannels } from './bus-channels.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'
import { decodeJsonMessage, encodeJsonMessage } from './json-envelope.ts'
import { sendReply } from './pidbox-replies.ts'
import { ReplyBox } from './reply-box.ts'
import type { Channels } from './subscriber.ts'

interface Envelope {
  readonly payload: unknown
  readonly headers: BusHeaders
  readonly replyTo: string | undefined
}

export class RedisBus implements Bus {
  readonly #client: RedisClient
  readonly #channels: BusChannels
  readonly #replyBox: ReplyBox
  /** What closing has to end: subscriptions, and requests that still gather. */
  readonly #running = new Set<() => Promise<void>>()
  readonly #use: ClientUse

  constructor(client: RedisClient) {
    this.#client = client
    this.#channels = new BusChannels(client)
    this.#replyBox = new ReplyBox(client)
    this.#use = new ClientUse(client, 'the bus')
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async publish(topic: string, payload: unknown, headers: BusHeaders = {}): Promise<void> {
    this.#use.assertOpen()
    const route = celeryRoute(topic)
    await (route === undefined
      ? this.#send(this.#channels.of(topic), payload, headers)
      : this.#sendToCelery(route, toCeleryJson(payload, route.exchange), headers))
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    this.#use.assertOpen()
    return this.#listen(this.#channels.covering(topics), (text, channel) => this.#read(text, channel), listener)
  }

  async request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    this.#use.assertOpen()
    const { headers = {} } = options
    const route = celeryRoute(topic)
    if (route === undefined) return this.#ask(topic, payload, options)
    if (topic !== controlTopic) throw new CeleriacError('UNSUPPORTED', `nobody replies to events, and ${topic} is one`)
    const json = toCeleryJson(payload, topic)
    return this.#replyBox.request((asker) => this.#sendToCelery(route, withAsker(json, asker), headers), options)
  }

  close(): Promise<void> {
    return this.#use.close(() => Promise.all([...Array.from(this.#running, (end) => end()), this.#replyBox.close()]))
  }

  async #ask(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    const replyTo = this.#channels.forReplies()
    const subscription = await this.#listen({ channels: [replyTo] }, readEnvelope, (reply) =>
      gathering.add(reply.payload),
    )
    const gathering = new Gathering(this.#client.clock, options)
    const endEarly = async (): Promise<void> => gathering.end()
    this.#running.add(endEarly)
    try {
      await this.#send(this.#channels.of(topic), payload, options.headers ?? {}, replyTo)
      return await gathering.over
    } finally {
      gathering.end()
      this.#running.delete(endEarly)
      await subscription.close()
    }
  }

  async #send(channel: string, payload: unknown, headers: BusHeaders, replyTo?: string): Promise<void> {
    const payloadJson = JSON.stringify(payload) as string | undefined
    if (payloadJson === undefined) throw new CeleriacError('PAYLOAD_INVALID', 'a bus message must be a JSON value')
    const reply = replyTo === undefined ? '' : `,"reply_to":${JSON.stringify(replyTo)}`
    const headersJson = JSON.stringify(headers)
    const beside = headersJson === '{}' ? '' : `,"headers":${headersJson}`
    await this.#client.command('PUBLISH', channel, `{"payload":${payloadJson}${beside}${reply}}`)
  }

  async #sendToCelery(route: CeleryRoute, json: string, headers: BusHeaders): Promise<void> {
    const envelope = encodeJsonMessage({ ...route, deliveryMode: deliveryModeOf(route), headers, json })
    await this.#client.command('PUBLISH', this.#channels.at(route), envelope)
  }

  /** @returns undefined for what is no message */
  #read(text: string, channel: string): BusMessage | undefined {
    const topic = this.#channels.topicOf(channel)
    const route = celeryRoute(topic)
    return route === undefined ? this.#readOwn(text, topic) : this.#readCelerys(text, topic, route)
  }

  #readOwn(text: string, topic: string): BusMessage | undefined {
    const envelope = readEnvelope(text)
    if (envelope === undefined) return undefined
    const { payload, headers, replyTo } = envelope
    const reply: BusMessage['reply'] =
      replyTo === undefined ? undefined : (answer, beside = {}) => this.#send(replyTo, answer, beside)
    return { topic, payload, headers, reply }
  }

  #readCelerys(text: string, topic: string, { exchange }: CeleryRoute): BusMessage | undefined {
    const message = decodeJsonMessage(text)
    const payload = message && fromCeleryJson(message.json, exchange)
    if (message === undefined || payload === undefined) return undefined
    const asker = topic === controlTopic ? askerOf(payload) : undefined
    const reply: BusMessage['reply'] =
      asker &&
      (async (answer, beside = {}) => sendReply(this.#client, asker, toCeleryJson(answer, replyExchange), beside))
    return { topic, payload, headers: message.headers, reply }
  }

  async #listen<T>(
    to: Channels,
    read: (text: string, channel: string) => T | undefined,
    listener: (message: T) => void,
  ): Promise<Subscription> {
    let isOpen = true
    const subscription = await this.#client.subscribe(to, (text, channel) => {
      const message = read(text, channel)
      if (message === undefined) {
        this.#client.logger.debug({ channel }, 'what was published on the bus is no message of its')
        return
      }
      // Not within the client's own turn: a listener that throws is its owner's failure.
      queueMicrotask(() => {
        if (isOpen) listener(message)
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

function readEnvelope(text: string): Envelope | undefined {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('payload' in value)) return undefined
  const { payload, headers, reply_to: replyTo } = value as { payload: unknown; headers?: unknown; reply_to?: unknown }
  return {
    payload,
    headers: typeof headers === 'object' && headers !== null ? (headers as BusHeaders) : {},
    replyTo: typeof replyTo === 'string' ? replyTo : undefined,
  }
}
