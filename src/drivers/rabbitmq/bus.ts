import type { Bus, BusHeaders, BusMessage, RequestOptions, Subscription } from '../../broker/bus.ts'
import { celeryRoute } from '../../broker/celery-route.ts'
import type { CeleryFanout } from './celery-fanout.ts'
import type { RabbitmqClient } from './client.ts'
import type { Topics } from './topics.ts'

/** The bus on RabbitMQ: a topic exchange of ours and Celery's own, and exclusive queues for each process that listens. */
export class RabbitmqBus implements Bus {
  readonly #client: RabbitmqClient
  readonly #topics: Topics
  readonly #celery: CeleryFanout
  #closing: Promise<void> | undefined

  constructor(client: RabbitmqClient) {
    this.#client = client
    this.#topics = client.topics('celeriac.bus')
    this.#celery = client.celeryFanout()
  }

  open(): Promise<void> {
    return this.#client.open()
  }

  publish(topic: string, payload: unknown, headers: BusHeaders = {}): Promise<void> {
    const route = celeryRoute(topic)
    if (route === undefined) return this.#topics.publish(topic, payload, headers)
    return this.#celery.publish(route, payload, headers)
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    const own = topics.filter((topic) => celeryRoute(topic) === undefined)
    const stopCelery = await this.#celery.subscribe(topics, listener)
    try {
      const stopOwn = own.length > 0 ? await this.#topics.subscribe(own, listener) : undefined
      return {
        close: async () => {
          stopOwn?.()
          stopCelery()
        },
      }
    } catch (error) {
      stopCelery()
      throw error
    }
  }

  request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    const route = celeryRoute(topic)
    if (route === undefined) return this.#topics.request(topic, payload, options)
    return this.#celery.request(route, payload, options)
  }

  close(): Promise<void> {
    this.#topics.close()
    this.#celery.close()
    this.#closing ??= this.#client.close()
    return this.#closing
  }
}
