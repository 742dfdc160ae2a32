/**
 * The result store contract: states and results of tasks, and the joins of canvas.
 *
 * Promises every driver keeps, each one a case of `resultContract()` in `celeriac/testing`:
 * - a record of an older attempt never replaces that of a newer one (`fence`), and nothing replaces SUCCESS of the
 *   same attempt;
 * - who subscribed before a save hears of it without polling;
 * - a member that joins twice counts once;
 * - the first member that fails is told apart from those that fail later;
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
  /** Further members that this one brought along; the join waits for them too. @default 0 */
  readonly added?: number
}

export interface JoinChange {
  readonly part?: JoinPart
  readonly size?: number
  /** Whether parts that are no SUCCESS are as good as others here. @default false: the first one fails the join */
  readonly settles?: boolean
}

export interface JoinProgress {
  /** Distinct members counted so far. */
  readonly joined: number
  /** Members it waits for, those brought along included; undefined until somebody has told it. */
  readonly size: number | undefined
  /** Every part by index, whenever the join is complete and not yet closed; else undefined. */
  readonly parts: readonly JoinPart[] | undefined
  /** The first member whose part was no SUCCESS, for as long as it has none. Only of members that joined through here. */
  readonly failed: string | undefined
}

/** A member of a group: the id of the task whose result is its own, or a group. */
export type GroupMember = string | { readonly groupId: string; readonly members: readonly GroupMember[] }

/** Who belongs to a group. */
export interface GroupRecord {
  readonly groupId: string
  readonly members: readonly GroupMember[]
  /** Ids of the tasks that were sent first, where these are not the members themselves. */
  readonly starts: readonly string[] | null
  /** Of a chord's header: id of the first task of the body. */
  readonly bodyId: string | null
}

/** A join that was begun and not closed. */
export interface OpenJoin {
  readonly groupId: string
  readonly joined: number
  readonly size: number | undefined
  readonly failed: string | undefined
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
  /** Whether it can join, and keep groups; otherwise the five methods below throw `UNSUPPORTED`. */
  readonly joins: boolean
  /**
   * Adds a member's part, or tells the size, or both. Idempotent by member id: the first part counts, and only SUCCESS
   * takes the place of what was none.
   */
  join(groupId: string, change: JoinChange): Promise<JoinProgress>
  /** Ends a join after its outcome was sent; later parts find it closed (`parts` undefined). */
  closeJoin(groupId: string): Promise<void>
  /** Joins that are not closed, the oldest first. */
  openJoins(limit: number): Promise<OpenJoin[]>
  /**
   * Keeps who belongs to each group, for as long as a result.
   * @param forCelery also in Celery's own form and place, where the store has one
   */
  saveGroups(groups: readonly GroupRecord[], forCelery?: boolean): Promise<void>
  /** Undefined where nothing is known. */
  loadGroup(groupId: string): Promise<GroupRecord | undefined>
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
