/** Results and joins in the file. Subscribers look for rows with a newer `seq` when the bell rings. */
import type {
  GroupRecord,
  JoinChange,
  JoinProgress,
  OpenJoin,
  ResultRecord,
  ResultStore,
  ResultSubscription,
} from '../../result/result-store.ts'
import { SqliteBroker } from './broker.ts'
import { dropJoins, expiryOf, SqliteJoins } from './joins.ts'
import { ResultWriter } from './result-writer.ts'
import type { SqliteStore } from './store.ts'

type Listener = (record: ResultRecord) => void

export class SqliteResultStore implements ResultStore {
  readonly replyTo = undefined
  readonly joins = true
  readonly #store: SqliteStore
  readonly #writer: ResultWriter
  readonly #joins: SqliteJoins
  readonly #listeners = new Map<string, Set<Listener>>()
  #seenSeq = 0
  #stopListening: (() => void) | undefined

  constructor(store: SqliteStore) {
    this.#store = store
    this.#writer = new ResultWriter(store)
    this.#joins = new SqliteJoins(store)
  }

  open(): Promise<void> {
    return this.#store.open()
  }

  async save(records: readonly ResultRecord[]): Promise<void> {
    if (records.length > 0) await this.#writer.save(records)
  }

  load(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    return this.#store.read(() =>
      taskIds.map((id) => {
        const row = this.#store.first(
          'SELECT record FROM result WHERE task_id = ? AND (expires IS NULL OR expires > ?)',
          id,
          this.#store.clock.now(),
        )
        return row === undefined ? undefined : (JSON.parse(String(row.record)) as ResultRecord)
      }),
    )
  }

  async subscribe(taskIds: readonly string[], listener: Listener): Promise<ResultSubscription> {
    if (this.#stopListening === undefined) {
      this.#seenSeq = await this.#store.read(() => Number(this.#store.first('SELECT value FROM counter')?.value))
      this.#stopListening ??= this.#store.onRing(() => this.#tellNews())
    }
    for (const id of taskIds) {
      const listeners = this.#listeners.get(id) ?? new Set()
      this.#listeners.set(id, listeners.add(listener))
    }
    return {
      close: async () => {
        for (const id of taskIds) {
          const listeners = this.#listeners.get(id)
          if (listeners?.delete(listener) && listeners.size === 0) this.#listeners.delete(id)
        }
        if (this.#listeners.size === 0) this.#stop()
      },
    }
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    await this.#store.write(() => {
      for (const id of taskIds) this.#store.run('DELETE FROM result WHERE task_id = ?', id)
    })
  }

  join(groupId: string, change: JoinChange): Promise<JoinProgress> {
    return this.#joins.join(groupId, change)
  }

  closeJoin(groupId: string): Promise<void> {
    return this.#joins.close(groupId)
  }

  openJoins(limit: number): Promise<OpenJoin[]> {
    return this.#joins.open(limit)
  }

  async saveGroups(groups: readonly GroupRecord[]): Promise<void> {
    const store = this.#store
    await store.write(() => {
      for (const group of groups) {
        store.run(
          'INSERT OR REPLACE INTO task_group(group_id, expires, record) VALUES (?, ?, ?)',
          group.groupId,
          expiryOf(store),
          JSON.stringify(group),
        )
      }
    })
  }

  loadGroup(groupId: string): Promise<GroupRecord | undefined> {
    return this.#store.read(() => {
      const row = this.#store.first(
        'SELECT record FROM task_group WHERE group_id = ? AND (expires IS NULL OR expires > ?)',
        groupId,
        this.#store.clock.now(),
      )
      return row === undefined ? undefined : (JSON.parse(String(row.record)) as GroupRecord)
    })
  }

  expire(): Promise<number> {
    return this.#store.write(() => {
      const now = this.#store.clock.now()
      dropJoins(this.#store, now)
      return this.#store.run('DELETE FROM result WHERE expires <= ?', now)
    })
  }

  sharesStorageWith(broker: object): boolean {
    return broker instanceof SqliteBroker && broker.store === this.#store
  }

  async close(): Promise<void> {
    this.#stop()
    await this.#store.close()
  }

  #stop(): void {
    this.#stopListening?.()
    this.#stopListening = undefined
  }

  /** Reads the keys of what is new, and the records of what somebody waits for. */
  #tellNews(): void {
    let rows: ReturnType<SqliteStore['all']>
    try {
      rows = this.#store.all('SELECT seq, task_id FROM result WHERE seq > ? ORDER BY seq', this.#seenSeq)
    } catch {
      return // Busy for a moment; the next ring, or the bell's net, looks again.
    }
    for (const row of rows) {
      const listeners = this.#listeners.get(String(row.task_id))
      if (listeners !== undefined) {
        const found = this.#store.first('SELECT record FROM result WHERE seq = ?', Number(row.seq))
        if (found !== undefined) {
          for (const listener of [...listeners]) listener(JSON.parse(String(found.record)) as ResultRecord)
        }
      }
      this.#seenSeq = Number(row.seq)
    }
  }
}
