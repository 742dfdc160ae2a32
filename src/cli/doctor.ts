/** `celeriac doctor`: looks for what is wrong, or will be, and says what to do about it. */
import { accessSync, constants, existsSync, statSync } from 'node:fs'
import { statfs } from 'node:fs/promises'
import { dirname } from 'node:path'
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { QueueInfo } from '../broker/broker.ts'
import type { AppConfig } from '../config.ts'
import { type Duration, shortTime, toMs } from '../duration.ts'
import { redacted } from '../redacted.ts'
import { deadSuffix } from '../send/dead-letters.ts'
import { markerQueue } from '../send/migration-ledger.ts'
import { packageVersion } from '../version.ts'
import { addConnectionFlags, type ConnectionFlags, fileOf, findApp, openApp } from './connection.ts'
import { aboutChords } from './doctor-chords.ts'
import { asCeleriacError, exitCodes, messageOf } from './failure.ts'
import { error, type Finding, ok, warn } from './finding.ts'
import { plural, print, printJson, wrap } from './output.ts'
import { columnsOf, painter } from './terminal.ts'
import { duration, UsageError } from './values.ts'

interface DoctorFlags extends ConnectionFlags {
  readonly json?: true
  readonly management?: string
  readonly live?: true
  readonly for?: Duration
}

const lowDisk = { warnBytes: 1024 ** 3, errorBytes: 100 * 1024 ** 2 }
/** A message that has waited this long although somebody serves its queue. */
const longWaitMs = 5 * 60_000

export function addDoctorCommand(program: Command): void {
  const command = program
    .command('doctor')
    .summary('look for what is wrong, and say what to do')
    .description(
      'Looks at Node, the broker and how it is set up, the clocks, the disk, the queues, the dead letters and the chords. Exit code 1 on an error.',
    )
  addConnectionFlags(command)
    .option('--management <url>', "RabbitMQ's management API (default: port 15672 of the broker's host)")
    .option('--live', 'watch the fleet for a moment, too: what the SOS page of the monitor tells')
    .option('--for <time>', 'with --live: how long (default: 10s)', duration)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      '\nExamples:\n  celeriac doctor -A app.ts\n  celeriac doctor -b sqlite://tasks.db --json\n  celeriac doctor -A app.ts --live',
    )
    .action(doctor)
}

async function doctor(flags: DoctorFlags): Promise<void> {
  const app = await findApp(flags)
  const findings = [aboutNode(), ...(await aboutStorage(app)), ...(flags.app === undefined ? [] : aboutApp(app))]
  const file = fileOf(app.config.broker)
  if (file === undefined || existsSync(file)) {
    const broker = await aboutBroker(app, flags.live ? toMs(flags.for ?? '10s', 'for') : undefined)
    const isUp = broker.every(({ level, about }) => about !== 'broker' || level === 'ok')
    findings.push(...broker, ...(await aboutServers(app, isUp, flags.management)))
  }
  const count = (level: Finding['level']): number => findings.filter((finding) => finding.level === level).length
  if (count('error') > 0) process.exitCode = exitCodes.failed
  if (flags.json) return printJson({ ok: count('error') === 0, findings })
  print(findings.map(describe).join('\n'))
  const sum = [
    count('error') > 0 ? plural(count('error'), 'error') : undefined,
    count('warn') > 0 ? plural(count('warn'), 'warning') : undefined,
  ].filter((text) => text !== undefined)
  print(`\n${sum.length === 0 ? 'all is well' : sum.join(', ')}`)
}

const levelColours = { ok: 'green', warn: 'yellow', error: 'red' } as const
const aboutWidth = 14

function describe({ level, about, message, advice }: Finding): string {
  const paint = painter(process.stdout)
  const indent = 7 + aboutWidth
  const wrapped = (text: string): string => wrap(text, columnsOf(process.stdout), indent)
  const head = `${paint(levelColours[level], level.padEnd(5))}  ${about.padEnd(aboutWidth)}${wrapped(message)}`
  return advice === null ? head : `${head}\n${' '.repeat(indent)}${paint('dim', wrapped(`→ ${advice}`))}`
}

function aboutNode(): Finding {
  const message = `Node ${process.versions.node}, celeriac ${packageVersion()}`
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > 20 || (major === 20 && minor >= 19)) return ok('node', message)
  return { level: 'error', about: 'node', message, advice: 'install Node 20.19 or newer' }
}

