/**
 * The raw ceiling: the loop a good engineer writes against plain SQLite when there is no task queue around it. Rows of
 * the same bytes and in the same order as Celeriac's messages, the same binding, the same durability, statements
 * prepared once, one statement per row, transactions of a fixed size, one index on what is ready. No parsing of what
 * is read, no promises, no leases to renew, nobody to wake up.
 */
import { type Database, openDatabase, pragmaSynchronous } from '../harness/database.ts'
import { Tally } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import type { Store } from '../sides/side.ts'
import { heldOf, type RawDrain, type RawFill } from './raw-loop.ts'

/** Insert in transactions of `batch`. */
export const fillSqlite: RawFill = async (store, { count, batch, messageBytes }) => {
  const database = await openStore(store)
  const insert = database.prepare('INSERT INTO message (queue, state, headers, body) VALUES (1, 0, ?, ?)')
  const rows = Array.from({ length: count }, (_, i) => row(i, messageBytes))

  const start = nowMs()
  for (let from = 0; from < count; from += batch) {
    database.exec('BEGIN IMMEDIATE')
    for (let i = from; i < Math.min(count, from + batch); i++) insert.run(rows[i] as [string, string])
    database.exec('COMMIT')
  }
  const perSecond = (count / (nowMs() - start)) * 1_000

  const held = database.prepare('SELECT count(*) AS held FROM message').all<{ held: number }>([])[0]?.held ?? 0
  database.close()
  return { perSecond, exactness: heldOf(count, held) }
}

/** Claim `batch` rows in one transaction, delete them in the next, until nothing is ready. */
export const drainSqlite: RawDrain = async (store, { count, batch }) => {
  const database = await openStore(store)
  const select = database.prepare(
    'SELECT id, headers, body FROM message WHERE queue = 1 AND state = 0 ORDER BY id LIMIT ?',
  )
  const update = database.prepare('UPDATE message SET state = 1, lease_until = ?, owner = 1 WHERE id = ?')
  const remove = database.prepare('DELETE FROM message WHERE id = ?')
  const tally = new Tally(count)

  const start = nowMs()
  const cpuAtStart = process.cpuUsage()
  for (;;) {
    database.exec('BEGIN IMMEDIATE')
    const claimed = select.all<{ id: number; headers: string; body: string }>([batch])
    const leaseUntil = Date.now() + 30_000
    for (const { id } of claimed) update.run([leaseUntil, id])
    database.exec('COMMIT')
    if (claimed.length === 0) break

    database.exec('BEGIN IMMEDIATE')
    for (const { id } of claimed) {
      remove.run([id])
      tally.add(id - 1)
    }
    database.exec('COMMIT')
  }
  const seconds = (nowMs() - start) / 1_000
  const { user, system } = process.cpuUsage(cpuAtStart)
  database.close()
  return { perSecond: count / seconds, cpuUsPerTask: (user + system) / count, exactness: tally.exactness() }
}

async function openStore({ url, durability }: Store): Promise<Database> {
  const database = await openDatabase(url.replace(/^sqlite:\/\//, ''))
  database.exec(`
    PRAGMA journal_mode = WAL;
    PRAGMA synchronous = ${pragmaSynchronous[durability]};
    CREATE TABLE IF NOT EXISTS message (
      id INTEGER PRIMARY KEY,
      queue INTEGER NOT NULL,
      state INTEGER NOT NULL,
      lease_until INTEGER,
      owner INTEGER,
      headers TEXT NOT NULL,
      body TEXT NOT NULL
    );
    CREATE INDEX IF NOT EXISTS message_ready ON message (queue, id) WHERE state = 0;
  `)
  return database
}

/** Headers and body of `bytes` together, each row's own text. A body is about 160 of them: see `harness/payload.ts`. */
function row(i: number, bytes: number): [string, string] {
  const body = `[[{"i":${i},"at":0,"text":"${'parcel '.repeat(8)}"}],{},{"callbacks":null,"errbacks":null}]`.padEnd(160)
  const headers = `{"id":"${String(i).padStart(12, '0')}","rest":"`.padEnd(Math.max(20, bytes - body.length - 2), 'x')
  return [`${headers}"}`, body]
}
