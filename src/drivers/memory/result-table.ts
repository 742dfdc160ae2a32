/** Records, joins and their subscribers, within one store. What is over goes as later things are stored. */
import {
  type GroupRecord,
  type JoinChange,
  type JoinPart,
  type JoinProgress,
  type OpenJoin,
  type ResultRecord,
  withoutAddress,
} from '../../result/result-store.ts'
import type { TaskState } from '../../result/states.ts'
import { toJson } from './stored-message.ts'

interface StoredRecord {
  readonly json: string
  readonly status: TaskState
  readonly fence: number
  readonly expiresAtMs: number
}

interface StoredPart {
  readonly json: string
  readonly isSuccess: boolean
  readonly added: number
}

interface StoredJoin {
  /** By member id. */
  readonly parts: Map<string, StoredPart>
  size: number | undefined
  /** Members that others brought along. */
  added: number
  failed: string | undefined
  closed: boolean
  expiresAtMs: number
}

export type ResultListener = (record: ResultRecord) => void

export class ResultTable {
  /** By task id and by group id, what was written last at the end: the front is over first. */
  readonly #records = new Map<string, StoredRecord>()
  readonly #joins = new Map<string, StoredJoin>()
  readonly #groups = new Map<string, { readonly json: string; readonly expiresAtMs: number }>()
  readonly #listeners = new Map<string, Set<ResultListener>>()

