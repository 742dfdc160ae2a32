/**
 * The broker contract: moves messages between queues, and knows nothing of tasks, retries or results.
 *
 * Promises every driver keeps, each one a case of `brokerContract()` in `celeriac/testing`:
 * - a resolved `publish` means the broker holds the messages as durably as its settings say;
 * - a delivery is on loan to one consumer until it is settled, its consumer closes, or its lease lapses;
 * - within a queue, higher priority first, then the order of publishing;
 * - settling after the lease was lost changes nothing and throws `LeaseLostError`.
 */
import type { ResultRecord } from '../result/result-store.ts'

/** AMQP's message properties, as far as Celery uses them. */
export interface Properties {
  /** @example 'application/json' */
  readonly contentType: string
  /** @example 'utf-8', or 'binary' */
  readonly contentEncoding: string
  /** The task id. */
  readonly correlationId?: string
  readonly replyTo?: string
  /** 0 to 9; 9 is the most urgent, on every driver. One without takes the broker's `unsetPriority`. */
  readonly priority?: number
  /** Time to live in ms, where the task expires. */
  readonly expirationMs?: number
}

/** One message as a broker moves it. A body of text stays a string, so that no driver encodes it for nothing. */
export interface Message {
  /** Plain JSON data. Nobody changes it once it is published: a driver may hand on the very object. */
  readonly headers: Readonly<Record<string, unknown>>
  readonly properties: Properties
  readonly body: string | Uint8Array
}

export interface OutgoingMessage extends Message {
  readonly queue: string
  /** The broker keeps the message back this long, in ms. @default 0 */
  readonly delayMs?: number
}

/** What happens together with an acknowledgement: in one atomic step where `capabilities.atomicSettle` says so. */
export interface Effects {
  /** Published before the message is acknowledged. */
  readonly publish?: readonly OutgoingMessage[]
  /** Saved before that. Only to be given when the result store `sharesStorageWith` this broker. */
  readonly save?: readonly ResultRecord[]
}

/** One message on loan to one consumer. Settle it once: ack, release or reject. */
export interface Delivery {
  readonly queue: string
  readonly message: Message
  /** 1 for the first delivery; one more for each time a consumer was lost with the message. `release` does not count. */
  readonly deliveryCount: number
  /** How much longer the broker would have kept it back, in ms. 0 but for a consumer of `delayed` messages. */
  readonly delayMs: number
  /** Takes the message off the queue, after the effects. @throws LeaseLostError nothing has happened, effects neither */
  ack(effects?: Effects): Promise<void>
  /** Gives it back, to its old place in the queue or after a delay. Costs no delivery. @throws LeaseLostError */
  release(delayMs?: number): Promise<void>
  /** Drops it. @throws LeaseLostError */
  reject(): Promise<void>
  /** Makes sure the lease lasts at least this long from now. @throws LeaseLostError */
  extend(leaseMs: number): Promise<void>
}

export interface FetchOptions {
  /** Longest wait for a first message, in ms. 0 looks once. @default 5_000 */
  readonly waitMs?: number
  /** Ends the wait; the fetch then resolves with what it has, which may be nothing. */
  readonly signal?: AbortSignal
}

/** A worker's hold on some queues. Leases of its deliveries are renewed until it closes, off the event loop. */
export interface Consumer {
  /** Up to `max` messages, as soon as there is one; none once the wait is over. One fetch at a time. */
  fetch(max: number, options?: FetchOptions): Promise<Delivery[]>
  /** Takes another queue in, or leaves one. */
  add(queue: string): Promise<void>
  cancel(queue: string): Promise<void>
  /** Releases whatever is not settled. A second call is harmless. */
  close(): Promise<void>
}

export interface ConsumeOptions {
  /** How long a lost consumer's messages stay away, in ms. @default 30_000 */
  readonly leaseMs?: number
  /** Name shown to operators, e.g. `worker1@host`. */
  readonly name?: string
  /** Hands out only what is being kept back, due or not: to move it elsewhere. `release()` keeps its time. @default false */
  readonly delayed?: boolean
}

export interface Depth {
  /** May be fetched now. */
  readonly ready: number
  /** Kept back until they are due. */
  readonly delayed: number
  /** On loan. */
  readonly inFlight: number
}

