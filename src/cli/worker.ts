/** `celeriac worker`: runs an application's tasks until it is told to stop. */
import { hostname } from 'node:os'
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { WorkerOptions } from '../config.ts'
import type { Duration, Size } from '../duration.ts'
import type { Logger } from '../logger.ts'
import { nearest } from '../nearest.ts'
import { type Optimization, optimizations, type PoolKind } from '../pool-kinds.ts'
import { packageVersion } from '../version.ts'
import type { Worker } from '../work/worker.ts'
import { openApp } from './connection.ts'
import type { LogFormat } from './logging.ts'
import { plural, shortTime } from './output.ts'
import { onSignals } from './signals.ts'
import { painter } from './terminal.ts'
import { duration, type LogLevel, list, logLevel, oneOf, pool, size, wholeNumber } from './values.ts'

interface WorkerFlags {
  readonly app: string
  readonly queues?: string[]
  readonly pool?: PoolKind
  readonly concurrency?: number
  readonly optimization?: Optimization
  readonly maxTasksPerChild?: number
  readonly maxMemoryPerChild?: Size
  readonly hostname?: string
  readonly loglevel?: LogLevel
  readonly logFormat?: LogFormat
  readonly prefetch?: number
  readonly lease?: Duration
  readonly shutdownTimeout?: Duration
}

export function addWorkerCommand(program: Command): void {
  program
    .command('worker')
    .summary("run an app's tasks")
    .description("Runs an app's tasks until it is told to stop.")
    .requiredOption('-A, --app <file>', 'the module that exports the app, TypeScript or JavaScript')
    .option('-Q, --queues <names>', "queues to serve, with commas between (default: all of the app's)", list)
    .option('-P, --pool <kind>', 'async, processes, threads or solo (default: async)', pool)
    .option('-c, --concurrency <n>', 'tasks running at once (default: 100; for children one each core)', wholeNumber(1))
    .option('-O, --optimization <kind>', 'fair or throughput (default: fair)', oneOf<Optimization>(optimizations))
    .option('--max-tasks-per-child <n>', 'tasks after which a child is replaced (default: never)', wholeNumber(1))
    .option('--max-memory-per-child <size>', 'size at which a child is replaced, as in 200MB (default: never)', size)
    .option('-n, --hostname <name>', 'node name; %h is the host (default: celeriac-PID@%h)')
    .option('-l, --loglevel <level>', 'debug, info, warn or error (default: info)', logLevel)
    .option('--log-format <format>', 'pretty or json (default: pretty)', oneOf<LogFormat>(['pretty', 'json']))
    .option('--prefetch <n>', 'messages at hand, running ones included (default: adapts)', wholeNumber(1))
    .option('--lease <time>', "how long a dead worker's tasks stay away (default: the app's, 30s)", duration)
    .option('--shutdown-timeout <time>', 'how long a stop waits for running tasks (default: 30s)', duration)
    .addHelpText(
      'after',
      `
Stopping: the first Ctrl-C or SIGTERM takes no more tasks and lets the running
ones end; the second aborts them, and they go back to their queue without losing
a retry; the third exits at once, and they come back when their lease lapses.

Examples:
  celeriac worker -A app.ts
  celeriac worker -A app.ts -Q picking,packing -c 10 -n picker@%h
  celeriac worker -A app.ts -l warn --log-format json

-l info logs every task; -l warn only what goes wrong, and is faster.`,
    )
    .action(runWorker)
}

async function runWorker(flags: WorkerFlags): Promise<void> {
  const format = flags.logFormat ?? 'pretty'
  const level = flags.loglevel ?? 'info'
  const [{ loadApp }, { createLogger }, { banner }] = await Promise.all([
    import('../load-app.ts'),
    import('./logging.ts'),
    import('./banner.ts'),
  ])
  const [app, cliLogger] = await Promise.all([loadApp(flags.app), createLogger(format, level)])
  // An app that brings a logger of its own keeps it, unless the flags ask for something.
  const isAsked = flags.logFormat !== undefined || flags.loglevel !== undefined
  const logger = app.config.hasOwnLogger && !isAsked ? app.config.logger : cliLogger
  await openApp(app)
  const worker = await app.worker(workerOptions(flags, logger))
  // Nothing is awaited from here to "ready", so the first task's line comes after it.
  if (format === 'pretty') process.stderr.write(banner(app, worker, packageVersion(), painter(process.stderr)))
  warnOfStrangeQueues(app, worker, cliLogger)
  const stopped = new Promise<void>((resolve, reject) => {
    stopInStages(app, worker, cliLogger, () => app.close().then(resolve, reject))
  })
  cliLogger.info({ worker: worker.name, queues: worker.settings.queues }, 'ready')
  await stopped
  cliLogger.info({ worker: worker.name, processed: worker.health().processed }, 'stopped')
}

function workerOptions(flags: WorkerFlags, logger: Logger): WorkerOptions {
  const { queues, concurrency, optimization, hostname: name, prefetch, lease, shutdownTimeout } = flags
  const { maxTasksPerChild, maxMemoryPerChild } = flags
  return {
    logger,
    module: flags.app,
    ...(flags.pool !== undefined && { pool: flags.pool }),
    ...(optimization !== undefined && { optimization }),
    ...(maxTasksPerChild !== undefined && { maxTasksPerChild }),
    ...(maxMemoryPerChild !== undefined && { maxMemoryPerChild }),
    ...(queues !== undefined && { queues }),
    ...(concurrency !== undefined && { concurrency }),
    ...(name !== undefined && { name: nodeName(name) }),
    ...(prefetch !== undefined && { prefetch }),
    ...(lease !== undefined && { lease }),
    ...(shutdownTimeout !== undefined && { shutdownTimeout }),
  }
}

/** Celery's placeholders: %h the host, %n its first part, %d the rest. A name without a host gets this one. */
export function nodeName(text: string, host = hostname()): string {
  const [first = host, ...rest] = host.split('.')
  const parts: Record<string, string> = { '%h': host, '%n': first, '%d': rest.join('.'), '%%': '%' }
  const name = text.replace(/%[hnd%]/g, (placeholder) => parts[placeholder] ?? placeholder)
  return name.includes('@') ? name : `${name}@${host}`
}

/** A queue no task of the app goes to may be meant, but is more often mistyped. */
function warnOfStrangeQueues(app: Celeriac, { settings, name }: Worker, logger: Logger): void {
  for (const queue of settings.queues) {
    if (app.queues.includes(queue)) continue
    const guess = nearest(queue, app.queues)
    const advice = guess === undefined ? `they go to ${app.queues.join(', ')}` : `did you mean '${guess}'?`
    logger.warn({ worker: name }, `no task of this app goes to the queue '${queue}'; ${advice}`)
  }
}

function stopInStages(app: Celeriac, worker: Worker, logger: Logger, close: () => void): void {
  const tasks = (): string => plural(worker.health().running, 'task')
  onSignals([
    () => {
      const waitMs = worker.settings.shutdownTimeoutMs
      const isIdle = worker.health().running === 0
      const patience = `${tasks()} may end within ${shortTime(waitMs)}; again to abort`
      logger.info({ worker: worker.name }, isIdle ? 'stopping' : `stopping: ${patience}`)
      close()
    },
    () => {
      logger.warn({ worker: worker.name }, `aborting ${tasks()}; again to exit at once`)
      worker.interrupt()
    },
    () => {
      process.stderr.write(`celeriac: left at once; the tasks of ${app.name} return when their lease has lapsed\n`)
      process.exit(1)
    },
  ])
}
