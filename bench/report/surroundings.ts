/** Versions of everything a broker's samples were taken with, for the record. */
import { spawnSync } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { pythonWithCelery } from '../../test/servers/python.ts'
import { bindingName, openDatabase, pragmaSynchronous } from '../harness/database.ts'
import type { Bench } from '../scenarios/bench.ts'
import type { SideName } from '../sides/side.ts'
import { packageOf } from '../sides/traits.ts'
import type { Surroundings } from './collector.ts'

export async function surroundings({ flags, broker, sides, servers }: Bench): Promise<Surroundings> {
  const own = broker === 'sqlite' ? await sqlite(pragmaSynchronous[flags.durability]) : await servers.version(broker)
  const guest = broker === 'sqlite' && sides.includes('bullmq') ? await servers.version('redis') : own
  const stores: Record<string, string> = { celeriac: own, raw: own }
  for (const side of sides) if (side !== 'celeriac') stores[side] = `${await versionOf(side)}, ${guest}`
  return { durability: flags.durability, node: process.versions.node, stores }
}

async function sqlite(synchronous: string): Promise<string> {
  const database = await openDatabase(':memory:')
  const [row] = database.prepare('SELECT sqlite_version() AS version').all<{ version: string }>([])
  database.close()
  return `SQLite ${row?.version} (${bindingName}), WAL, synchronous ${synchronous}`
}

async function versionOf(side: SideName): Promise<string> {
  const name = packageOf[side]
  if (name === undefined) {
    const ask = ['-c', 'import celery; print(celery.__version__)']
    return `celery ${spawnSync(pythonWithCelery() ?? '', ask, { encoding: 'utf8' }).stdout.trim()}`
  }
  const text = await readFile(new URL(`../node_modules/${name}/package.json`, import.meta.url), 'utf8')
  return `${name} ${(JSON.parse(text) as { version: string }).version}`
}
