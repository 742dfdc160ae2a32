/**
 * A side: a task queue under measurement, reduced to what the scenarios do with it. Each side uses its own library the
 * way its documentation advises and at its best settings; the scenarios never know which one they drive.
 */
import type { Payload } from '../harness/payload.ts'

export const sideNames = ['celeriac', 'bullmq', 'bee-queue', 'celery-node', 'celery'] as const
export const brokerNames = ['sqlite', 'redis', 'amqp'] as const

export type SideName = (typeof sideNames)[number]
export type BrokerName = (typeof brokerNames)[number]

export type Durability = 'full' | 'group' | 'relaxed'

/** Queue types of RabbitMQ; elsewhere every queue is `classic`. */
export type QueueType = 'classic' | 'quorum'

/** Where a side keeps its messages. Each measurement gets an empty one. */
export interface Store {
  readonly broker: BrokerName
  /** The side's broker: `sqlite://…`, `redis://…` or `amqp://…`, with the database or virtual host. */
  readonly url: string
  /** Redis for the results of a side whose tasks' results are to be kept; undefined where they are not. */
  readonly resultsUrl: string | undefined
  /** A directory for files. */
  readonly directory: string
  readonly durability: Durability
  readonly queueType: QueueType
}

/** A way to run a side's worker; each side has a few, and the best one counts. */
export interface Setting {
  /** How the tables call it, e.g. `c50`; empty where there is nothing to set. */
  readonly variant: string
  /** Tasks running at once; processes for Celery. */
  readonly concurrency: number
  /** Messages that Celery fetches ahead for each process. */
  readonly prefetchMultiplier: number
  /** How Celery gives its processes work. @default 'fair' */
  readonly optimization?: 'fair' | 'default'
}

export interface WorkOptions extends Setting {
  /** Called when a task begins that is not a later step of a chain. */
  readonly began?: () => void
}

/** When a task started, by both clocks. */
export interface Started {
  readonly monotonicMs: number
  readonly epochMs: number
}

/**
 * What a task does: the body of a single task, or of a chain's last step. `started` is undefined where the call itself
 * is the start; sides whose tasks run in other processes report it later.
 */
export type Handle = (payload: Payload, started?: Started) => void

export interface Working {
  /** Resolves once `count` tasks (last steps of chains) have run and been acknowledged, so the queue is empty. */
  settled(count: number): Promise<void>
  /** User and system time so far of all processes that work, in µs. */
  cpuUs(): number
  stop(): Promise<void>
}

/** A claim and its acknowledgement by hand, below the worker. */
export interface Claimer {
  /** Takes up to `max` messages. */
  claim(max: number): Promise<{ readonly indexes: readonly number[]; readonly ack: () => Promise<void> }>
  close(): Promise<void>
}

/** One process's connection to a side. Opened warm: connecting is never part of a measurement. */
export interface Session {
  /** One task, resolved when the store holds it. */
  send(payload: Payload): Promise<unknown>
  /** One after the other, each awaited. */
  sendEach(payloads: readonly Payload[]): Promise<unknown>
  /** Many at once, in the side's bulk call, or, where it has none, as fast as its documented call goes. */
  sendMany(payloads: readonly Payload[]): Promise<unknown>
  /** Many at once, each due at its own `at`, an epoch time in ms. */
  sendDelayed(payloads: readonly Payload[]): Promise<unknown>
  /** One pipeline of three tasks, each its own message. */
  sendChain(payload: Payload): Promise<unknown>
  /** So many no-op tasks, and one that runs when all of them have. */
  sendChord(payload: Payload, members: number): Promise<unknown>
  /** Tasks the store holds and could hand out now. */
  waiting(): Promise<number>
  /** Starts a worker. */
  work(options: WorkOptions, handle: Handle): Promise<Working>
  /** Undefined where a side has nothing below its worker. */
  claimer: (() => Promise<Claimer>) | undefined
  /** Bytes of one stored message: headers, properties and body; 0 where that is not looked at. */
  messageBytes(): Promise<number>
  close(): Promise<void>
}

/** `sendEach` of a side whose `send` can be awaited. */
export function eachWith(send: Session['send']): Session['sendEach'] {
  return async (payloads) => {
    for (const payload of payloads) await send(payload)
  }
}

/** `cpuUs` of a side that works in this process. */
export function ownCpuUs(): number {
  const { user, system } = process.cpuUsage()
  return user + system
}
