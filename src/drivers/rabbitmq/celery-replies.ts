/** Remote control's replies: those to our own requests, by a private queue that workers find by its key, and ours. */
import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import type { BusHeaders, RequestOptions } from '../../broker/bus.ts'
import { type Asker, replyExchange, replyQueue } from '../../broker/celery-asker.ts'
import { toCeleryJson } from '../../broker/celery-route.ts'
import { Gathering } from '../../broker/gathering.ts'
import { decodeJsonMessage, encodeJsonMessage } from './celery-message.ts'
import { celeryForms, ensureExchange } from './exchanges.ts'
import { PrivateQueue, type PrivateQueueParts } from './private-queue.ts'
import type { Publisher } from './publisher.ts'
import type { Requests } from './requests.ts'

export interface CeleryParts extends PrivateQueueParts {
  readonly publisher: Publisher
  /** On the connection that listens. */
  readonly requests: Requests
}

export class CeleryReplies {
  readonly #parts: CeleryParts
  readonly #queue: PrivateQueue
  /** By ticket. */
  readonly #gatherings = new Map<string, Gathering>()

  constructor(parts: CeleryParts) {
    this.#parts = parts
    this.#queue = new PrivateQueue(parts, {
      what: 'the queue for replies of Celery workers',
      newName: () => replyQueue(randomUUID()),
      bind: async (channel, queue) => {
        await ensureExchange(parts.requests, replyExchange, celeryForms[replyExchange])
        await channel.bindQueue(queue, replyExchange, routingKeyOf(queue))
      },
      hear: (message) => this.#hear(message),
    })
  }

  /** @param send publishes the request, with the asker in it */
  async request(send: (asker: Asker) => Promise<void>, options: RequestOptions): Promise<unknown[]> {
    const { name } = await this.#queue.ready()
    const ticket = randomUUID()
    const gathering = new Gathering(this.#parts.clock, options)
    this.#gatherings.set(ticket, gathering)
    try {
      await send({ routingKey: routingKeyOf(name), ticket })
      return await gathering.over
    } finally {
      gathering.end()
      this.#gatherings.delete(ticket)
    }
  }

  /** To an asker whose queue is gone, it is dropped by the server. */
  async reply({ routingKey, ticket }: Asker, payload: unknown, headers: BusHeaders): Promise<void> {
    const json = toCeleryJson(payload, replyExchange)
    await this.#parts.publisher.publish([
      encodeJsonMessage({
        exchange: replyExchange,
        routingKey,
        deliveryMode: 1,
        headers: { ...headers, ticket },
        json,
      }),
    ])
  }

  /** Ends the requests with the replies there are. */
  close(): void {
    this.#queue.close()
    for (const gathering of this.#gatherings.values()) gathering.end()
  }

  #hear(message: ConsumeMessage): void {
    const decoded = decodeJsonMessage(message)
    if (decoded === undefined) {
      this.#parts.logger.debug({ exchange: replyExchange }, 'what came to the queue for replies is none')
      return
    }
    this.#gatherings.get(String(decoded.headers.ticket))?.add(decoded.payload)
  }
}

/** The queue's name begins with it. */
function routingKeyOf(queue: string): string {
  return queue.slice(0, -replyQueue('').length)
}
