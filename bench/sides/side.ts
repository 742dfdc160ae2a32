/**
 * A side: a task queue under measurement, reduced to what the scenarios do with it. Each side uses its own library the
 * way its documentation advises and at its best settings; the scenarios never know which one they drive.
 */
import type { Payload } from '../harness/payload.ts'

export type SideName = 'celeriac' | 'bullmq'

export type Durability = 'full' | 'group' | 'relaxed'

/** Where a side keeps its messages. Each measurement gets an empty one. */
export interface Store {
  /** A directory for files. */
  readonly directory: string
  /** Redis on the loopback; 0 when there is none. */
  readonly redisPort: number
  readonly durability: Durability
}

export interface WorkOptions {
  /** Tasks running at once. */
  readonly concurrency: number
  /** Called when a task begins that is not a later step of a chain. */
  readonly began?: () => void
}

export interface Working {
  /** Resolves once `count` tasks (last steps of chains) have run and been acknowledged, so the queue is empty. */
  settled(count: number): Promise<void>
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
  /** Many at once, in the side's bulk call. */
  sendMany(payloads: readonly Payload[]): Promise<unknown>
  /** Many at once, due at an epoch time in ms. */
  sendDelayed(payloads: readonly Payload[], dueAtMs: number): Promise<unknown>
  /** One pipeline of three tasks, each its own message. */
  sendChain(payload: Payload): Promise<unknown>
  /** Tasks the store holds and could hand out now. */
  waiting(): Promise<number>
  /** Starts a worker; `handle` is the body of the task, or of a chain's last step. */
  work(options: WorkOptions, handle: (payload: Payload) => void): Promise<Working>
  /** Undefined where a side has nothing below its worker. */
  claimer: (() => Promise<Claimer>) | undefined
  /** Bytes of one stored message: headers, properties and body; 0 where that is not looked at. */
  messageBytes(): Promise<number>
  close(): Promise<void>
}

export type OpenSession = (store: Store) => Promise<Session>
