/** Results and joins in the file. Subscribers look for rows with a newer `seq` when the bell rings. */
import type {
  JoinPart,
  JoinProgress,
  ResultRecord,
  ResultStore,
  ResultSubscription,
} from '../../result/result-store.ts'
import { SqliteBroker } from './broker.ts'
import { ResultWriter } from './result-writer.ts'
import type { SqliteStore } from './store.ts'

type Listener = (record: ResultRecord) => void

export class SqliteResultStore implements ResultStore {
  readonly replyTo = undefined
  readonly #store: SqliteStore
  readonly #writer: ResultWriter
  readonly #listeners = new Map<string, Set<Listener>>()
  #seenSeq = 0
  #stopListening: (() => void) | undefined

  constructor(store: SqliteStore) {
    this.#store = store
    this.#writer = new ResultWriter(store)
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

  join(groupId: string, { part, size }: { part?: JoinPart; size?: number }): Promise<JoinProgress> {
    return this.#store.write(() => {
      const store = this.#store
      const { resultExpiresMs, clock } = store
      const expires = Number.isFinite(resultExpiresMs) ? clock.now() + resultExpiresMs : null
      store.run('INSERT OR IGNORE INTO join_state(group_id) VALUES (?)', groupId)
      store.run(
        'UPDATE join_state SET size = coalesce(?, size), expires = ? WHERE group_id = ?',
        size ?? null,
        expires,
        groupId,
      )
      const state = store.first('SELECT size, closed FROM join_state WHERE group_id = ?', groupId)
      const closed = state?.closed === 1
      if (part !== undefined && !closed) {
        store.run(
          'INSERT OR IGNORE INTO join_part(group_id, member_id, idx, part) VALUES (?, ?, ?, ?)',
          groupId,
          part.memberId,
          part.index,
          JSON.stringify(part),
        )
      }
      const joined = Number(store.first('SELECT count(*) AS n FROM join_part WHERE group_id = ?', groupId)?.n)
      const known = state?.size === null || state === undefined ? undefined : Number(state.size)
      const complete = !closed && known !== undefined && joined >= known
      return { joined, size: known, parts: complete ? this.#parts(groupId) : undefined }
    })
  }

  async closeJoin(groupId: string): Promise<void> {
    await this.#store.write(() => {
      this.#store.run('INSERT OR IGNORE INTO join_state(group_id) VALUES (?)', groupId)
      this.#store.run('UPDATE join_state SET closed = 1 WHERE group_id = ?', groupId)
    })
  }

  expire(): Promise<number> {
    return this.#store.write(() => {
      const now = this.#store.clock.now()
      this.#store.run(
        'DELETE FROM join_part WHERE group_id IN (SELECT group_id FROM join_state WHERE expires <= ?)',
        now,
      )
      this.#store.run('DELETE FROM join_state WHERE expires <= ?', now)
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

  #parts(groupId: string): JoinPart[] {
    return this.#store
      .all('SELECT part FROM join_part WHERE group_id = ? ORDER BY idx, member_id', groupId)
      .map((row) => JSON.parse(String(row.part)) as JoinPart)
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
