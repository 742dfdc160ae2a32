import type { SqlValue } from './binding.ts'

/**
 * Within a transaction: puts all that a consumer holds back to its place, and ends its lease. `counted` leaves the
 * delivery on the messages' count, because the consumer was lost with them.
 */
export function giveBackAll(
  store: { run(sql: string, ...values: SqlValue[]): unknown },
  consumer: number,
  deliveries: 'counted' | 'uncounted',
): void {
  const count = deliveries === 'counted' ? 'deliveries' : 'deliveries - 1'
  store.run(
    `INSERT INTO ready(queue, rank, id, deliveries)
     SELECT queue, rank, id, ${count} FROM leased WHERE consumer = ? AND due IS NULL`,
    consumer,
  )
  store.run(
    `INSERT INTO delayed(due, id, queue, rank, deliveries)
     SELECT due, id, queue, rank, ${count} FROM leased WHERE consumer = ? AND due IS NOT NULL`,
    consumer,
  )
  store.run('DELETE FROM leased WHERE consumer = ?', consumer)
  store.run('DELETE FROM consumer WHERE id = ?', consumer)
}
