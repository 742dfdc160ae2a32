/** A pipeline as a tree of its tasks, walked through the ids of children in the stored records, and through groups. */
import { fromJsonValue } from '../json.ts'
import type { GroupMember, GroupRecord, ResultRecord, ResultStore } from './result-store.ts'
import type { TaskState } from './states.ts'
import { describeError } from './stored-error.ts'

export interface ResultNode {
  /** Of a group its own id. */
  readonly taskId: string
  /** Null where the record is gone or was never there; `celery.group` for the node of a group. */
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

/** What was found under an id. */
type Found = ResultRecord | GroupRecord

/** From the root of the pipeline a task belongs to; of a group, or of what was sent as one, from the group. */
export async function resultTree(taskId: string, store: ResultStore): Promise<ResultNode> {
  const [own] = await store.load([taskId])
  return treeFrom(own?.rootId ?? taskId, new Map(own === undefined ? [] : [[taskId, own]]), store)
}

/** From a group that may not be stored. */
export function groupTree(group: GroupRecord, store: ResultStore): Promise<ResultNode> {
  return treeFrom(group.groupId, new Map(), store, group)
}

async function treeFrom(
  rootId: string,
  found: Map<string, Found | undefined>,
  store: ResultStore,
  group?: GroupRecord,
): Promise<ResultNode> {
  let level = [rootId]
  const visited = new Set<string>()
  while (level.length > 0) {
    const missing = level.filter((id) => !found.has(id))
    const loaded = await store.load(missing)
    const unknown = missing.filter((_id, index) => loaded[index] === undefined)
    // What has no record may be a group; of the tasks themselves few have none.
    const groups = store.joins ? await Promise.all(unknown.map((id) => store.loadGroup(id))) : []
    for (const [index, id] of missing.entries()) found.set(id, loaded[index])
    for (const [index, id] of unknown.entries()) found.set(id, groups[index])
    if (group !== undefined && found.get(rootId) === undefined) found.set(rootId, group)
    for (const id of level) visited.add(id)
    level = [...new Set(level.flatMap((id) => childrenOf(found.get(id))))].filter((id) => !visited.has(id))
  }
  return node(rootId, found, new Set())
}

function childrenOf(found: Found | undefined): readonly string[] {
  if (found === undefined) return []
  if ('taskId' in found) return found.children
  const { starts, members, bodyId } = found
  return [...(starts ?? flat(members)), ...(bodyId === null ? [] : [bodyId])]
}

/** Ids of the tasks in it. */
export function flat(members: readonly GroupMember[]): string[] {
  return members.flatMap((member) => (typeof member === 'string' ? [member] : flat(member.members)))
}

function node(id: string, found: ReadonlyMap<string, Found | undefined>, above: Set<string>): ResultNode {
  const record = found.get(id)
  const path = new Set(above).add(id)
  const children = childrenOf(record)
    .filter((child) => !path.has(child))
    .map((child) => node(child, found, path))
  return record !== undefined && 'members' in record
    ? groupNode(id, children, flat(record.members))
    : taskNode(id, record, children)
}

function taskNode(taskId: string, record: ResultRecord | undefined, children: readonly ResultNode[]): ResultNode {
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

/** A group is nothing that runs: its state is that of its members together. */
function groupNode(taskId: string, children: readonly ResultNode[], members: readonly string[]): ResultNode {
  const states = statesOf(children, new Set(members))
  const ended = states.filter((state) => state === 'SUCCESS').length
  const state = states.some((one) => one === 'FAILURE' || one === 'REVOKED')
    ? 'FAILURE'
    : ended === members.length
      ? 'SUCCESS'
      : ended > 0 || states.includes('STARTED')
        ? 'STARTED'
        : 'PENDING'
  const times = { sentAt: null, startedAt: null, doneAt: null }
  const nothing = { queue: null, retries: 0, attempts: 0, worker: null, result: null, error: null }
  return { taskId, name: 'celery.group', state, ...nothing, ...times, children }
}

function statesOf(nodes: readonly ResultNode[], ids: ReadonlySet<string>): string[] {
  return nodes.flatMap(({ taskId, state, children }) => [
    ...(ids.has(taskId) ? [state] : []),
    ...statesOf(children, ids),
  ])
}
