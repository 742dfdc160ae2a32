/**
 * The bus contract: fire-and-forget fan-out, for events and remote control. Who does not listen misses it; nothing is
 * kept. Topics are dotted words; a subscription to `worker.#` hears every topic that begins with `worker.`, `#` all.
 *
 * Two topics are Celery's own: `controlTopic`, and all below `eventTopic`. On a broker that Celery knows, they are its
 * exchanges of those names, in its form, so that Python hears what is published there, and is heard.
 */
export interface Bus {
  open(): Promise<void>
  /** Resolves once the message is on its way; says nothing about listeners. The payload is any JSON value. */
  publish(topic: string, payload: unknown, headers?: BusHeaders): Promise<void>
  /** After it resolves, every later message on the topics is heard, in order for each sender. */
  subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription>
  /**
   * Publishes and gathers replies until `replies` of them came or the time is over. On `controlTopic` the payload is an
   * object; Celery's way to the asker (`reply_to`, `ticket`) is added to it.
   */
  request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]>
  close(): Promise<void>
}

/** JSON values that go beside the payload, such as the sender's logical clock. */
export type BusHeaders = Readonly<Record<string, unknown>>

export interface BusMessage {
  readonly topic: string
  readonly payload: unknown
  /** Empty where the sender gave none. */
  readonly headers: BusHeaders
  /** Answers a `request`; undefined for a plain `publish`. */
  readonly reply: ((payload: unknown, headers?: BusHeaders) => Promise<void>) | undefined
}

/** Remote control: Celery's fan-out exchange of this name. */
export const controlTopic = 'celery.pidbox'
/** Events: `celeryev.task.received` is the routing key `task.received` on Celery's topic exchange of this name. */
export const eventTopic = 'celeryev'

export interface RequestOptions {
  readonly headers?: BusHeaders
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
