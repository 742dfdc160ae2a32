import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type {
  GroupRecord,
  JoinChange,
  JoinProgress,
  OpenJoin,
  ResultRecord,
  ResultStore,
  ResultSubscription,
} from '../../result/result-store.ts'
import type { ResultListener } from './result-table.ts'
import { defaultResultExpiresMs, type MemoryOptions, type MemoryStore } from './store.ts'

/** The reference result store: results in the memory of this process. */
export class MemoryResultStore implements ResultStore {
  readonly replyTo = undefined
  readonly joins = true
  readonly #store: MemoryStore
  readonly #clock: Clock
  readonly #expiresMs: number
  readonly #subscriptions = new Set<() => void>()
  #closed = false

  constructor({ store, clock = systemClock, resultExpiresMs = defaultResultExpiresMs }: MemoryOptions) {
    this.#store = store
    this.#clock = clock
    this.#expiresMs = resultExpiresMs
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async save(records: readonly ResultRecord[]): Promise<void> {
    this.#results.prepare(records, this.#clock.now(), this.#expiresMs)()
  }

  async load(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    const nowMs = this.#clock.now()
    const results = this.#results
    return taskIds.map((taskId) => results.load(taskId, nowMs))
  }

  async subscribe(taskIds: readonly string[], listener: ResultListener): Promise<ResultSubscription> {
    const stop = this.#results.subscribe(taskIds, listener)
    this.#subscriptions.add(stop)
    return {
      close: async () => {
        stop()
        this.#subscriptions.delete(stop)
      },
    }
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    const results = this.#results
    for (const taskId of taskIds) results.forget(taskId)
  }

  async join(groupId: string, change: JoinChange): Promise<JoinProgress> {
    return this.#results.join(groupId, change, this.#clock.now(), this.#expiresMs)
  }

  async closeJoin(groupId: string): Promise<void> {
    this.#results.closeJoin(groupId, this.#clock.now(), this.#expiresMs)
  }

  async openJoins(limit: number): Promise<OpenJoin[]> {
    return this.#results.openJoins(limit, this.#clock.now())
  }

  async saveGroups(groups: readonly GroupRecord[]): Promise<void> {
    const results = this.#results
    for (const group of groups) results.saveGroup(group, this.#clock.now(), this.#expiresMs)
  }

  async loadGroup(groupId: string): Promise<GroupRecord | undefined> {
    return this.#results.loadGroup(groupId, this.#clock.now())
  }

  async expire(): Promise<number> {
    return this.#results.expire(this.#clock.now())
  }

  sharesStorageWith(broker: object): boolean {
    return 'store' in broker && broker.store === this.#store
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const stop of this.#subscriptions) stop()
    this.#subscriptions.clear()
  }

  /** @throws CeleriacError `CLOSED` */
  get #results(): MemoryStore['results'] {
    this.#assertOpen()
    return this.#store.results
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory result store is closed')
  }
}
