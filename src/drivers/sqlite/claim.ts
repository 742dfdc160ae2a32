/** Takes messages on loan, within a transaction: what is ready by turns from several queues, or what is kept back. */
import type { Row } from './binding.ts'
import type { SqliteStore } from './store.ts'

/** Claimed rows of one queue. Those that were kept back say until when, in `due`. */
export interface Claimed {
  readonly queue: string
  readonly rows: readonly Row[]
}

/** A queue by name and number. */
export interface NumberedQueue {
  readonly name: string
  readonly id: number
}

/** A fair share of each queue first; then whatever is left, in turn. */
export function claimReady(
  store: SqliteStore,
  lease: number,
  queues: readonly NumberedQueue[],
  max: number,
): Claimed[] {
  const claimed: Claimed[] = []
  let left = max
  for (const share of queues.length > 1 ? [Math.ceil(max / queues.length), max] : [max]) {
    for (const queue of queues) {
      const limit = Math.min(share, left)
      const rows = limit > 0 ? claimFrom(store, lease, queue.id, limit) : []
      if (rows.length > 0) claimed.push({ queue: queue.name, rows })
      left -= rows.length
    }
  }
  return claimed
}

function claimFrom(store: SqliteStore, lease: number, queue: number, limit: number): Row[] {
  const rows = store.all(
    `SELECT r.id, r.rank, r.deliveries, p.head, p.body
     FROM ready r CROSS JOIN payload p ON p.id = r.id WHERE r.queue = ? ORDER BY r.rank, r.id LIMIT ?`,
    queue,
    limit,
  )
  for (const { rank, first, last } of ranksOf(rows)) {
    store.run(
      `INSERT INTO leased(consumer, id, queue, rank, deliveries) SELECT ?, id, queue, rank, deliveries + 1
       FROM ready WHERE queue = ? AND rank = ? AND id BETWEEN ? AND ?`,
      lease,
      queue,
      rank,
      first,
      last,
    )
    store.run('DELETE FROM ready WHERE queue = ? AND rank = ? AND id BETWEEN ? AND ?', queue, rank, first, last)
  }
  for (const row of rows) store.claimed(Number(row.id))
  return rows
}

/** What is due first comes first, from whichever of the queues. Rare, so its statements may cost more. */
export function claimDelayed(
  store: SqliteStore,
  lease: number,
  queues: readonly NumberedQueue[],
  max: number,
): Claimed[] {
  const rows = store.all(
    `SELECT d.due, d.id, d.queue, d.deliveries, p.head, p.body
     FROM delayed d CROSS JOIN payload p ON p.id = d.id
     WHERE d.queue IN (SELECT value FROM json_each(?)) ORDER BY d.due, d.id LIMIT ?`,
    JSON.stringify(queues.map(({ id }) => id)),
    max,
  )
  for (const { due, id } of rows) {
    const at = [Number(due), Number(id)]
    store.run(
      `INSERT INTO leased(consumer, id, queue, rank, deliveries, due) SELECT ?, id, queue, rank, deliveries + 1, due
       FROM delayed WHERE due = ? AND id = ?`,
      lease,
      ...at,
    )
    store.run('DELETE FROM delayed WHERE due = ? AND id = ?', ...at)
    store.claimed(Number(id))
  }
  const names = new Map(queues.map(({ id, name }) => [id, name]))
  return rows.map((row) => ({ queue: names.get(Number(row.queue)) ?? '', rows: [row] }))
}

/** Moves what is due to the ready ones. Anybody's claim does it for everybody. */
export function promoteDue(store: SqliteStore): void {
  const now = store.clock.now()
  store.run(
    'INSERT INTO ready(queue, rank, id, deliveries) SELECT queue, rank, id, deliveries FROM delayed WHERE due <= ?',
    now,
  )
  store.run('DELETE FROM delayed WHERE due <= ?', now)
  store.ringAfterCommit()
}

/** The stretch of ids that rows in claim order cover in each rank. */
function ranksOf(rows: readonly Row[]): { rank: number; first: number; last: number }[] {
  const ranks: { rank: number; first: number; last: number }[] = []
  for (const row of rows) {
    const rank = Number(row.rank)
    const current = ranks[ranks.length - 1]
    if (current?.rank === rank) current.last = Number(row.id)
    else ranks.push({ rank, first: Number(row.id), last: Number(row.id) })
  }
  return ranks
}
