/**
 * Which channel a topic is on. Channels know no databases, so the number in their names keeps applications of one server
 * apart:
 *
 *     P/<db>.celeriac.bus/<topic>      ours
 *     P/<db>.celery.pidbox             Celery's remote control
 *     P/<db>.celeryev/<routing key>    Celery's events
 *     P/<db>.celeriac.reply/<uuid>     replies to one request on a topic of ours
 */
import { randomUUID } from 'node:crypto'
import { eventTopic, topicMatches } from '../../broker/bus.ts'
import { type CeleryRoute, celeryRoute, celeryRoutes, topicOfRoute } from '../../broker/celery-route.ts'
import type { Channels } from './subscriber.ts'

export class BusChannels {
  readonly #before: string
  readonly #own: string

  constructor({ prefix, db }: { readonly prefix: string; readonly db: number }) {
    this.#before = `${prefix}/${db}.`
    this.#own = `${this.#before}celeriac.bus/`
  }

  of(topic: string): string {
    const route = celeryRoute(topic)
    return route === undefined ? `${this.#own}${topic}` : this.at(route)
  }

  /** One that many may answer on at once, and nobody else hears: not below the bus, where `#` would. */
  forReplies(): string {
    return `${this.#before}celeriac.reply/${randomUUID()}`
  }

  /** All that a subscription has to listen to, without hearing anything twice. */
  covering(topics: readonly string[]): Required<Channels> {
    const wanted = withoutCovered(topics)
    const own = wanted.filter((topic) => celeryRoute(topic) === undefined)
    const celerys = wanted.flatMap(celeryRoutes)
    return {
      channels: [
        ...own.filter(isNoPattern).map((topic) => this.of(topic)),
        ...celerys.filter(({ routingKey }) => isNoPattern(routingKey)).map((route) => this.at(route)),
      ],
      patterns: [
        ...own.filter(isPattern).map((topic) => toGlob(this.of(topic))),
        ...celerys.filter(({ routingKey }) => isPattern(routingKey)).map((route) => toGlob(this.at(route))),
      ],
    }
  }

  topicOf(channel: string): string {
    if (channel.startsWith(this.#own)) return channel.slice(this.#own.length)
    const [exchange = '', ...key] = channel.slice(this.#before.length).split('/')
    return topicOfRoute(exchange, key.join('/'))
  }

  /** The channel of a place on Celery's exchanges. */
  at({ exchange, routingKey }: CeleryRoute): string {
    return `${this.#before}${exchange}${exchange === eventTopic ? `/${routingKey}` : ''}`
  }
}

/** Without topics that others of them cover already, so that nothing is heard twice. */
function withoutCovered(topics: readonly string[]): string[] {
  const different = [...new Set(topics)]
  return different.filter((topic) => !different.some((other) => other !== topic && topicMatches(other, topic)))
}

function isPattern(topic: string): boolean {
  return topic === '#' || topic.endsWith('.#')
}

function isNoPattern(topic: string): boolean {
  return !isPattern(topic)
}

/** Everything that begins as the channel does before its `#`. */
function toGlob(channel: string): string {
  return `${channel.slice(0, -1).replace(/[\\*?[\]^]/g, '\\$&')}*`
}
