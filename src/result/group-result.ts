/** The caller's side of a group: the results of its members, waited for together, in one subscription. */
import { sleep } from '../clock.ts'
import { toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { fromJsonValue } from '../json.ts'
import {
  AsyncResult,
  outcomeOf,
  type ResultSource,
  type RevokeOptions,
  storeOf,
  type WaitOptions,
} from './async-result.ts'
import type { GroupMember, ResultRecord, ResultStore } from './result-store.ts'
import { isReady } from './states.ts'
import { groupTree, type ResultNode } from './tree.ts'

/** How far the members of a group are, those of groups within it one by one. */
export interface GroupProgress {
  readonly total: number
  /** Ended, well or not. */
  readonly completed: number
  /** Ended in FAILURE or REVOKED. */
  readonly failed: number
}

/** A push can be missed while a store fails over; so a long wait looks again by itself, this often. */
const lookAgainMs = 10_000
/** Records read at once. */
const pageSize = 1_000

/** `T` is the list of the members' values, in which groups are lists again. */
export class GroupResult<T = unknown> {
  readonly id: string
  /** Of its members, in their order. */
  readonly results: readonly (AsyncResult | GroupResult)[]
  /** The step before it, where it ends a chain sent from here. */
  readonly parent: AsyncResult | GroupResult | undefined
  readonly #source: ResultSource | undefined
  readonly #awaited: readonly string[]

  /**
   * @param source undefined for a group without members
   * @param awaited ids of tasks that must have ended too, though they give none of its values
   */
  constructor(
    id: string,
    results: readonly (AsyncResult | GroupResult)[],
    source: ResultSource | undefined,
    parent?: AsyncResult | GroupResult,
    awaited: readonly string[] = [],
  ) {
    this.id = id
    this.results = results
    this.parent = parent
    this.#source = source
    this.#awaited = awaited
  }

  /** Ids of the members, those of groups within it among them; without members, at the end of a chain, of what ends that. */
  get ids(): string[] {
    const members = this.results.flatMap((result) => (result instanceof GroupResult ? result.ids : [result.id]))
    return [...members, ...this.#awaited]
  }

  /**
   * The values of all members, once the last has ended; rejects as soon as one has failed.
   * @throws TaskFailedError what a member threw
   * @throws TaskRevokedError a member was revoked or had expired
   * @throws CeleriacError `RESULT_TIMEOUT`, or `RESULTS_DISABLED` where the app keeps no results
   */
  async join(options: WaitOptions = {}): Promise<T> {
    const deadline = options.timeout === undefined ? undefined : AbortSignal.timeout(toMs(options.timeout, 'timeout'))
    const signals = [deadline, options.signal].filter((signal) => signal !== undefined)
    const values = new Map<string, unknown>()
    for await (const records of this.#ends(AbortSignal.any(signals))) {
      for (const record of records) values.set(record.taskId, outcomeOf(record))
    }
    const missing = this.ids.filter((id) => !values.has(id)).length
    if (missing === 0) return this.#arranged(values) as T
    options.signal?.throwIfAborted()
    throw new CeleriacError(
      'RESULT_TIMEOUT',
      `${missing} of the ${this.ids.length} members of group ${this.id} had not ended after ${options.timeout}`,
    )
  }

  /** As `join`, so that a group's result may stand where a task's does. */
  get(options: WaitOptions = {}): Promise<T> {
    return this.join(options)
  }

  /** How far it is, at once and after each change, up to the end of the last member or the signal. */
  async *progress({ signal }: { signal?: AbortSignal } = {}): AsyncGenerator<GroupProgress, void, undefined> {
    const total = this.ids.length
    const seen = new Set<string>()
    let failed = 0
    for await (const records of this.#ends(signal)) {
      for (const { taskId, status } of records) {
        if (status !== 'SUCCESS') failed += 1
        seen.add(taskId)
      }
      yield { total, completed: seen.size, failed }
    }
  }

  /** Members that have ended well. */
  async completedCount(): Promise<number> {
    return this.#count(({ status }) => status === 'SUCCESS')
  }

  /** Whether every member has ended, well or not. */
  async ready(): Promise<boolean> {
    return (await this.#count(({ status }) => isReady(status))) === this.ids.length
  }

  /** Whether every member has ended well. */
  async successful(): Promise<boolean> {
    return (await this.completedCount()) === this.ids.length
  }

  /** Whether a member has failed, or was revoked. */
  async failed(): Promise<boolean> {
    return (await this.#count(({ status }) => isReady(status) && status !== 'SUCCESS')) > 0
  }

  /** Has none of the members run, in one command: see `AsyncResult.revoke`. */
  async revoke(options: RevokeOptions = {}): Promise<void> {
    if (this.ids.length > 0) await this.#source?.revoke(this.ids, options)
  }

  /** Removes what the store keeps of its members. */
  async forget(): Promise<void> {
    if (this.ids.length > 0) await this.#store().forget(this.ids)
  }

  /** Has the store keep who belongs to it, so that `app.group(id)`, and Python's `GroupResult.restore`, find it. */
  async save(): Promise<void> {
    await this.#store().saveGroups([{ ...this.#member(), starts: null, bodyId: null }], true)
  }

  /** Its members with all that follows from them, as far as the store knows it. */
  async tree(): Promise<ResultNode> {
    return groupTree({ ...this.#member(), starts: null, bodyId: null }, this.#store())
  }

  /** Records of members that have ended, each once, in batches as they come; ends with the last, or with the signal. */
  async *#ends(signal: AbortSignal | undefined): AsyncGenerator<ResultRecord[], void, undefined> {
    const waiting = new Set(this.ids)
    if (waiting.size === 0) return
    const store = this.#store()
    const news: ResultRecord[] = []
    let wake = new AbortController()
    const subscription = await store.subscribe([...waiting], (record) => {
      news.push(record)
      wake.abort()
    })
    const onAbort = (): void => wake.abort()
    signal?.addEventListener('abort', onAbort, { once: true })
    try {
      news.push(...(await loadAll(store, [...waiting])))
      let isFirst = true
      while (!signal?.aborted) {
        wake = new AbortController()
        const ended = news.splice(0).filter(({ taskId, status }) => isReady(status) && waiting.delete(taskId))
        if (ended.length > 0 || isFirst) yield ended.map(readRecord)
        isFirst = false
        if (waiting.size === 0) return
        if (news.length > 0) continue
        await sleep((this.#source as ResultSource).clock, lookAgainMs, wake.signal)
        if (!wake.signal.aborted) news.push(...(await loadAll(store, [...waiting])))
      }
    } finally {
      signal?.removeEventListener('abort', onAbort)
      await subscription.close()
    }
  }

  async #count(matches: (record: ResultRecord) => boolean): Promise<number> {
    if (this.ids.length === 0) return 0
    return (await loadAll(this.#store(), this.ids)).filter(matches).length
  }

  #arranged(values: ReadonlyMap<string, unknown>): unknown[] {
    return this.results.map((result) =>
      result instanceof GroupResult ? result.#arranged(values) : values.get(result.id),
    )
  }

  #member(): Exclude<GroupMember, string> {
    const members = this.results.map((result) => (result instanceof GroupResult ? result.#member() : result.id))
    return { groupId: this.id, members }
  }

  #store(): ResultStore {
    return storeOf(this.#source, `group ${this.id}`)
  }
}

function readRecord(record: ResultRecord): ResultRecord {
  return { ...record, result: fromJsonValue(record.result) }
}

async function loadAll(store: ResultStore, ids: readonly string[]): Promise<ResultRecord[]> {
  const found: ResultRecord[] = []
  for (let at = 0; at < ids.length; at += pageSize) {
    for (const record of await store.load(ids.slice(at, at + pageSize))) if (record !== undefined) found.push(record)
  }
  return found
}

/** Results of the members of a group, by what is known of it. */
export function groupResult(
  { groupId, members }: Exclude<GroupMember, string>,
  source: ResultSource,
  parent?: AsyncResult | GroupResult,
): GroupResult {
  const results = members.map((member) =>
    typeof member === 'string' ? new AsyncResult(member, source) : groupResult(member, source),
  )
  return new GroupResult(groupId, results, source, parent)
}
