/** `celeriac migrate`: moves what waits from one broker to another. */
import { existsSync, realpathSync } from 'node:fs'
import type { Command } from 'commander'
import type { Broker, QueueInfo } from '../broker/broker.ts'
import { sleep, systemClock } from '../clock.ts'
import { connect } from '../connect.ts'
import { type Duration, toMs } from '../duration.ts'
import { stderrLogger } from '../logger.ts'
import { redacted } from '../redacted.ts'
import { Migration } from '../send/migration.ts'
import type { QueueReport } from '../send/migration-report.ts'
import { confirm } from './confirm.ts'
import { fileOf, refuseMemory, refuseMissing, waitFor } from './connection.ts'
import { exitCodes, wantsJson } from './failure.ts'
import { isSpent, planOf, refusePaused } from './migrate-plan.ts'
import { count, type Progress, progressOn } from './migrate-progress.ts'
import { isThrough, tellPlan, tellSummary } from './migrate-report.ts'
import { note } from './output.ts'
import { onSignals } from './signals.ts'
import { duration, list, UsageError } from './values.ts'

interface MigrateFlags {
  readonly from: string
  readonly to: string
  readonly queue?: readonly string[]
  readonly lease?: Duration
  readonly dryRun?: true
  readonly json?: true
  readonly yes?: true
}

/** A server that restarts is waited for; the source's messages are safe on loan meanwhile. */
const publishTimeoutMs = 30_000
/** Leases on source and target begin and lapse nearly together: so much apart at most, in ms. */
const lapseGraceMs = 5_000
const replanMs = 200

export function addMigrateCommand(program: Command): void {
  program
    .command('migrate')
    .summary('move what waits to another broker')
    .description('Moves what waits in queues to another broker: messages, delayed ones, dead letters.')
    .requiredOption('--from <url>', 'the broker that has the messages')
    .requiredOption('--to <url>', 'the broker that is to have them')
    .option('--queue <name>', 'this queue and its dead letters; may be repeated (default: all)', manyNames)
    .option('--lease <time>', 'how long what a killed run held stays away (default: 10s)', duration)
    .option('--dry-run', 'only tell what would be moved')
    .option('--yes', 'do not ask, even if workers serve the queues')
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
It may be stopped, or killed, at any moment: run the same command again and it goes
on. Nothing is lost and nothing doubled. Priorities, order and the rest of each delay
are kept. What workers are running stays with them; results are not moved.

Exit codes: 0 all that waited was moved, 1 something is left, 2 it was used wrongly.

Examples:
  celeriac migrate --from sqlite://tasks.db --to redis://localhost --dry-run
  celeriac migrate --from sqlite://tasks.db --to redis://localhost
  celeriac migrate --from redis://localhost --to amqp://localhost --queue picking`,
    )
    .action(migrate)
}

function manyNames(text: string, before: readonly string[] = []): readonly string[] {
  return [...before, ...list(text)]
}

async function migrate(flags: MigrateFlags): Promise<void> {
  const { from, to, queue: names, lease = '10s', dryRun = false, json = false, yes = false } = flags
  if (addressOf(from) === addressOf(to)) throw new UsageError('--from and --to are the same broker')
  for (const url of [from, to]) refuseMemory(url)
  refuseMissing(from)
  const source = await open(from)
  if (dryRun) {
    const plan = await planOf(source, names)
    // A file that is not there yet would be made by opening it.
    const file = fileOf(to)
    if (file === undefined || existsSync(file)) await (await open(to)).close()
    tellPlan(redacted(from), redacted(to), plan, json)
    return source.close()
  }
  const target = await open(to)
  const startMs = performance.now()
  const stop = stopOnSignals()
  const migration = new Migration({ source, target, sourceName: addressOf(from), leaseMs: toMs(lease, 'lease') })
  const plan = await agreedPlan(migration, source, names, yes)
  if (plan !== undefined) {
    const toRun = plan.filter(
      (info) => names !== undefined || migration.owes(info.queue) || !isSpent(info, source.capabilities),
    )
    const queues = await runAll(migration, toRun, stop, progressOn(process.stderr, json))
    const tookMs = performance.now() - startMs
    const summary = { from: redacted(from), to: redacted(to), queues, isStopped: stop.aborted, tookMs }
    tellSummary(summary, json)
    if (!isThrough(summary)) process.exitCode = exitCodes.failed
  }
  await migration.close()
  await target.close()
  await source.close()
}