  /**
   * Readies records for saving; the returned step saves them, and cannot fail.
   *
   * @throws CeleriacError `PAYLOAD_INVALID`
   */
  prepare(records: readonly ResultRecord[], nowMs: number, expiresMs: number): () => void {
    const prepared = records.map((record) => ({
      taskId: record.taskId,
      stored: {
        json: toJson(withoutAddress(record), `the result of task ${record.taskId}`),
        status: record.status,
        fence: record.fence,
        expiresAtMs: nowMs + expiresMs,
      },
    }))
    return () => {
      dropFront(this.#records, nowMs)
      for (const { taskId, stored } of prepared) this.#put(taskId, stored, nowMs)
    }
  }

  load(taskId: string, nowMs: number): ResultRecord | undefined {
    const stored = this.#current(taskId, nowMs)
    return stored && (JSON.parse(stored.json) as ResultRecord)
  }

  forget(taskId: string): void {
    this.#records.delete(taskId)
  }

  /** @returns stops telling */
  subscribe(taskIds: readonly string[], listener: ResultListener): () => void {
    let isOpen = true
    const tell: ResultListener = (record) => {
      if (isOpen) listener(record)
    }
    for (const taskId of taskIds) {
      this.#listeners.set(taskId, (this.#listeners.get(taskId) ?? new Set()).add(tell))
    }
    return () => {
      isOpen = false
      for (const taskId of taskIds) {
        const listeners = this.#listeners.get(taskId)
        listeners?.delete(tell)
        if (listeners?.size === 0) this.#listeners.delete(taskId)
      }
    }
  }

  join(groupId: string, { part, size }: JoinChange, nowMs: number, expiresMs: number): JoinProgress {
    const json = part && toJson(part, `the part of member ${part.memberId} in group ${groupId}`)
    dropFront(this.#joins, nowMs)
    const join = this.#touchJoin(groupId, nowMs, expiresMs)
    if (part !== undefined && json !== undefined && !join.closed) addPart(join, part, json)
    join.size ??= size
    return progressOf(join)
  }

  openJoins(limit: number, nowMs: number): OpenJoin[] {
    dropFront(this.#joins, nowMs)
    const open: OpenJoin[] = []
    for (const [groupId, join] of this.#joins) {
      if (join.closed || open.length === limit) continue
      const { joined, size, failed } = progressOf(join)
      open.push({ groupId, joined, size, failed })
    }
    return open
  }

  saveGroup(group: GroupRecord, nowMs: number, expiresMs: number): void {
    dropFront(this.#groups, nowMs)
    this.#groups.delete(group.groupId)
    this.#groups.set(group.groupId, { json: toJson(group, `group ${group.groupId}`), expiresAtMs: nowMs + expiresMs })
  }

  loadGroup(groupId: string, nowMs: number): GroupRecord | undefined {
    const stored = this.#groups.get(groupId)
    return stored === undefined || stored.expiresAtMs <= nowMs ? undefined : (JSON.parse(stored.json) as GroupRecord)
  }

  /** A closed join is remembered for as long as an open one, so that late parts find it closed. */
  closeJoin(groupId: string, nowMs: number, expiresMs: number): void {
    this.#touchJoin(groupId, nowMs, expiresMs).closed = true
  }

  expire(nowMs: number): number {
    dropAll(this.#joins, nowMs)
    dropAll(this.#groups, nowMs)
    return dropAll(this.#records, nowMs)
  }

  #current(taskId: string, nowMs: number): StoredRecord | undefined {
    const stored = this.#records.get(taskId)
    return stored !== undefined && stored.expiresAtMs > nowMs ? stored : undefined
  }

  #put(taskId: string, record: StoredRecord, nowMs: number): void {
    if (!replaces(this.#current(taskId, nowMs), record)) return
    this.#records.delete(taskId)
    this.#records.set(taskId, record)
    for (const tell of this.#listeners.get(taskId) ?? []) {
      // Not within the save: a listener that throws is its owner's failure, not the saver's.
      queueMicrotask(() => tell(JSON.parse(record.json) as ResultRecord))
    }
  }

  #touchJoin(groupId: string, nowMs: number, expiresMs: number): StoredJoin {
    const known = this.#joins.get(groupId)
    const join =
      known !== undefined && known.expiresAtMs > nowMs
        ? known
        : { parts: new Map(), size: undefined, added: 0, failed: undefined, closed: false, expiresAtMs: 0 }
    join.expiresAtMs = nowMs + expiresMs
    this.#joins.delete(groupId)
    this.#joins.set(groupId, join)
    return join
  }
}

/** Whether a record may take another's place: never that of a newer attempt, nor that of the same one's SUCCESS. */
function replaces(stored: StoredRecord | undefined, record: StoredRecord): boolean {
  if (stored === undefined || record.fence > stored.fence) return true
  return record.fence === stored.fence && stored.status !== 'SUCCESS'
}

/** The first part of a member counts, and only SUCCESS takes the place of what was none. */
function addPart(join: StoredJoin, part: JoinPart, json: string): void {
  const { memberId, state, added = 0 } = part
  const known = join.parts.get(memberId)
  const isSuccess = state === 'SUCCESS'
  if (known !== undefined && (known.isSuccess || !isSuccess)) return
  join.parts.set(memberId, { json, isSuccess, added })
  join.added += added - (known?.added ?? 0)
  if (!isSuccess) join.failed ??= memberId
  else if (join.failed === memberId) join.failed = undefined
}

function progressOf({ parts, size, added, failed, closed }: StoredJoin): JoinProgress {
  const wanted = size === undefined ? undefined : size + added
  const isComplete = wanted !== undefined && parts.size >= wanted
  return { joined: parts.size, size: wanted, parts: isComplete && !closed ? readParts(parts) : undefined, failed }
}

function readParts(parts: StoredJoin['parts']): JoinPart[] {
  return [...parts.values()].map(({ json }) => JSON.parse(json) as JoinPart).sort((a, b) => a.index - b.index)
}

/** Drops what is over, from the oldest on, up to the first that is not. */
function dropFront(entries: Map<string, { expiresAtMs: number }>, nowMs: number): void {
  for (const [key, { expiresAtMs }] of entries) {
    if (expiresAtMs > nowMs) return
    entries.delete(key)
  }
}

function dropAll(entries: Map<string, { expiresAtMs: number }>, nowMs: number): number {
  const before = entries.size
  for (const [key, { expiresAtMs }] of entries) if (expiresAtMs <= nowMs) entries.delete(key)
  return before - entries.size
}
