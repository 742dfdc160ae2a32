import type { Bus, BusMessage, RequestOptions, Subscription } from '../../broker/bus.ts'
import type { RabbitmqClient } from './client.ts'
import type { Topics } from './topics.ts'

/** The bus on RabbitMQ: a topic exchange, and an exclusive queue for each process that listens. */
export class RabbitmqBus implements Bus {
  readonly #client: RabbitmqClient
  readonly #topics: Topics
  #closing: Promise<void> | undefined

  constructor(client: RabbitmqClient) {
    this.#client = client
    this.#topics = client.topics('celeriac.bus')
  }

  open(): Promise<void> {
    return this.#client.open()
  }

  publish(topic: string, payload: unknown): Promise<void> {
    return this.#topics.publish(topic, payload)
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    const stop = await this.#topics.subscribe(topics, listener)
    return { close: async () => stop() }
  }

  request(topic: string, payload: unknown, { timeoutMs, replies }: RequestOptions): Promise<unknown[]> {
    return this.#topics.request(topic, payload, timeoutMs, replies ?? Number.POSITIVE_INFINITY)
  }

  close(): Promise<void> {
    this.#topics.close()
    this.#closing ??= this.#client.close()
    return this.#closing
  }
}
