/**
 * The bus contract: fire-and-forget fan-out, for events and remote control. Who does not listen misses it; nothing is
 * kept. Topics are dotted words; a subscription to `worker.#` hears every topic that begins with `worker.`, `#` all.
 */
export interface Bus {
  open(): Promise<void>
  /** Resolves once the message is on its way; says nothing about listeners. The payload is any JSON value. */
  publish(topic: string, payload: unknown): Promise<void>
  /** After it resolves, every later message on the topics is heard, in order for each sender. */
  subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription>
  /** Publishes and gathers replies until `replies` of them came or the time is over. */
  request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]>
  close(): Promise<void>
}

export interface BusMessage {
  readonly topic: string
  readonly payload: unknown
  /** Answers a `request`; undefined for a plain `publish`. */
  readonly reply: ((payload: unknown) => Promise<void>) | undefined
}

export interface RequestOptions {
  /** How long to gather, in ms. */
  readonly timeoutMs: number
  /** Stop early after so many. @default Infinity */
  readonly replies?: number
}

export interface Subscription {
  close(): Promise<void>
}

/** Whether a subscription's topic (`worker.#`, `#` or a plain one) covers a topic. */
export function topicMatches(subscribed: string, topic: string): boolean {
  if (subscribed === '#') return true
  if (subscribed.endsWith('.#')) return topic.startsWith(subscribed.slice(0, -1))
  return subscribed === topic
}
