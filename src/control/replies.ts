/**
 * What workers answer to remote control, in Celery's shapes (`celery/worker/control.py`): fields are named as on the
 * wire. Python's workers may leave fields out and add others.
 */
import type { Recycled } from '../pool/pool.ts'

/** What each worker that answered said, by node name. Empty when none did; Celery's clients return None then. */
export type Replies<Reply> = Readonly<Record<string, Reply | ErrorReply>>

/** It was done; for people. */
export interface OkReply {
  readonly ok: string
}

/** It was refused, the worker does not know the command, or it failed; for people. */
export interface ErrorReply {
  readonly error: string
}

/** Whether a worker answered that it could not do it. */
export function isErrorReply(reply: unknown): reply is ErrorReply {
  if (typeof reply !== 'object' || reply === null || Array.isArray(reply)) return false
  // The settings of a worker (`conf`) may have one named `error`, but not alone.
  return Object.keys(reply).length === 1 && typeof (reply as Partial<ErrorReply>).error === 'string'
}

/** Whether a worker answered that it was done. */
export function isOkReply(reply: unknown): reply is OkReply {
  return typeof reply === 'object' && reply !== null && typeof (reply as Partial<OkReply>).ok === 'string'
}

/** A task in a worker: `active`, `reserved`. */
export interface RequestInfo {
  readonly id: string
  readonly name: string
  /** Values, or their text as Python's `repr` shows them. */
  readonly args: unknown
  readonly kwargs: unknown
  /** The name again. */
  readonly type: string
  readonly hostname: string
  /** Epoch seconds; null before it is started. */
  readonly time_start: number | null
  readonly acknowledged: boolean
  readonly delivery_info: DeliveryInfo
  readonly worker_pid: number | null
}

export interface DeliveryInfo {
  readonly exchange: string
  readonly routing_key: string
  readonly priority: number | null
  readonly redelivered: boolean | null
}

/** A task that a worker keeps until it is due: `scheduled`. */
export interface ScheduledRequest {
  /** ISO 8601. */
  readonly eta: string
  readonly priority: number
  readonly request: RequestInfo
}

/** Where the asked ids are, of those the worker knows: `query_task`. */
export type TaskQueryReply = Readonly<Record<string, readonly ['active' | 'reserved' | 'ready', RequestInfo]>>

/** A queue that a worker consumes: `active_queues`. */
export interface QueueReply {
  readonly name: string
  readonly exchange: ExchangeReply
  readonly routing_key: string
  readonly queue_arguments: Readonly<Record<string, unknown>> | null
  readonly binding_arguments: Readonly<Record<string, unknown>> | null
  readonly consumer_arguments: Readonly<Record<string, unknown>> | null
  readonly durable: boolean
  readonly exclusive: boolean
  readonly auto_delete: boolean
  readonly no_ack: boolean
  readonly alias: string | null
  readonly bindings: readonly unknown[]
  readonly no_declare: boolean | null
  readonly expires: number | null
  readonly message_ttl: number | null
  readonly max_length: number | null
  readonly max_length_bytes: number | null
  readonly max_priority: number | null
}

export interface ExchangeReply {
  readonly name: string
  readonly type: string
  readonly arguments: Readonly<Record<string, unknown>> | null
  readonly durable: boolean
  readonly passive: boolean
  readonly auto_delete: boolean
  readonly delivery_mode: number | null
  readonly no_declare: boolean
}

/** `stats`. */
export interface StatsReply {
  /** Tasks taken since the worker started, by name. */
  readonly total: Readonly<Record<string, number>>
  readonly pid: number
  /** The logical clock, as a text. */
  readonly clock: string
  /** Seconds since the start. */
  readonly uptime: number
  readonly pool: PoolStats
  readonly broker: BrokerStats
  readonly prefetch_count: number
  /** Only where the pool is scaled by the worker itself. */
  readonly autoscaler?: AutoscalerStats
  readonly rusage?: Readonly<Record<string, number>> | string
  /** Of our workers only. */
  readonly process?: ProcessStats
}

/** The process of a worker, without its children. Sizes in bytes, times in seconds. */
export interface ProcessStats {
  readonly rss: number
  readonly heap_used: number
  /** At which Node gives up. */
  readonly heap_limit: number
  /** How late its event loop was when it was last looked at. */
  readonly loop_lag: number
  /** At which a child is replaced; null = never. */
  readonly max_memory_per_child: number | null
}

export interface PoolStats {
  readonly implementation?: string
  readonly 'max-concurrency'?: number
  /** The same of every pool that the worker has, by kind; only of workers of ours. */
  readonly pools?: Readonly<Record<string, number>>
  /** Children that were replaced since the start; only of workers of ours that have any. */
  readonly recycled?: Recycled
  /** Process ids. */
  readonly processes?: readonly number[]
  readonly 'max-tasks-per-child'?: number | string
  readonly 'put-guarded-by-semaphore'?: boolean
  /** Soft and hard time limit in seconds; 0 = none. */
  readonly timeouts?: readonly [soft: number, hard: number]
  readonly writes?: Readonly<Record<string, unknown>> | string
  readonly [field: string]: unknown
}

export interface BrokerStats {
  readonly hostname: string | null
  readonly userid: string | null
  readonly virtual_host: string | null
  readonly port: number | null
  readonly insist: boolean
  readonly ssl: unknown
  readonly transport: string
  readonly connect_timeout: number
  readonly transport_options: Readonly<Record<string, unknown>>
  readonly login_method: string | null
  readonly uri_prefix: string | null
  readonly heartbeat: number | null
  readonly failover_strategy: string
  readonly alternates: readonly string[]
  /** Since Celery 5.6. */
  readonly credential_provider?: unknown
}

export interface AutoscalerStats {
  readonly max: number
  readonly min: number
  readonly current: number
  readonly qty: number
}

/** Settings by name, secrets masked: `conf`. */
export type ConfReply = Readonly<Record<string, unknown>>

/** `clock`. */
export interface ClockReply {
  readonly clock: number
}

/** Revoked ids as workers tell them each other: the time on the sender's monotonic clock, in seconds, and the id. */
export type RevokedTimes = Readonly<Record<string, readonly [time: number, id: string]>>

/** `hello`: what a starting worker learns from another. */
export interface HelloReply {
  readonly revoked: RevokedTimes
  readonly clock: number
}

/** `objgraph`: where the worker wrote its picture. */
export interface ObjgraphReply {
  readonly filename: string
}