async function open(url: string): Promise<Broker> {
  const settings = { durability: 'group', resultExpiresMs: Number.POSITIVE_INFINITY, publishTimeoutMs } as const
  const { broker } = await connect(url, { ...settings, logger: stderrLogger, clock: systemClock })
  await waitFor(url, broker.open())
  return broker
}

/** The first signal ends the run after the batch under way; the second at once, which costs no more than a wait. */
function stopOnSignals(): AbortSignal {
  const stop = new AbortController()
  const end = (): never => process.exit(exitCodes.failed)
  onSignals({ stages: [() => stop.abort(), end] })
  stop.signal.addEventListener('abort', () => note('\nstopping after the batch under way'))
  return stop.signal
}

/** The plan, or undefined if it was declined. */
async function agreedPlan(
  migration: Migration,
  source: Broker,
  names: readonly string[] | undefined,
  isYes: boolean,
): Promise<readonly QueueInfo[] | undefined> {
  try {
    const plan = await takePlan(migration, source, names)
    return (await mayShare(plan, isYes)) ? plan : undefined
  } catch (error) {
    await migration.close() // Nothing was fetched yet: the next try need not wait for our lease.
    throw error
  }
}

/** Opens the migration and plans it. Leases of a run that was killed lapse first, or it would count as a worker. */
async function takePlan(
  migration: Migration,
  source: Broker,
  names: readonly string[] | undefined,
): Promise<readonly QueueInfo[]> {
  let isTold = false
  const isResumed = await migration.open(() => {
    if (!isTold) note('waiting until the lease of an earlier run is over …')
    isTold = true
  })
  const deadlineMs = performance.now() + lapseGraceMs
  for (;;) {
    const plan = await planOf(source, names)
    const isServed = plan.some(({ consumers }) => consumers > 0)
    if (isServed && isResumed && performance.now() < deadlineMs) {
      await sleep(systemClock, replanMs)
      continue
    }
    refusePaused(plan)
    return plan
  }
}

/** Whether to go on although workers of the source fetch from the same queues. */
function mayShare(plan: readonly QueueInfo[], isYes: boolean): Promise<boolean> {
  const served = plan.filter(({ consumers }) => consumers > 0).map(({ queue }) => `'${queue}'`)
  if (served.length === 0) return Promise.resolve(true)
  return confirm(
    `Workers of the source still serve ${served.join(', ')}. Go on without stopping them?`,
    isYes,
    'They keep what they fetch, and if this migration is killed they may run what was moved already',
  )
}

async function runAll(
  migration: Migration,
  plan: readonly QueueInfo[],
  signal: AbortSignal,
  progress: Progress,
): Promise<QueueReport[]> {
  const reports: QueueReport[] = []
  for (const { queue, ready, delayed } of plan) {
    if (signal.aborted) break
    progress.begin(queue, ready + delayed)
    let isTold = false
    const onLent = (lent: number): void => {
      if (!isTold) note(`${queue}: waiting for ${count(lent)} on loan: what a killed run held comes back`)
      isTold = true
    }
    try {
      reports.push(await migration.run(queue, { signal, onProgress: (moved) => progress.update(moved), onLent }))
    } catch (error) {
      progress.end()
      if (!wantsJson()) note('the migration was broken off; nothing is lost: run the same command again and it goes on')
      throw error
    }
    progress.end()
  }
  return reports
}

/** What one broker is known by in every run: without user and password, a file by its real path. */
function addressOf(url: string): string {
  const file = fileOf(url)
  if (file !== undefined) return `sqlite://${existsSync(file) ? realpathSync(file) : file}`
  return url.replace(/^([a-z][a-z0-9+.-]*:\/\/)[^/@]*@/i, '$1')
}
