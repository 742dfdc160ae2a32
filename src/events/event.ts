/**
 * Celery's events, as they are on the wire (`celery/events/event.py`, docs "Monitoring and Management Guide, Event
 * Reference"). An event's topic is its type with dots: `task-received` goes to `celeryev.task.received`. Task events of
 * a worker travel several at once, as a list on `celeryev.task.multi`.
 */
import { eventTopic } from '../broker/bus.ts'

/** What every event says. */
export interface EventBase {
  /** Node name of the worker, or `gen<pid>@<host>` of a producer. */
  readonly hostname: string
  /** Whole hours west of UTC, rounded down. */
  readonly utcoffset: number
  readonly pid: number
  /** Logical time of the sender. */
  readonly clock: number
  /** Epoch seconds. */
  readonly timestamp: number
}

/** What workers say of themselves. */
export interface WorkerStatus {
  /** Seconds between heartbeats. */
  readonly freq: number
  /** Tasks running now. */
  readonly active: number
  /** Tasks ended since the worker started. */
  readonly processed: number
  /** Over 1, 5 and 15 minutes. */
  readonly loadavg: readonly number[]
  /** Software: `celeriac`, its version, the operating system. */
  readonly sw_ident: string
  readonly sw_ver: string
  readonly sw_sys: string
}

/** Arguments and results are texts for people, as Python's `repr` would show them. */
interface TaskEvents {
  'task-sent': {
    uuid: string
    root_id: string | null
    parent_id: string | null
    name: string
    args: string
    kwargs: string
    retries: number
    eta: string | null
    expires: string | null
    queue: string
    exchange: string
    routing_key: string
  }
  'task-received': {
    uuid: string
    name: string
    args: string
    kwargs: string
    root_id: string | null
    parent_id: string | null
    retries: number
    eta: string | null
    expires: string | null
    /** Ours only: where it came from. */
    queue: string
    /** Ours only: since when it could be taken, epoch seconds; null where the sender did not say when it sent it. */
    ready_at: number | null
  }
  /** `together`: calls of the batch that started, where it is one. Ours alone. */
  'task-started': { uuid: string; together?: number }
  'task-succeeded': { uuid: string; result: string; runtime: number }
  'task-failed': { uuid: string; exception: string; traceback: string | null }
  'task-retried': { uuid: string; exception: string; traceback: string | null }
  'task-revoked': { uuid: string; terminated: boolean; signum: string | number | null; expired: boolean }
  'task-rejected': { uuid: string; requeue: boolean }
  'task-cancelled': { uuid: string }
}

export interface EventTypes extends TaskEvents {
  'worker-online': WorkerStatus
  'worker-heartbeat': WorkerStatus
  'worker-offline': WorkerStatus
  /** What every node says to a `worker-elect`; whoever asks for it waits for all. */
  'worker-elect-ack': { id: string }
}

export type EventType = keyof EventTypes
export type TaskEventType = keyof TaskEvents

/** An event of one of Celery's types. Received ones may be of others, and lack fields. */
export type FleetEvent = { [Type in EventType]: { readonly type: Type } & EventBase & EventTypes[Type] }[EventType]

/** Where events of a type are published. */
export function topicOf(type: string): string {
  return `${eventTopic}.${type.replaceAll('-', '.')}`
}

/** Where a worker's task events are published, several at once. */
export const taskEventsTopic: string = `${eventTopic}.task.multi`
