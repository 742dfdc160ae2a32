/**
 * Why a task has not ended: what it waits for, and what that waits for, down to something that runs, lies in a queue, or
 * is lost. The same looks through all open joins for those that nothing will complete any more.
 */
import type { GroupRecord, OpenJoin, ResultRecord, ResultStore } from './result-store.ts'
import { isReady, type TaskState } from './states.ts'
import { describeError } from './stored-error.ts'
import { flat } from './tree.ts'

export interface Why {
  readonly taskId: string
  readonly name: string | null
  readonly state: TaskState | 'UNKNOWN'
  /** One sentence. */
  readonly reason: string
  /** Whether nothing will end it any more, as far as the store can tell. */
  readonly isStuck: boolean
  /** What it waits for, of many the first ones. */
  readonly waitsFor: readonly Why[]
}

/** A join that is open, and why. */
export interface WaitingJoin extends OpenJoin {
  readonly bodyId: string | null
  readonly reason: string
  readonly isStuck: boolean
  readonly waitsFor: readonly Why[]
}

/** Joins looked at, and records read at once. */
const most = 1_000
/** Of many that are waited for, so many are named. */
const shown = 5
/** Deep enough for any pipeline somebody composed by hand. */
const deepest = 50

export async function whyWaiting(taskId: string, store: ResultStore): Promise<Why> {
  return new Asking(store).ofTask(taskId, 0)
}

/** Up to a thousand open joins, the oldest first. @throws CeleriacError `UNSUPPORTED` for a store that cannot join */
export async function waitingJoins(store: ResultStore): Promise<WaitingJoin[]> {
  const asking = new Asking(store)
  const found: WaitingJoin[] = []
  for (const join of await store.openJoins(most)) found.push(await asking.ofJoin(join, 0))
  return found
}

class Asking {
  readonly #store: ResultStore
  #joins: Promise<OpenJoin[]> | undefined

  constructor(store: ResultStore) {
    this.#store = store
  }

  async ofTask(taskId: string, depth: number): Promise<Why> {
    const [record] = await this.#store.load([taskId])
    return record === undefined ? unknown(taskId) : this.#ofRecord(record, depth)
  }

  async ofJoin(join: OpenJoin, depth: number): Promise<WaitingJoin> {
    const group = await this.#store.loadGroup(join.groupId)
    const { joined, size, failed } = join
    const about = { ...join, bodyId: group?.bodyId ?? null }
    const counted = `${joined} of ${size ?? 'an unknown number of'} members of group ${join.groupId} have ended`
    if (failed !== undefined) {
      const reason = `${counted}; it failed with ${failed}, and goes on when that is redriven`
      return { ...about, reason, isStuck: false, waitsFor: [] }
    }
    if (size !== undefined && joined >= size) {
      const reason = `${counted}, and whoever ended last is about to send the body, or was lost and comes again`
      return { ...about, reason, isStuck: false, waitsFor: [] }
    }
    if (group === undefined) {
      return { ...about, reason: `${counted}; who the others are is not known here`, isStuck: false, waitsFor: [] }
    }
    const waitsFor = await this.#unended(group, depth)
    if (waitsFor.length === 0) {
      const reason = `${counted} where they joined, and all have ended by their records: a part was lost, or a member ran where no results are kept`
      return { ...about, reason, isStuck: true, waitsFor }
    }
    return { ...about, reason: counted, isStuck: waitsFor.some(({ isStuck }) => isStuck), waitsFor }
  }

  async #ofRecord(record: ResultRecord, depth: number): Promise<Why> {
    const { taskId, name, status: state, queue, worker, retries, sentAt, startedAt } = record
    const because = (reason: string, isStuck = false, waitsFor: readonly Why[] = []): Why => ({
      taskId,
      name,
      state,
      reason,
      isStuck,
      waitsFor,
    })
    if (isReady(state)) return because(ended(record))
    if (state === 'RETRY')
      return because(`it failed ${retries + 1} times, and waits in queue '${queue}' for its next try`)
    if (state !== 'PENDING')
      return because(`it runs on ${worker}${startedAt === null ? '' : `, since ${iso(startedAt)}`}`)
    if (sentAt !== null) {
      return because(
        `it was sent to queue '${queue}' at ${iso(sentAt)}, and no worker has told of it yet: it waits, or runs`,
      )
    }
    if (depth >= deepest) return because('it waits for more than can be followed')
    const join = await this.#joinBefore(record)
    if (join !== undefined) {
      const { reason, isStuck, waitsFor } = await this.ofJoin(join, depth + 1)
      return because(`it is the body of a chord: ${reason}`, isStuck, waitsFor)
    }
    if (record.parentId === null) return because('it was never sent', true)
    const before = await this.ofTask(record.parentId, depth + 1)
    if (before.state !== 'SUCCESS') {
      return because(`it waits for ${before.name ?? 'task'} ${before.taskId}`, before.isStuck, [before])
    }
    return because(
      `${before.name} ${before.taskId} before it has ended, and what follows that has not come here yet`,
      true,
    )
  }

  /** The open join whose outcome starts the task. */
  async #joinBefore({ taskId, groupId }: ResultRecord): Promise<OpenJoin | undefined> {
    if (!this.#store.joins) return undefined
    this.#joins ??= this.#store.openJoins(most)
    const joins = await this.#joins
    const likely = joins.filter((join) => join.groupId === groupId)
    for (const join of [...likely, ...joins]) {
      if ((await this.#store.loadGroup(join.groupId))?.bodyId === taskId) return join
    }
    return undefined
  }

  async #unended({ members }: GroupRecord, depth: number): Promise<Why[]> {
    const ids = flat(members)
    const found: Why[] = []
    for (let at = 0; at < ids.length && found.length < shown; at += most) {
      const page = ids.slice(at, at + most)
      const records = await this.#store.load(page)
      for (const [index, record] of records.entries()) {
        if (record !== undefined && isReady(record.status)) continue
        if (found.length === shown) break
        found.push(record === undefined ? unknown(page[index] as string) : await this.#ofRecord(record, depth + 1))
      }
    }
    return found
  }
}

function unknown(taskId: string): Why {
  const reason =
    'nothing is known of it: it was sent from elsewhere and has not ended, keeps no result, or its record is gone'
  return { taskId, name: null, state: 'UNKNOWN', reason, isStuck: false, waitsFor: [] }
}

function ended({ status, result, doneAt }: ResultRecord): string {
  const when = doneAt === null ? '' : ` at ${iso(doneAt)}`
  if (status === 'SUCCESS') return `it has ended${when}`
  const { type, message } = describeError(result)
  return `it has ended${when}: ${status}, ${type}: ${message}`
}

function iso(ms: number): string {
  return new Date(ms).toISOString()
}

/** For the command line: a line for each, what is waited for under what waits. */
export function describeWhy({ taskId, name, reason, isStuck, waitsFor }: Why, indent = ''): string[] {
  const own = `${indent}${name ?? '(unknown)'} ${taskId}: ${reason}${isStuck && waitsFor.length === 0 ? ' (stuck)' : ''}`
  return [own, ...waitsFor.flatMap((inner) => describeWhy(inner, `${indent}  `))]
}
