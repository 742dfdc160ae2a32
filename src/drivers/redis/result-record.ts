/**
 * Records as Celery keeps them on Redis (`celery/backends/base.py`, `_get_result_meta` and `_store_result`): one JSON
 * object under `celery-task-meta-<task id>`, which is also what is published on the channel of that name.
 *
 * What Celery has no field for stands under the key `celeriac`, which Python passes over. It comes second, behind the
 * status, so that a script finds both without reading the whole (`result-save.ts`). A record without it was written by
 * somebody else, most likely by Python.
 */
import { parseJson, withZone } from '../../json.ts'
import type { ResultRecord, StoredError } from '../../result/result-store.ts'
import { isReady } from '../../result/states.ts'

/** Our part of a record. Times in epoch ms; what is not known is left out. */
interface OwnFields {
  readonly fence: number
  readonly root_id?: string
  readonly sent?: number
  readonly started?: number
  readonly done?: number
  /** The result as it was given, where `result` had to be an error for Python's sake and it was none. */
  readonly result?: unknown
}

/** Python raises what it finds as the result of these, and fails itself where that is not an error object. */
const errorStates: ReadonlySet<string> = new Set(['FAILURE', 'RETRY', 'REVOKED'])

export function encodeRecord(record: ResultRecord): string {
  const { status, result } = record
  const isMisfit = errorStates.has(status) && !isStoredError(result)
  const own: OwnFields = {
    fence: record.fence,
    ...(record.rootId !== null && { root_id: record.rootId }),
    ...(record.sentAt !== null && { sent: record.sentAt }),
    ...(record.startedAt !== null && { started: record.startedAt }),
    ...(record.doneAt !== null && { done: record.doneAt }),
    ...(isMisfit && { result: result ?? null }),
  }
  return JSON.stringify({
    status,
    celeriac: own,
    result: isMisfit ? errorFrom(result) : (result ?? null),
    traceback: record.traceback,
    children: record.children.map((id) => [[id, null], null]),
    date_done: record.dateDone && toMicroseconds(record.dateDone),
    ...(record.groupId !== null && { group_id: record.groupId }),
    ...(record.parentId !== null && { parent_id: record.parentId }),
    ...(record.name !== null && { name: record.name }),
    ...(record.worker !== null && { worker: record.worker }),
    ...(record.queue !== null && { queue: record.queue }),
    retries: record.retries,
    task_id: record.taskId,
  })
}

/** @returns undefined for a text that is no record */
export function decodeRecord(taskId: string, text: string): ResultRecord | undefined {
  const wire = readObject(text)
  if (typeof wire?.status !== 'string') return undefined
  const common = {
    taskId,
    status: wire.status,
    traceback: textOrNull(wire.traceback),
    children: childIds(wire.children).filter((id) => id !== taskId),
    dateDone: dateOf(wire.date_done),
    // A retry in Python names the task itself as its parent, and as its child.
    parentId: wire.parent_id === taskId ? null : textOrNull(wire.parent_id),
    groupId: textOrNull(wire.group_id),
    name: textOrNull(wire.name),
    queue: textOrNull(wire.queue),
    worker: textOrNull(wire.worker),
    retries: typeof wire.retries === 'number' ? wire.retries : 0,
    replyTo: null,
  }
  const own = wire.celeriac as OwnFields | undefined
  return typeof own?.fence === 'number' ? ours(common, wire.result, own) : others(common, wire.result)
}

type CommonFields = Omit<ResultRecord, 'result' | 'rootId' | 'sentAt' | 'startedAt' | 'doneAt' | 'fence'>

function ours(common: CommonFields, result: unknown, own: OwnFields): ResultRecord {
  return {
    ...common,
    result: 'result' in own ? own.result : (result ?? null),
    rootId: own.root_id ?? null,
    sentAt: own.sent ?? null,
    startedAt: own.started ?? null,
    doneAt: own.done ?? null,
    fence: own.fence,
  }
}

function others(common: CommonFields, result: unknown): ResultRecord {
  const { status, dateDone, retries } = common
  const doneAt = dateDone === null || !isReady(status) ? Number.NaN : Date.parse(dateDone)
  return {
    ...common,
    result: errorStates.has(status) && !isStoredError(result) ? errorFrom(result) : (result ?? null),
    rootId: null,
    sentAt: null,
    startedAt: null,
    doneAt: Number.isNaN(doneAt) ? null : doneAt,
    // The same number as the script gives it (`result-save.ts`).
    fence: retries + 1,
  }
}

function isStoredError(result: unknown): result is StoredError {
  return typeof (result as Partial<StoredError> | null | undefined)?.exc_type === 'string'
}

function errorFrom(result: unknown): StoredError {
  return { exc_type: 'Error', exc_message: [textOf(result ?? '')], exc_module: 'js' }
}

function textOf(value: unknown): string {
  if (typeof value === 'string') return value
  return JSON.stringify(value, (_key, item) => (typeof item === 'bigint' ? String(item) : item))
}

/**
 * The tasks in a list of result tuples: `[[id, parent], null]` for a task, `[[id, parent], [tuple, …]]` for a group
 * (`celery/result.py`, `as_tuple` and `result_from_tuple`, which reads a bare id in place of `[id, parent]` too).
 */
function childIds(tuples: unknown): string[] {
  if (!Array.isArray(tuples)) return []
  return tuples.flatMap((tuple: unknown) => {
    if (!Array.isArray(tuple)) return []
    const [head, members] = tuple as unknown[]
    if (Array.isArray(members)) return childIds(members)
    const id: unknown = Array.isArray(head) ? head[0] : head
    return typeof id === 'string' ? [id] : []
  })
}

/** Celery 5.2 takes the digits of a fraction for microseconds, so that `.112` is 112 of them (`iso8601.py`). */
function toMicroseconds(date: string): string {
  return date.replace(/\.(\d{3})(?!\d)/, '.$1000')
}

/** Celery before 5.4 writes UTC without saying so. */
function dateOf(value: unknown): string | null {
  if (typeof value !== 'string') return null
  return withZone(value)
    .replace(/z$/i, '+00:00')
    .replace(/(\.\d{3})000(?!\d)/, '$1')
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}

function readObject(text: string): Record<string, unknown> | undefined {
  let value: unknown
  try {
    value = parseJson(text)
  } catch {
    return undefined
  }
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
}