/** The file and the disk behind a broker that has them. */
async function aboutStorage({ config }: Celeriac): Promise<Finding[]> {
  const file = fileOf(config.broker)
  if (file === undefined) return []
  const { describeBinding } = await import('../drivers/sqlite/binding.ts')
  const { name, sqliteVersion } = describeBinding()
  return [ok('sqlite', `SQLite ${sqliteVersion} by ${name}`), aboutFile(file), ...(await aboutDisk(dirname(file)))]
}

function aboutFile(file: string): Finding {
  const folder = dirname(file)
  if (!existsSync(folder)) {
    return {
      level: 'error',
      about: 'file',
      message: `the folder ${folder} does not exist`,
      advice: 'create it, or correct the path',
    }
  }
  const closed = [folder, ...(existsSync(file) ? [file] : [])].find((path) => !isWritable(path))
  if (closed !== undefined) {
    const advice = 'SQLite writes the file and others beside it: let this user write both'
    return { level: 'error', about: 'file', message: `${closed} may not be written`, advice }
  }
  if (existsSync(file)) return ok('file', `${file}, ${megabytes(statSync(file).size)}`)
  const advice = 'if there should be one, start from the folder that a relative path is meant from'
  return { level: 'warn', about: 'file', message: `${file} does not exist yet; first use makes it`, advice }
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.R_OK | constants.W_OK)
    return true
  } catch {
    return false
  }
}

/** Magic numbers of statfs(2) for file systems over the network, where SQLite's write-ahead log does not work. */
const networkFileSystems = new Map([
  [0x6969, 'NFS'],
  [0xff534d42, 'CIFS'],
  [0xfe534d42, 'SMB'],
])

async function aboutDisk(folder: string): Promise<Finding[]> {
  if (!existsSync(folder)) return []
  const { bavail, bsize, type } = await statfs(folder)
  const free = bavail * bsize
  const message = `${megabytes(free)} free in ${folder}`
  const advice = 'make room: when the disk is full, no task is accepted'
  const level = free < lowDisk.errorBytes ? 'error' : free < lowDisk.warnBytes ? 'warn' : 'ok'
  const network = networkFileSystems.get(type >>> 0)
  const findings: Finding[] = [{ level, about: 'disk', message, advice: level === 'ok' ? null : advice }]
  if (network !== undefined) {
    findings.push({
      level: 'error',
      about: 'disk',
      message: `${folder} is on ${network}, where SQLite cannot share a file safely`,
      advice: 'put the file on a local disk',
    })
  }
  return findings
}

function aboutApp(app: Celeriac): Finding[] {
  const { durability, results, broker } = app.config
  const tasks = app.registry.names()
  const survives = { full: 'a loss of power', group: 'the death of any process', relaxed: 'the death of any process' }
  const held = `'${durability}': what was accepted survives ${survives[durability]}`
  return [
    tasks.length > 0
      ? ok('app', `'${app.name}' with ${plural(tasks.length, 'task')}`)
      : {
          level: 'warn',
          about: 'app',
          message: `'${app.name}' defines no tasks`,
          advice: 'import the modules that define them',
        },
    durability === 'relaxed'
      ? {
          level: 'warn',
          about: 'durability',
          message: held,
          advice: "a loss of power may damage the file; 'group' is safe",
        }
      : ok('durability', held),
    ok('results', results === undefined ? 'none are kept' : results === broker ? 'with the broker' : redacted(results)),
  ]
}

/** @param watchMs how long the fleet is watched; undefined = it is not */
async function aboutBroker(app: Celeriac, watchMs: number | undefined): Promise<Finding[]> {
  const since = performance.now()
  try {
    await openApp(app)
  } catch (error) {
    return [{ level: 'error', about: 'broker', message: messageOf(error), advice: adviceFor(error) }]
  }
  try {
    const queues = await app.broker.queues()
    const opened = `${redacted(app.config.broker)} opens, in ${shortTime(performance.now() - since)}`
    const chords = app.results?.joins === true ? aboutChords(await app.waitingJoins()) : []
    const fleet = watchMs === undefined ? [] : await (await import('./doctor-live.ts')).aboutFleet(app, watchMs)
    return [ok('broker', opened), ...aboutQueues(queues), ...chords, ...fleet]
  } finally {
    await app.close()
  }
}

