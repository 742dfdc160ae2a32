/** Records, joins and their subscribers, within one store. What is over goes as later things are stored. */
import { type JoinPart, type JoinProgress, type ResultRecord, withoutAddress } from '../../result/result-store.ts'
import type { TaskState } from '../../result/states.ts'
import { toJson } from './stored-message.ts'

interface StoredRecord {
  readonly json: string
  readonly status: TaskState
  readonly fence: number
  readonly expiresAtMs: number
}

interface StoredJoin {
  /** Parts as JSON, by member id. */
  readonly parts: Map<string, string>
  size: number | undefined
  closed: boolean
  expiresAtMs: number
}

export type ResultListener = (record: ResultRecord) => void

export class ResultTable {
  /** By task id and by group id, what was written last at the end: the front is over first. */
  readonly #records = new Map<string, StoredRecord>()
  readonly #joins = new Map<string, StoredJoin>()
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

  join(
    groupId: string,
    { part, size }: { part?: JoinPart; size?: number },
    nowMs: number,
    expiresMs: number,
  ): JoinProgress {
    const partJson = part && toJson(part, `the part of member ${part.memberId} in group ${groupId}`)
    dropFront(this.#joins, nowMs)
    const join = this.#touchJoin(groupId, nowMs, expiresMs)
    if (part !== undefined && partJson !== undefined && !join.parts.has(part.memberId)) {
      join.parts.set(part.memberId, partJson)
    }
    join.size ??= size
    const isComplete = join.size !== undefined && join.parts.size >= join.size
    return {
      joined: join.parts.size,
      size: join.size,
      parts: isComplete && !join.closed ? readParts(join) : undefined,
    }
  }

  /** A closed join is remembered for as long as an open one, so that late parts find it closed. */
  closeJoin(groupId: string, nowMs: number, expiresMs: number): void {
    this.#touchJoin(groupId, nowMs, expiresMs).closed = true
  }

  expire(nowMs: number): number {
    dropAll(this.#joins, nowMs)
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
        : { parts: new Map<string, string>(), size: undefined, closed: false, expiresAtMs: 0 }
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

function readParts(join: StoredJoin): JoinPart[] {
  return [...join.parts.values()].map((json) => JSON.parse(json) as JoinPart).sort((a, b) => a.index - b.index)
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
