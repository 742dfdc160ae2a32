/** Joins in the file. What they count is kept beside the parts, so that a part costs the same in a join of any size. */
import type { JoinChange, JoinPart, JoinProgress, OpenJoin } from '../../result/result-store.ts'
import type { SqlValue } from './binding.ts'
import type { SqliteStore } from './store.ts'

export class SqliteJoins {
  readonly #store: SqliteStore

  constructor(store: SqliteStore) {
    this.#store = store
  }

  join(groupId: string, { part, size }: JoinChange): Promise<JoinProgress> {
    return this.#store.write(() => {
      const store = this.#store
      store.run('INSERT OR IGNORE INTO join_state(group_id) VALUES (?)', groupId)
      store.run(
        'UPDATE join_state SET size = coalesce(size, ?), expires = ? WHERE group_id = ?',
        size ?? null,
        expiryOf(store),
        groupId,
      )
      if (part !== undefined) this.#add(groupId, part)
      const row = store.first('SELECT * FROM join_state WHERE group_id = ?', groupId) as Record<string, unknown>
      const { joined, size: wanted, failed } = progressOf(row)
      const isComplete = row.closed === 0 && wanted !== undefined && joined >= wanted
      return { joined, size: wanted, parts: isComplete ? this.#parts(groupId) : undefined, failed }
    })
  }

  async close(groupId: string): Promise<void> {
    await this.#store.write(() => {
      const store = this.#store
      store.run('INSERT OR IGNORE INTO join_state(group_id, expires) VALUES (?, ?)', groupId, expiryOf(store))
      store.run('UPDATE join_state SET closed = 1 WHERE group_id = ?', groupId)
      store.run('DELETE FROM join_part WHERE group_id = ?', groupId)
    })
  }

  open(limit: number): Promise<OpenJoin[]> {
    return this.#store.read(() => {
      const now = this.#store.clock.now()
      const rows = this.#store.all(
        'SELECT * FROM join_state WHERE closed = 0 AND (expires IS NULL OR expires > ?) ORDER BY expires LIMIT ?',
        now,
        limit,
      )
      return rows.map((row) => ({ groupId: String(row.group_id), ...progressOf(row) }))
    })
  }

  /** The first part of a member counts, and only SUCCESS takes the place of what was none. */
  #add(groupId: string, part: JoinPart): void {
    const store = this.#store
    const { memberId, index, state, added = 0 } = part
    if (store.first('SELECT closed FROM join_state WHERE group_id = ?', groupId)?.closed === 1) return
    const known = store.first('SELECT part FROM join_part WHERE group_id = ? AND member_id = ?', groupId, memberId)
    const before = known === undefined ? undefined : (JSON.parse(String(known.part)) as JoinPart)
    if (before !== undefined && (before.state === 'SUCCESS' || state !== 'SUCCESS')) return
    store.run(
      'INSERT OR REPLACE INTO join_part(group_id, member_id, idx, part) VALUES (?, ?, ?, ?)',
      groupId,
      memberId,
      index,
      JSON.stringify(part),
    )
    const isSuccess = state === 'SUCCESS'
    store.run(
      `UPDATE join_state SET joined = joined + ?, added = added + ?,
         failed = CASE WHEN ? THEN nullif(failed, ?) ELSE coalesce(failed, ?) END
       WHERE group_id = ?`,
      before === undefined ? 1 : 0,
      added - (before?.added ?? 0),
      isSuccess ? 1 : 0,
      memberId,
      memberId,
      groupId,
    )
  }

  #parts(groupId: string): JoinPart[] {
    return this.#store
      .all('SELECT part FROM join_part WHERE group_id = ? ORDER BY idx, member_id', groupId)
      .map((row) => JSON.parse(String(row.part)) as JoinPart)
  }
}

function progressOf(row: Readonly<Record<string, unknown>>): Omit<JoinProgress, 'parts'> {
  const { size, added, joined, failed } = row
  return {
    joined: Number(joined),
    size: size === null ? undefined : Number(size) + Number(added),
    failed: failed === null ? undefined : String(failed),
  }
}

/** Epoch ms at which what is stored now goes, or null for never. */
export function expiryOf({ resultExpiresMs, clock }: SqliteStore): number | null {
  return Number.isFinite(resultExpiresMs) ? clock.now() + resultExpiresMs : null
}

/** Removes joins and groups whose time is over. To be called within a write. */
export function dropJoins(store: { run(sql: string, ...values: SqlValue[]): unknown }, nowMs: number): void {
  store.run('DELETE FROM join_part WHERE group_id IN (SELECT group_id FROM join_state WHERE expires <= ?)', nowMs)
  store.run('DELETE FROM join_state WHERE expires <= ?', nowMs)
  store.run('DELETE FROM task_group WHERE expires <= ?', nowMs)
}