export interface QueueInfo extends Depth {
  readonly queue: string
  readonly paused: boolean
  /** Open consumers over all processes. */
  readonly consumers: number
  /** Age of the ready message that has waited longest, in ms; null when none is ready. */
  readonly oldestMs: number | null
}

/** A message looked at where it lies. */
export interface PeekedMessage extends Message {
  readonly queue: string
  readonly state: 'ready' | 'delayed' | 'in-flight'
  /** When it was published, or is due while delayed: epoch ms. */
  readonly at: number
  readonly deliveryCount: number
}

export interface BrokerCapabilities {
  /** Longest delay the broker keeps by itself, in ms. 0 = none, Infinity = any. */
  readonly maxDelayMs: number
  /** Priorities it tells apart. 1 = first in, first out. */
  readonly priorityLevels: number
  /** The priority that messages without one count as: 0 = behind all others, 9 = before them, as Celery has it on Redis. */
  readonly unsetPriority: 0 | 9
  /** 'timed' leases lapse unless renewed; 'connection' leases end with the socket. */
  readonly lease: 'timed' | 'connection'
  /** Largest message, headers and body together, in bytes. */
  readonly maxMessageBytes: number
  /** Whether `peek` leaves no trace. Otherwise a message that was looked at counts as delivered once more. */
  readonly silentPeek: boolean
  /** Whether an ack and its effects happen together or not at all. Otherwise in order, so a crash repeats them. */
  readonly atomicSettle: boolean
}

export interface PublishOptions {
  /**
   * All of the call or none of it, even if this process is killed meanwhile. Drivers that publish in one atomic step
   * anyway need not be asked; for others it costs a round trip of its own. @default false
   */
  readonly atomic?: boolean
}

export interface Publisher {
  /**
   * Resolves once the broker holds every one of the messages. A rejected call holds none of them, unless the connection
   * broke before the broker's answer: then the error says that it is not known.
   *
   * The messages are gone through once, before `publish` returns: thousands may be made one at a time, and none of a call
   * is sent when making one throws.
   */
  publish(messages: Iterable<OutgoingMessage>, options?: PublishOptions): Promise<void>
}

/** The server, or the file, as it stands. Null for what it does not say. */
export interface ServerInfo {
  /** Such as `Redis`. */
  readonly product: string
  readonly version: string | null
  readonly memoryBytes: number | null
  /** At which it refuses messages. */
  readonly memoryLimitBytes: number | null
  readonly connections: number | null
  readonly fileBytes: number | null
  /** Further things to know of it, by its own names. */
  readonly facts: Readonly<Record<string, string>>
}

export interface Broker extends Publisher {
  readonly capabilities: BrokerCapabilities
  /** Connects, and creates what is missing. @throws CeleriacError `BROKER_UNAVAILABLE`, `STORAGE_CORRUPT` … */
  open(): Promise<void>
  consume(queues: readonly string[], options?: ConsumeOptions): Promise<Consumer>
  /** Every queue the broker knows, by name. */
  queues(): Promise<QueueInfo[]>
  server(): Promise<ServerInfo>
  /** All zero for a queue nobody has used. */
  depth(queue: string): Promise<Depth>
  /** Looks at messages without taking them, the next to be delivered first, the delayed after the ready. */
  peek(queue: string, limit: number, offset?: number): Promise<PeekedMessage[]>
  /** Drops what is ready or delayed, and tells how many. What is on loan stays. */
  purge(queue: string): Promise<number>
  /** Nobody is given messages of a paused queue, until `resume`; publishing goes on. Survives restarts. */
  pause(queue: string): Promise<void>
  resume(queue: string): Promise<void>
  /**
   * Answers remote control's `ping` for a node from outside of this event loop, where the driver has something outside of
   * it, until the function that it returns is called. `onChange` tells whether pings are answered there from now on.
   */
  answerPings(node: string, onChange: (isAnswering: boolean) => void): () => void
  /** Waits for what was begun, then lets go of connections. Open consumers are closed first. */
  close(): Promise<void>
}

/** The priority of a message, as a whole number from 0 to 9. */
export function priorityOf({ priority }: Properties, unset: number): number {
  return priority === undefined ? unset : Math.max(0, Math.min(9, Math.trunc(priority) || 0))
}
