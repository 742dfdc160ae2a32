import { type BusHeaders, type BusMessage, topicMatches } from '../../broker/bus.ts'

interface Subscriber {
  readonly topics: readonly string[]
  readonly listener: (message: BusMessage) => void
  isOpen: boolean
}

/** The subscribers of one store, over all connections. */
export class BusHub {
  readonly #subscribers = new Set<Subscriber>()

  /** @returns stops listening */
  subscribe(topics: readonly string[], listener: (message: BusMessage) => void): () => void {
    const subscriber: Subscriber = { topics: [...topics], listener, isOpen: true }
    this.#subscribers.add(subscriber)
    return () => {
      subscriber.isOpen = false
      this.#subscribers.delete(subscriber)
    }
  }

  /** Tells everybody who listens now, each a payload of its own, once the sender's turn is over. */
  send(topic: string, payloadJson: string, headers: BusHeaders, reply: BusMessage['reply']): void {
    const headersJson = JSON.stringify(headers)
    for (const subscriber of this.#subscribers) {
      if (!subscriber.topics.some((subscribed) => topicMatches(subscribed, topic))) continue
      queueMicrotask(() => {
        if (!subscriber.isOpen) return
        const payload = JSON.parse(payloadJson) as unknown
        subscriber.listener({ topic, payload, headers: JSON.parse(headersJson) as BusHeaders, reply })
      })
    }
  }
}
