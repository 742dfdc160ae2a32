/**
 * The result store contract: states and results of tasks, and the joins of canvas.
 *
 * Promises every driver keeps, each one a case of `resultContract()` in `celeriac/testing`:
 * - a record of an older attempt never replaces that of a newer one (`fence`), and nothing replaces SUCCESS of the
 *   same attempt;
 * - who subscribed before a save hears of it without polling;
 * - a member that joins twice counts once;
 * - records go by themselves when their time is over.
 */
import type { TaskState } from './states.ts'

/** A task's stored error, as Celery writes it. */
export interface StoredError {
  readonly exc_type: string
  readonly exc_message: readonly unknown[] | string
  readonly exc_module?: string
}

/** What is kept of a task. Celery's fields in camelCase, and what the pipeline view needs besides. */
export interface ResultRecord {
  readonly taskId: string
  readonly status: TaskState
  /** The returned value; a `StoredError` for FAILURE, RETRY and REVOKED; the meta of a state of the task's own. */
  readonly result: unknown
  /** Stack text, or null. */
  readonly traceback: string | null
  /** Ids of the tasks this one sent: the next step of a chain, callbacks, calls from inside. */
  readonly children: readonly string[]
  /** ISO 8601 with offset, null until the task has ended. */
  readonly dateDone: string | null
  readonly parentId: string | null
  readonly rootId: string | null
  readonly groupId: string | null
  readonly name: string | null
  readonly queue: string | null
  /** Node name of the worker that wrote the record, null while it waits in a queue. */
  readonly worker: string | null
  /** Retries so far. */
  readonly retries: number
  /** The sender's address, where its store has one (`ResultStore.replyTo`); not stored. */
  readonly replyTo: string | null
  /** Epoch ms; null where not known. */
  readonly sentAt: number | null
  readonly startedAt: number | null
  readonly doneAt: number | null
  /**
   * Counts the attempts at this task over retries, redeliveries and redrives: 0 when sent, 1 for the first run.
   * Orders records: a save with a smaller fence than the stored one changes nothing.
   */
  readonly fence: number
}

/** One member's part in a join (a chord's header). */
export interface JoinPart {
  readonly memberId: string
  /** Place among the members, from 0; a sort key only. */
  readonly index: number
  readonly state: TaskState
  /** The value, or the stored error. */
  readonly result: unknown
}

export interface JoinProgress {
  /** Distinct members counted so far. */
  readonly joined: number
  /** Undefined until somebody has told it. */
  readonly size: number | undefined
  /** Every part by index, whenever the join is complete and not yet closed; else undefined. */
  readonly parts: readonly JoinPart[] | undefined
}

export interface ResultSubscription {
  close(): Promise<void>
}

export interface ResultStore {
  /** Address that travels with a call, for stores that send results to their caller; undefined for those that keep them. */
  readonly replyTo: string | undefined
  open(): Promise<void>
  /** Stores records; resolves once they are held. Outdated ones (see `fence`) are passed over. */
  save(records: readonly ResultRecord[]): Promise<void>
  /** Records in the order of the ids; undefined where nothing is known. */
  load(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]>
  /** After it resolves, every later save for these ids is told to the listener, the newest record each. Pushed. */
  subscribe(taskIds: readonly string[], listener: (record: ResultRecord) => void): Promise<ResultSubscription>
  /** Removes the records. */
  forget(taskIds: readonly string[]): Promise<void>
  /** Adds a member's part, or tells the size, or both. Idempotent by member id. */
  join(groupId: string, change: { part?: JoinPart; size?: number }): Promise<JoinProgress>
  /** Ends a join after its outcome was sent; later parts find it closed (`parts` undefined). */
  closeJoin(groupId: string): Promise<void>
  /** Removes what is older than the store's expiry; tells how many records went. Stores do it by themselves too. */
  expire(): Promise<number>
  /** Whether an ack of this broker can carry saves (`Effects.save`), because both are one store. */
  sharesStorageWith(broker: object): boolean
  close(): Promise<void>
}

/** The record as stores that keep it are to store it. */
export function withoutAddress(record: ResultRecord): ResultRecord {
  return record.replyTo === null ? record : { ...record, replyTo: null }
}
