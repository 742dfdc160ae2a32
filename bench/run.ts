/**
 * The benchmark: `npm run bench -- --help`. Measures Celeriac, plain SQLite and BullMQ in one run on one machine, each
 * in fresh processes on emptied stores, taking turns, and prints a line of JSON per figure, a table, and the bars.
 *
 * Exit code: 0 when everything ran and was exact (whatever the bars say), 1 when not, 2 for a wrong command line.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Flags, help, readFlags, type ScenarioName, UsageError } from './flags.ts'
import { bindingName, openDatabase, pragmaSynchronous } from './harness/database.ts'
import { killChildren, runChild } from './harness/processes.ts'
import { type RedisServer, startRedisServer } from './harness/redis-server.ts'
import { profileDrain } from './profile.ts'
import { judge } from './report/bars.ts'
import { type Surroundings, summarize } from './report/collector.ts'
import { barsTable, figuresTable } from './report/table.ts'
import { backlog } from './scenarios/backlog.ts'
import { type Bench, type Scenario, withStore } from './scenarios/bench.ts'
import { chain } from './scenarios/chain.ts'
import { delayed } from './scenarios/delayed.ts'
import { drain } from './scenarios/drain.ts'
import { enqueue } from './scenarios/enqueue.ts'
import { latency } from './scenarios/latency.ts'
import { memory } from './scenarios/memory.ts'

const scenarios: Record<ScenarioName, Scenario> = { enqueue, drain, latency, chain, delayed, backlog, memory }

/** A raw row's bytes when Celeriac takes no part and cannot be asked: its messages' usual size. */
const usualRowBytes = 900

const results = fileURLToPath(new URL('results/', import.meta.url))

async function main(args: readonly string[]): Promise<number> {
  const flags = readFlags(args)
  if (flags === undefined) {
    console.log(help)
    return 0
  }
  await removeLeftovers()
  const directory = join(results, `run-${process.pid}`)
  await mkdir(directory, { recursive: true })
  let redis: RedisServer | undefined
  const cleanUp = async (): Promise<void> => {
    killChildren()
    await redis?.stop()
    await rm(directory, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().then(() => process.exit(1)))
  try {
    redis = await redisIfWanted(flags, directory)
    const bench = await prepare(flags, directory, redis)
    return flags.profile ? await profiled(bench) : await measured(bench)
  } finally {
    await cleanUp()
  }
}

/** Stores of runs that were killed: a backlog of two million is gigabytes. */
async function removeLeftovers(): Promise<void> {
  for (const name of existsSync(results) ? await readdir(results) : []) {
    const pid = /^run-(\d+)$/.exec(name)?.[1]
    if (pid !== undefined && !isRunning(Number(pid))) await rm(join(results, name), { recursive: true, force: true })
  }
}

function isRunning(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

async function measured(bench: Bench): Promise<number> {
  const { flags, samples, failures } = bench
  for (const name of flags.scenarios) {
    bench.log(`--- ${name}`)
    try {
      await scenarios[name](bench)
    } catch (error) {
      failures.push(`${name}: ${(error as Error).message}`)
      bench.log(`FAILED  ${name}: ${(error as Error).message}`)
    }
  }

  const measurements = summarize(samples, await surroundings(bench))
  const lines = measurements.map((measurement) => `${JSON.stringify(measurement)}\n`).join('')
  if (flags.json === undefined) process.stdout.write(lines)
  else await writeFile(flags.json, lines)

  console.log(
    `\nDurability ${flags.durability}, Node ${process.versions.node}, ${bindingName}, median of ${flags.rounds} rounds.`,
  )
  console.log(
    `Raw ceiling: one statement per row, the better of 50 and 200 rows a transaction, ${bench.rowBytes} bytes a row.`,
  )
  console.log(`\n${figuresTable(measurements)}\n`)
  if (flags.durability === 'group') console.log(`${barsTable(judge(measurements))}\n`)
  else console.log('The bars are for durability group.\n')
  if (flags.quick) console.log('A quick run: it shows that everything works, its figures are no measurements.')
  for (const failure of failures) console.log(`FAILED  ${failure}`)
  return failures.length > 0 || measurements.some(({ exact }) => !exact) ? 1 : 0
}

async function profiled(bench: Bench): Promise<number> {
  console.log(await profileDrain(bench))
  return 0
}

async function prepare(flags: Flags, directory: string, redis: RedisServer | undefined): Promise<Bench> {
  const measuresCeleriac = flags.profile || flags.drivers.includes('sqlite')
  if (measuresCeleriac && !existsSync(new URL('../dist/index.js', import.meta.url))) {
    throw new UsageError('Celeriac is not built: run `npm run build` in the root of the repository first')
  }
  const bench: Bench = {
    flags,
    peers: [...(measuresCeleriac ? ['celeriac' as const] : []), ...(redis === undefined ? [] : ['bullmq' as const])],
    measuresRaw: flags.drivers.includes('raw'),
    rowBytes: usualRowBytes,
    redis,
    directory,
    samples: [],
    failures: [],
    log: (text) => console.error(text),
  }
  if (!measuresCeleriac) return bench
  let rowBytes = usualRowBytes
  await withStore(bench, async (store) => {
    rowBytes = await runChild({ role: 'messageBytes', side: 'celeriac', store, params: {} }, { deadlineMs: 20_000 })
  })
  return { ...bench, rowBytes }
}

async function redisIfWanted(flags: Flags, directory: string): Promise<RedisServer | undefined> {
  if (flags.profile || !flags.drivers.includes('bullmq')) return undefined
  if (!existsSync(new URL('node_modules/bullmq', import.meta.url))) {
    console.error('NO BULLMQ: it is not installed in bench/ (npm ci there), so its figures and ratios are missing.')
    return undefined
  }
  const redis = await startRedisServer(directory)
  if (redis === undefined) {
    console.error(
      'NO REDIS: there is no redis-server on the PATH, so BullMQ is not measured and its ratios are missing.',
    )
  }
  return redis
}

async function surroundings({ flags, redis }: Bench): Promise<Surroundings> {
  const database = await openDatabase(':memory:')
  const [row] = database.prepare('SELECT sqlite_version() AS version').all<{ version: string }>([])
  database.close()
  const sqlite = `SQLite ${row?.version} (${bindingName}), WAL, synchronous ${pragmaSynchronous[flags.durability]}`
  const bullmq =
    redis === undefined
      ? 'none'
      : `BullMQ ${await versionOf('bullmq')} (ioredis ${await versionOf('ioredis')}), Redis ${redis.version}, nothing saved`
  return {
    durability: flags.durability,
    node: process.versions.node,
    stores: { celeriac: sqlite, raw: sqlite, bullmq },
  }
}

async function versionOf(name: string): Promise<string> {
  const text = await readFile(new URL(`node_modules/${name}/package.json`, import.meta.url), 'utf8')
  return (JSON.parse(text) as { version: string }).version
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
