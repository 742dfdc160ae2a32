/**
 * Celery's topics on its own exchanges. A process that listens has one private queue for them, bound to what its
 * subscriptions cover, and to nothing else: a fleet's task events are many, and most processes want none.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import { type BusHeaders, type BusMessage, controlTopic, type RequestOptions, topicMatches } from '../../broker/bus.ts'
import { askerOf, withAsker } from '../../broker/celery-asker.ts'
import {
  type CeleryRoute,
  celeryRoutes,
  deliveryModeOf,
  toCeleryJson,
  topicOfRoute,
} from '../../broker/celery-route.ts'
import { CeleriacError } from '../../errors.ts'
import { decodeJsonMessage, encodeJsonMessage } from './celery-message.ts'
import { type CeleryParts, CeleryReplies } from './celery-replies.ts'
import { celeryForms, ensureExchange } from './exchanges.ts'
import { requestFailure } from './failures.ts'
import { type OpenQueue, PrivateQueue } from './private-queue.ts'

interface Listening {
  readonly topics: readonly string[]
  readonly routes: readonly CeleryRoute[]
  readonly listener: (message: BusMessage) => void
}

export class CeleryFanout {
  readonly #parts: CeleryParts
  readonly #queue: PrivateQueue
  readonly #replies: CeleryReplies
  readonly #listening = new Set<Listening>()
  #isClosed = false

  constructor(parts: CeleryParts) {
    this.#parts = parts
    this.#replies = new CeleryReplies(parts)
    this.#queue = new PrivateQueue(parts, {
      what: 'the queue for control messages and events of Celery',
      bind: (channel, queue) => this.#bind(channel, queue, this.#wanted()),
      hear: (message) => this.#hear(message),
    })
  }

  /** @throws CeleriacError `PAYLOAD_INVALID`, and what publishing throws */
  async publish(route: CeleryRoute, payload: unknown, headers: BusHeaders): Promise<void> {
    this.#refuseClosed()
    await this.#send(route, toCeleryJson(payload, route.exchange), headers)
  }

  /** Hears what the topics cover of Celery's. @returns stops telling */
  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<() => void> {
    this.#refuseClosed()
    const routes = topics.flatMap(celeryRoutes)
    if (routes.length === 0) return () => undefined
    const listening = { topics, routes, listener }
    this.#listening.add(listening)
    try {
      await this.#hearFrom(routes)
    } catch (error) {
      this.#listening.delete(listening)
      throw error
    }
    return () => this.#leave(listening)
  }

  /** @throws CeleriacError `UNSUPPORTED` for events, and what `publish` throws */
  async request(route: CeleryRoute, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    this.#refuseClosed()
    const { headers = {} } = options
    if (route.exchange !== controlTopic) {
      throw new CeleriacError('UNSUPPORTED', `nobody replies to events, and ${route.routingKey} is one`)
    }
    const json = toCeleryJson(payload, route.exchange)
    return this.#replies.request((asker) => this.#send(route, withAsker(json, asker), headers), options)
  }

  close(): void {
    this.#isClosed = true
    this.#listening.clear()
    this.#queue.close()
    this.#replies.close()
  }

  async #send(route: CeleryRoute, json: string, headers: BusHeaders): Promise<void> {
    const message = { ...route, deliveryMode: deliveryModeOf(route), headers, json }
    await this.#parts.publisher.publish([encodeJsonMessage(message)])
  }

  #wanted(): CeleryRoute[] {
    return [...this.#listening].flatMap(({ routes }) => routes)
  }

  async #hearFrom(routes: readonly CeleryRoute[]): Promise<void> {
    const queue = await this.#queue.ready()
    try {
      await this.#bind(queue.channel, queue.name, routes)
    } catch (error) {
      if (queue.session.isAlive) throw requestFailure(error, 'listening to Celery')
      // The queue of the next session is bound to all that is wanted.
      await this.#queue.ready()
    }
  }

  async #bind(channel: Channel, queue: string, routes: readonly CeleryRoute[]): Promise<void> {
    for (const { exchange, routingKey } of routes) {
      await ensureExchange(this.#parts.requests, exchange, celeryForms[exchange])
      await channel.bindQueue(queue, exchange, routingKey)
    }
  }

  /** Takes the bindings away that nobody else wants. */
  #leave(listening: Listening): void {
    if (!this.#listening.delete(listening)) return
    const queue = this.#queue.current
    if (queue === undefined) return
    const wanted = new Set(this.#wanted().map(textOf))
    const unwanted = listening.routes.filter((route) => !wanted.has(textOf(route)))
    // With a connection that breaks meanwhile, its bindings go as well.
    this.#unbind(queue, unwanted).catch(() => undefined)
  }

  async #unbind({ channel, name }: OpenQueue, routes: readonly CeleryRoute[]): Promise<void> {
    await Promise.all(routes.map(({ exchange, routingKey }) => channel.unbindQueue(name, exchange, routingKey)))
  }

  #hear(message: ConsumeMessage): void {
    const { exchange, routingKey } = message.fields
    const topic = topicOfRoute(exchange, routingKey)
    for (const { topics, listener } of [...this.#listening]) {
      if (!topics.some((subscribed) => topicMatches(subscribed, topic))) continue
      // Each a payload of its own.
      const decoded = decodeJsonMessage(message)
      if (decoded === undefined) {
        this.#parts.logger.debug({ topic }, 'what was published for Celery is no message of its')
        return
      }
      const { payload, headers } = decoded
      const asker = topic === controlTopic ? askerOf(payload) : undefined
      const reply: BusMessage['reply'] = asker && ((answer, beside = {}) => this.#replies.reply(asker, answer, beside))
      try {
        listener({ topic, payload, headers, reply })
      } catch (error) {
        // Thrown on, it would cost every listener the channel.
        this.#parts.logger.error({ topic, error }, 'a listener on the bus threw')
      }
    }
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new CeleriacError('CLOSED', 'the bus is closed')
  }
}

function textOf({ exchange, routingKey }: CeleryRoute): string {
  return `${exchange} ${routingKey}`
}
