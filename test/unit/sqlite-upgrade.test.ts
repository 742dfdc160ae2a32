import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import { afterAll, expect, it } from 'vitest'
import { SqliteBroker, SqliteStore } from '../../src/drivers/sqlite/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'celeriac-upgrade-'))

afterAll(() => rmSync(folder, { recursive: true }))

async function openBroker(path: string): Promise<SqliteBroker> {
  const broker = new SqliteBroker(new SqliteStore({ path }))
  await broker.open()
  return broker
}

/** Every table with its columns, and the indexes. */
function layout(path: string): unknown {
  const file = new Database(path)
  const rows = file
    .prepare(
      `SELECT m.type, m.name, c.name AS column, c.type AS holds, c."notnull", c.dflt_value, c.pk
       FROM sqlite_master m LEFT JOIN pragma_table_info(m.name) c ORDER BY m.name, c.cid`,
    )
    .all()
  file.close()
  return rows
}

it('a file of the first layout is brought up to date with all it holds', async () => {
  const path = join(folder, 'first.db')
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8' }
  const before = await openBroker(path)
  await before.publish([
    { queue: 'q', headers: {}, properties, body: 'ready' },
    { queue: 'q', headers: {}, properties, body: 'later', delayMs: 3_600_000 },
  ])
  await before.close()
  const file = new Database(path)
  file.exec('ALTER TABLE leased DROP COLUMN due')
  file.exec('ALTER TABLE bus DROP COLUMN headers')
  for (const column of ['joined', 'added', 'failed']) file.exec(`ALTER TABLE join_state DROP COLUMN ${column}`)
  for (const table of ['bucket', 'slot', 'claim', 'task_group', 'schedule', 'schedule_change'])
    file.exec(`DROP TABLE ${table}`)
  file.exec('PRAGMA user_version = 1')
  file.close()

  const broker = await openBroker(path)
  const plain = await (await broker.consume(['q'])).fetch(10)
  const delayed = await (await broker.consume(['q'], { delayed: true })).fetch(10)
  await Promise.all([...plain, ...delayed].map((delivery) => delivery.release()))

  expect([plain, delayed].map((found) => found.map(({ message }) => message.body))).toEqual([['ready'], ['later']])
  expect(await broker.depth('q')).toEqual({ ready: 1, delayed: 1, inFlight: 0 })
  await broker.close()
  await (await openBroker(join(folder, 'new.db'))).close()
  expect(layout(path)).toEqual(layout(join(folder, 'new.db')))
})
