import type { SqlValue } from './binding.ts'
import { dropJoins } from './joins.ts'

/** Bus messages are read within milliseconds; a minute serves the slowest listener. */
const busMessageLifeMs = 60_000
/** Of what may be many, so many at a time: others wait for the transaction. */
const atOnce = 10_000

/** Within a transaction: clears away what has expired. */
export function cleanUp(store: { run(sql: string, ...values: SqlValue[]): unknown }, nowMs: number): void {
  store.run('DELETE FROM bus WHERE at < ?', nowMs - busMessageLifeMs)
  dropJoins(store, nowMs)
  store.run(
    `DELETE FROM result WHERE seq IN (SELECT seq FROM result ORDER BY seq LIMIT ${atOnce}) AND expires < ?`,
    nowMs,
  )
  store.run('DELETE FROM slot WHERE expires <= ?', nowMs)
  for (const table of ['bucket', 'claim']) {
    store.run(`DELETE FROM ${table} WHERE key IN (SELECT key FROM ${table} WHERE expires <= ? LIMIT ${atOnce})`, nowMs)
  }
}
