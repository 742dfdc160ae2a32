/** A pipeline as a tree of its tasks, walked through the ids of children in the stored records. */
import { fromJsonValue } from '../json.ts'
import type { ResultRecord, ResultStore } from './result-store.ts'
import type { TaskState } from './states.ts'
import { describeError } from './stored-error.ts'

export interface ResultNode {
  readonly taskId: string
  /** Null where the record is gone or was never there. */
  readonly name: string | null
  readonly queue: string | null
  readonly state: TaskState | 'UNKNOWN'
  readonly retries: number
  /** Runs begun, retries and redeliveries included. */
  readonly attempts: number
  readonly worker: string | null
  /** Epoch ms. */
  readonly sentAt: number | null
  readonly startedAt: number | null
  readonly doneAt: number | null
  /** The returned value, or the meta of a state of its own. */
  readonly result: unknown
  readonly error: { readonly type: string; readonly message: string } | null
  readonly children: readonly ResultNode[]
}

/** From the root of the pipeline a task belongs to. */
export async function resultTree(taskId: string, store: ResultStore): Promise<ResultNode> {
  const [own] = await store.load([taskId])
  const rootId = own?.rootId ?? taskId
  const records = new Map<string, ResultRecord | undefined>([[taskId, own]])
  let level = [rootId]
  const visited = new Set<string>()
  while (level.length > 0) {
    const missing = level.filter((id) => !records.has(id))
    const loaded = await store.load(missing)
    for (const [index, id] of missing.entries()) records.set(id, loaded[index])
    for (const id of level) visited.add(id)
    level = level.flatMap((id) => records.get(id)?.children ?? []).filter((id) => !visited.has(id))
  }
  return node(rootId, records, new Set())
}

function node(taskId: string, records: ReadonlyMap<string, ResultRecord | undefined>, above: Set<string>): ResultNode {
  const record = records.get(taskId)
  const path = new Set(above).add(taskId)
  const children = (record?.children ?? []).filter((id) => !path.has(id)).map((id) => node(id, records, path))
  const failed = record !== undefined && ['FAILURE', 'RETRY', 'REVOKED'].includes(record.status)
  return {
    taskId,
    name: record?.name ?? null,
    queue: record?.queue ?? null,
    state: record?.status ?? 'UNKNOWN',
    retries: record?.retries ?? 0,
    attempts: record?.fence ?? 0,
    worker: record?.worker ?? null,
    sentAt: record?.sentAt ?? null,
    startedAt: record?.startedAt ?? null,
    doneAt: record?.doneAt ?? null,
    result: record === undefined || failed ? null : fromJsonValue(record.result),
    error: failed ? describeError(record.result) : null,
    children,
  }
}
