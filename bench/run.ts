/**
 * The benchmark: `npm run bench -- --help`. Measures Celeriac on a broker beside the plain loop over the same store and
 * beside its peers, in one run on one machine, each in fresh processes on emptied stores, taking turns, and prints a line
 * of JSON per figure, a table, and the bars.
 *
 * Exit code: 0 when everything ran and was exact (whatever the bars say), 1 when not, 2 for a wrong command line.
 */
import { existsSync } from 'node:fs'
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { type Flags, help, readFlags, UsageError } from './flags.ts'
import { bindingName } from './harness/database.ts'
import { killChildren, runChild } from './harness/processes.ts'
import { missing, Servers } from './harness/servers.ts'
import { profileDrain } from './profile.ts'
import { judge } from './report/bars.ts'
import { summarize } from './report/collector.ts'
import type { Measurement } from './report/measurement.ts'
import { surroundings } from './report/surroundings.ts'
import { barsTable, figuresTable } from './report/table.ts'
import { type Bench, rawOf, withStore } from './scenarios/bench.ts'
import { scenarios, scenariosOf } from './scenarios/index.ts'
import type { BrokerName, SideName } from './sides/side.ts'
import { packageOf, sidesOf } from './sides/traits.ts'

/** A raw message's bytes when Celeriac takes no part and cannot be asked: its messages' usual size. */
const usualMessageBytes = 900

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
  const servers = new Servers()
  const cleanUp = async (): Promise<void> => {
    killChildren()
    await servers.stop()
    await rm(directory, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => void cleanUp().then(() => process.exit(1)))
  try {
    if (flags.profile) return await profiled(flags, directory, servers)
    return await measured(flags, directory, servers)
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

async function measured(flags: Flags, directory: string, servers: Servers): Promise<number> {
  const measurements: Measurement[] = []
  const failures: string[] = []
  const reports: string[] = []
  for (const broker of flags.brokers) {
    const lacking = broker === 'sqlite' ? undefined : missing(broker)
    if (lacking !== undefined) {
      failures.push(`${broker}: ${lacking}`)
      continue
    }
    const bench = await prepare(flags, broker, directory, servers)
    const ofBroker = await measureBroker(bench)
    measurements.push(...ofBroker)
    failures.push(...bench.failures)
    reports.push(report(bench, ofBroker))
  }

  const lines = measurements.map((measurement) => `${JSON.stringify(measurement)}\n`).join('')
  if (flags.json === undefined) process.stdout.write(lines)
  else await writeFile(flags.json, lines)

  for (const text of reports) console.log(text)
  if (flags.quick) console.log('A quick run: it shows that everything works, its figures are no measurements.')
  for (const failure of failures) console.log(`FAILED  ${failure}`)
  return failures.length > 0 || measurements.some(({ exact }) => !exact) ? 1 : 0
}

async function measureBroker(bench: Bench): Promise<Measurement[]> {
  const { flags, broker, samples, failures } = bench
  for (const name of flags.scenarios.filter((asked) => scenariosOf[broker].includes(asked))) {
    bench.log(`--- ${broker}: ${name}`)
    try {
      await scenarios[name](bench)
    } catch (error) {
      failures.push(`${broker} ${name}: ${(error as Error).message}`)
      bench.log(`FAILED  ${name}: ${(error as Error).message}`)
    }
  }
  return summarize(samples, await surroundings(bench))
}

function report({ flags, broker, messageBytes }: Bench, measurements: readonly Measurement[]): string {
  const rounds = `Node ${process.versions.node}, median of ${flags.rounds} rounds.`
  const settings = rawOf[broker].settings.map(({ variant }) => variant).join(' and ')
  const judged = broker !== 'sqlite' || flags.durability === 'group'
  return [
    '',
    `${promises[broker]({ flags })} ${rounds}`,
    `Raw ceiling: ${rawLoops[broker]}, the better of ${settings}, ${messageBytes} bytes a message.`,
    '',
    figuresTable(measurements, broker),
    '',
    judged ? `${barsTable(judge(measurements, broker))}\n` : 'The bars are for durability group.\n',
  ].join('\n')
}

const promises: Readonly<Record<BrokerName, (bench: Pick<Bench, 'flags'>) => string>> = {
  sqlite: ({ flags }) =>
    `SQLite: durability ${flags.durability}, ${bindingName}; BullMQ on a Redis that saves nothing.`,
  redis: () => 'Redis: all sides on the same server, which saves nothing.',
  amqp: () =>
    'RabbitMQ: all messages persistent; publishing confirmed for Celeriac and raw, unconfirmed for the peers.',
}

const rawLoops: Readonly<Record<BrokerName, string>> = {
  sqlite: 'one statement per row, so many rows a transaction (tx)',
  redis: 'one script call acknowledges and fetches a batch, batch × calls in flight',
  amqp: 'one acknowledgement for a batch, batch × batches in flight; 500 publishes in flight',
}

async function profiled(flags: Flags, directory: string, servers: Servers): Promise<number> {
  for (const broker of flags.brokers) {
    const bench = await prepare(flags, broker, directory, servers)
    console.log(`==== ${broker}\n${await profileDrain(bench)}`)
  }
  return 0
}

async function prepare(flags: Flags, broker: BrokerName, directory: string, servers: Servers): Promise<Bench> {
  const measuresCeleriac = flags.profile || flags.sides.includes('celeriac')
  if (measuresCeleriac && !existsSync(new URL('../dist/index.js', import.meta.url))) {
    throw new UsageError('Celeriac is not built: run `npm run build` in the root of the repository first')
  }
  const peers = flags.profile ? [] : sidesOf[broker].filter((side) => side !== 'celeriac' && takesPart(flags, side))
  const bench: Bench = {
    flags,
    broker,
    sides: [...(measuresCeleriac ? ['celeriac' as const] : []), ...peers],
    measuresRaw: flags.sides.includes('raw'),
    messageBytes: usualMessageBytes,
    servers,
    directory,
    samples: [],
    failures: [],
    log: (text) => console.error(`${(performance.now() / 1_000).toFixed(0).padStart(4)} s  ${text}`),
  }
  if (!measuresCeleriac) return bench
  let messageBytes = usualMessageBytes
  await withStore(bench, 'celeriac', async (store) => {
    messageBytes = await runChild({ role: 'messageBytes', side: 'celeriac', store, params: {} }, { deadlineMs: 20_000 })
  })
  return { ...bench, messageBytes }
}

/** Whether a peer is asked for and all there; what is missing is said. */
function takesPart(flags: Flags, side: SideName): boolean {
  if (!flags.sides.includes(side)) return false
  const name = packageOf[side]
  const lacking =
    name === undefined
      ? missing('celery')
      : existsSync(new URL(`node_modules/${name}`, import.meta.url))
        ? side === 'bullmq'
          ? missing('redis')
          : undefined
        : 'it is not installed in bench/ (npm ci there)'
  if (lacking !== undefined) console.error(`NO ${side}: ${lacking}, so its figures and ratios are missing.`)
  return lacking === undefined
}

try {
  process.exitCode = await main(process.argv.slice(2))
} catch (error) {
  console.error(error instanceof UsageError ? error.message : error)
  process.exitCode = error instanceof UsageError ? 2 : 1
}
