/**
 * Results as Celery's RPC backend sends them (`celery/backends/rpc.py`): a JSON object to the queue that the call names
 * as its `reply_to`, with the task's id as the correlation id. What Celery has no field for stands under the key
 * `celeriac`, which Python passes over.
 */
import { parseJson, withZone } from '../../json.ts'
import type { ResultRecord } from '../../result/result-store.ts'
import { isReady } from '../../result/states.ts'
import type { Outbound } from './message.ts'

/** Our part of a result: fields of a record as they are. */
type OwnFields = Pick<ResultRecord, 'children' | 'rootId' | 'sentAt' | 'startedAt' | 'doneAt' | 'fence'> & {
  /** The result itself, where Python wants an error object in its place and it was none. */
  readonly result?: unknown
}

/** States whose result Python raises, or fails over when it is no error object. */
const errorStates: ReadonlySet<string> = new Set(['FAILURE', 'RETRY', 'REVOKED'])

export function encodeResult(record: ResultRecord, replyTo: string): Outbound {
  const { taskId, status, result, children, rootId, sentAt, startedAt, doneAt, fence } = record
  const isMisfit = errorStates.has(status) && !isErrorObject(result)
  const own: OwnFields = { children, rootId, sentAt, startedAt, doneAt, fence, ...(isMisfit && { result }) }
  const body = {
    task_id: taskId,
    status,
    result: isMisfit
      ? { exc_type: 'Error', exc_message: [JSON.stringify(result) ?? 'null'], exc_module: 'js' }
      : result,
    traceback: record.traceback,
    // Result tuples, as Python nests them.
    children: children.map((id) => [[id, null], null]),
    date_done: record.dateDone,
    parent_id: record.parentId,
    group_id: record.groupId,
    name: record.name,
    queue: record.queue,
    worker: record.worker,
    retries: record.retries,
    celeriac: own,
  }
  return {
    exchange: '',
    routingKey: replyTo,
    content: Buffer.from(JSON.stringify(body)),
    options: { contentType: 'application/json', contentEncoding: 'utf-8', correlationId: taskId, deliveryMode: 1 },
    queue: undefined,
    delay: undefined,
    form: undefined,
  }
}

/** @returns undefined for what is no result */
export function decodeResult(content: Buffer, correlationId: unknown, nowMs: number): ResultRecord | undefined {
  const wire = readObject(content)
  const taskId = textOrNull(wire?.task_id) ?? textOrNull(correlationId)
  const status = textOrNull(wire?.status)
  if (wire === undefined || taskId === null || status === null) return undefined
  const retries = typeof wire.retries === 'number' ? wire.retries : 0
  const record: ResultRecord = {
    taskId,
    status,
    result: wire.result ?? null,
    traceback: textOrNull(wire.traceback),
    children: childIds(wire.children),
    dateDone: dateOf(wire.date_done),
    parentId: textOrNull(wire.parent_id),
    rootId: null,
    groupId: textOrNull(wire.group_id),
    name: textOrNull(wire.name),
    queue: textOrNull(wire.queue),
    worker: textOrNull(wire.worker),
    retries,
    replyTo: null,
    sentAt: null,
    startedAt: null,
    doneAt: isReady(status) ? nowMs : null,
    // Python does not count attempts; its retries are the least there were.
    fence: retries + 1,
  }
  const own = wire.celeriac as Partial<OwnFields> | undefined
  return typeof own?.fence === 'number' ? { ...record, ...own } : record
}

function readObject(content: Buffer): Record<string, unknown> | undefined {
  try {
    const value = parseJson(content.toString('utf8'))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

function isErrorObject(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'exc_type' in value && 'exc_message' in value
}

/** `[[id, parent], null]` for each child; groups nest theirs, and are passed over. */
function childIds(children: unknown): string[] {
  if (!Array.isArray(children)) return []
  return children
    .map((child: unknown) => (Array.isArray(child) && Array.isArray(child[0]) ? child[0][0] : undefined))
    .filter((id: unknown) => typeof id === 'string')
}

function dateOf(value: unknown): string | null {
  return typeof value === 'string' ? withZone(value) : null
}

function textOrNull(value: unknown): string | null {
  return typeof value === 'string' ? value : null
}