/** Settings of the servers behind broker and results that a task queue has to care for. */
async function aboutServers(
  { config }: Celeriac,
  isBrokerUp: boolean,
  management: string | undefined,
): Promise<Finding[]> {
  const { broker, results } = config
  const urls = [...(isBrokerUp ? [broker] : []), ...(results === undefined || results === broker ? [] : [results])]
  const findings: Finding[] = []
  for (const url of urls) {
    try {
      findings.push(...(await aboutServer(url, config, management)))
    } catch (failure) {
      if (failure instanceof UsageError) throw failure
      findings.push(error(url === broker ? 'broker' : 'results', messageOf(failure), adviceFor(failure)))
    }
  }
  return findings
}

async function aboutServer(url: string, config: AppConfig, management: string | undefined): Promise<Finding[]> {
  if (/^(rediss?|redis\+socket|rediss?\+cluster|sentinel):/i.test(url)) {
    const { aboutRedis, readRedis } = await import('./doctor-redis.ts')
    return aboutRedis(await readRedis(url, config))
  }
  if (/^amqps?:/i.test(url)) {
    const { aboutRabbitmq, readRabbitmq } = await import('./doctor-rabbitmq.ts')
    return aboutRabbitmq(await readRabbitmq(url, config, management))
  }
  return []
}

function adviceFor(error: unknown): string {
  switch (asCeleriacError(error)?.code) {
    case 'STORAGE_BUSY':
      return 'look for an open database shell, a backup or a long transaction on the file'
    case 'STORAGE_CORRUPT':
      return 'name the right file, or restore a backup; celeriac does not overwrite it'
    case 'BROKER_UNKNOWN_SCHEME':
      return 'correct the URL; a bare path means SQLite'
    default:
      return 'see that the server runs, or that the folder of the file exists and may be written'
  }
}

/** What stands still, and why. */
export function aboutQueues(queues: readonly QueueInfo[]): Finding[] {
  const live = queues.filter(({ queue }) => !queue.endsWith(deadSuffix) && queue !== markerQueue)
  const halves = queues.filter(({ queue, ready, consumers }) => queue === markerQueue && ready > 0 && consumers === 0)
  const dead = queues.filter(({ queue, ready }) => queue.endsWith(deadSuffix) && ready > 0)
  const paused = live.filter((info) => info.paused)
  const orphaned = live.filter((info) => !info.paused && info.consumers === 0 && info.ready > 0)
  const slow = live.filter((info) => !info.paused && info.consumers > 0 && (info.oldestMs ?? 0) > longWaitMs)
  const findings: Finding[] = [
    ...orphaned.map((info) =>
      warn(
        'queues',
        `'${info.queue}' has ${plural(info.ready, 'message')} and no worker`,
        `start one: celeriac worker -A app.ts -Q ${info.queue}`,
      ),
    ),
    ...paused.map((info) =>
      warn(
        'queues',
        `'${info.queue}' is paused, with ${plural(info.ready, 'message')}`,
        `celeriac queue resume ${info.queue}`,
      ),
    ),
    ...slow.map((info) =>
      warn(
        'queues',
        `'${info.queue}': the oldest message has waited ${shortTime(info.oldestMs ?? 0)}`,
        'add workers, or raise their concurrency (-c)',
      ),
    ),
    ...halves.map(() =>
      warn(
        'migration',
        'a migration to this broker was ended before it was through',
        'run `celeriac migrate` again, with the same --from and --to: it goes on',
      ),
    ),
    ...dead.map((info) =>
      warn(
        'dead letters',
        `${info.ready} from '${info.queue.slice(0, -deadSuffix.length)}'`,
        `celeriac dlq list ${info.queue.slice(0, -deadSuffix.length)}`,
      ),
    ),
  ]
  if (orphaned.length + paused.length + slow.length === 0) {
    const oldestMs = Math.max(0, ...live.map((info) => info.oldestMs ?? 0))
    const waiting = live.reduce((sum, { ready }) => sum + ready, 0)
    const oldest =
      waiting === 0 ? 'none waits' : `${plural(waiting, 'message')} ready, the oldest for ${shortTime(oldestMs)}`
    findings.unshift(ok('queues', `${plural(live.length, 'queue')}; ${oldest}`))
  }
  if (dead.length === 0) findings.push(ok('dead letters', 'none'))
  return findings
}

function megabytes(bytes: number): string {
  if (bytes < 1024 ** 2) return `${Math.ceil(bytes / 1024)} KB`
  return bytes < 10 * 1024 ** 3 ? `${Math.round(bytes / 1024 ** 2)} MB` : `${Math.round(bytes / 1024 ** 3)} GB`
}
