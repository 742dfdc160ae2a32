/** `celeriac worker` and `celeriac dev`: run an application's tasks until they are told to stop. */
import { hostname } from 'node:os'
import { type Command, Option } from 'commander'
import type { WorkerOptions } from '../config.ts'
import type { Duration, Size } from '../duration.ts'
import { type Optimization, optimizations, type PoolKind } from '../pool-kinds.ts'
import { isSupervised, replaceProcess } from './again.ts'
import type { LogFormat } from './logging.ts'
import { type ServeOptions, serve } from './serve.ts'
import {
  autoscale,
  duration,
  type HttpAddress,
  httpAddress,
  type LogLevel,
  list,
  logLevel,
  oneOf,
  pool,
  size,
  wholeNumber,
} from './values.ts'

interface WorkerFlags {
  readonly app: string
  readonly queues?: string[]
  readonly pool?: PoolKind
  readonly concurrency?: number
  readonly autoscale?: { readonly max: number; readonly min?: number }
  readonly optimization?: Optimization
  readonly maxTasksPerChild?: number
  readonly maxMemoryPerChild?: Size
  readonly hostname?: string
  readonly taskEvents?: true
  readonly remoteControl: boolean
  readonly loglevel?: LogLevel
  readonly logFormat?: LogFormat
  readonly prefetch?: number
  readonly lease?: Duration
  readonly shutdownTimeout?: Duration
  readonly pidfile?: string
  readonly httpPort?: HttpAddress
  readonly reload?: true
  readonly beat?: true
  readonly scheduleFile?: string
}

interface DevFlags extends WorkerFlags {
  readonly monitor: boolean
  readonly monitorPort?: number
}

export function addWorkerCommand(program: Command): void {
  const command = program
    .command('worker')
    .summary("run an app's tasks")
    .description("Runs an app's tasks until it is told to stop.")
  addWorkerFlags(command)
    .option('--reload', 'for development: start again whenever a module in the folder of the app changes')
    .addHelpText(
      'after',
      `
Stopping: the first Ctrl-C or SIGTERM takes no more tasks and lets the running
ones end; the second aborts them, and they go back to their queue without losing
a retry; the third exits at once, and they come back when their lease lapses.
SIGQUIT aborts at once what runs. The remote command shutdown is like SIGTERM.

SIGHUP starts again, with the same pid and arguments: it lets the running tasks
end, then loads the app anew. Before Node 22.15 the new worker is a child of the
old process, which hands on signals and keeps the pid file. At a terminal SIGHUP
is like SIGTERM.

--http-port serves /healthz (200, or 503 when the worker cannot take tasks) and
/metrics (Prometheus), on this machine only unless a host is given.

Examples:
  celeriac worker -A app.ts
  celeriac worker -A app.ts -Q picking,packing -c 10 -n picker@%h
  celeriac worker -A app.ts -P processes --autoscale 8,2
  celeriac worker -A app.ts -l warn --log-format json --http-port 0.0.0.0:8080

-l info logs every task; -l warn only what goes wrong, and is faster. Celery's
--without-heartbeat, --without-gossip and --without-mingle are taken, and change
nothing.`,
    )
    .action((flags: WorkerFlags) => runWorker(flags, { beat: flags.beat ?? false, monitor: false }))
}

export function addDevCommand(program: Command): void {
  const command = program
    .command('dev')
    .summary("run an app's tasks while you write them")
    .description('Runs a worker for development, with a beat and a monitor: `celeriac worker --reload -E` and more.')
  addWorkerFlags(command)
    .option('--no-monitor', 'serve no monitor')
    .option(
      '--monitor-port <n>',
      'where the monitor listens (default: 5555, or any that is free)',
      wholeNumber(0, 65_535),
    )
    .addHelpText(
      'after',
      `
It starts again whenever a module in the folder of the app changes, or below it;
not for node_modules, nor folders that begin with a dot. Tasks that run then have
3 seconds to end before they are aborted and go back to their queue. A module that
does not load is waited for. Where the app declares periodic tasks, it sends them.
The monitor shows in a browser what happens; see \`celeriac monitor --help\`.

Examples:
  celeriac dev -A app.ts
  celeriac dev -A app.ts -l debug`,
    )
    .action(({ monitor, monitorPort, ...flags }: DevFlags) =>
      runWorker(
        { ...flags, reload: true, taskEvents: true },
        { beat: 'if anything is declared', monitor: monitor && { port: monitorPort } },
      ),
    )
}

function addWorkerFlags(command: Command): Command {
  command
    .requiredOption('-A, --app <file>', 'the module that exports the app, TypeScript or JavaScript')
    .option('-Q, --queues <names>', "queues to serve, with commas between (default: all of the app's)", list)
    .option('-P, --pool <kind>', 'async, processes, threads or solo (default: async)', pool)
    .option('-c, --concurrency <n>', 'tasks running at once (default: 100; for children one each core)', wholeNumber(1))
    .option('--autoscale <max,min>', 'let that number follow the load (min: 1)', autoscale)
    .option('-O, --optimization <kind>', 'fair or throughput (default: fair)', oneOf<Optimization>(optimizations))
    .option('--max-tasks-per-child <n>', 'tasks after which a child is replaced (default: never)', wholeNumber(1))
    .option('--max-memory-per-child <size>', 'size at which a child is replaced, as in 200MB (default: never)', size)
    .option('-n, --hostname <name>', 'node name; %h is the host (default: celeriac-PID@%h)')
    .option('-E, --task-events', 'send events of every task, not only once a monitor asks for them')
    .option('-B, --beat', 'also send what is due; any number of workers may')
    .option('--schedule-file <file>', 'with -B: further entries, as JSON or YAML')
    .option('--no-remote-control', 'answer no remote control, and do not tell the fleet of the worker')
    .option('-l, --loglevel <level>', 'debug, info, warn or error (default: info)', logLevel)
    .option('--log-format <format>', 'pretty or json (default: pretty)', oneOf<LogFormat>(['pretty', 'json']))
    .option('--prefetch <n>', 'messages at hand, running ones included (default: adapts)', wholeNumber(1))
    .option('--lease <time>', "how long a dead worker's tasks stay away (default: the app's, 30s)", duration)
    .option('--shutdown-timeout <time>', 'how long a stop waits for running tasks (default: 30s)', duration)
    .option('--pidfile <file>', 'write the pid there, and refuse to start while it names a process that runs')
    .option('--http-port <[host:]port>', 'serve /healthz and /metrics; port 0 is any that is free', httpAddress)
  for (const name of celeryOnly) command.addOption(new Option(`--without-${name}`).hideHelp())
  return command
}

/** What Celery's workers do among themselves, and ours need not. */
const celeryOnly = ['heartbeat', 'gossip', 'mingle']

async function runWorker(flags: WorkerFlags, company: Pick<ServeOptions, 'beat' | 'monitor'>): Promise<void> {
  if (flags.pidfile !== undefined && !isSupervised()) (await import('./pidfile.ts')).holdPidfile(flags.pidfile)
  const format = flags.logFormat ?? 'pretty'
  const level = flags.loglevel ?? 'info'
  if (flags.reload && !isSupervised()) {
    const { superviseReloads } = await import('./reload.ts')
    process.exitCode = await superviseReloads(flags.app, format, level)
    return
  }
  const ending = await serve({
    module: flags.app,
    worker: workerOptions(flags),
    format,
    level,
    keepsAppLogger: flags.logFormat === undefined && flags.loglevel === undefined,
    http: flags.httpPort,
    ...company,
    scheduleFile: flags.scheduleFile,
  })
  if (ending === 'restart') process.exitCode = await startAgain(format, level)
}

/** As the same process, or else by a child that this process waits for; then with the child's exit code. */
async function startAgain(format: LogFormat, level: LogLevel): Promise<number> {
  // What was logged last is written in the next turn.
  await new Promise((resolve) => setImmediate(resolve))
  replaceProcess()
  const [{ Supervisor }, { createLogger }] = await Promise.all([import('./supervisor.ts'), import('./logging.ts')])
  return new Supervisor({ logger: await createLogger(format, level), outlivesFailures: false }).run()
}

function workerOptions(flags: WorkerFlags): WorkerOptions {
  const { queues, concurrency, optimization, hostname: name, prefetch, lease, shutdownTimeout } = flags
  const { maxTasksPerChild, maxMemoryPerChild } = flags
  return {
    taskEvents: flags.taskEvents ?? false,
    remoteControl: flags.remoteControl,
    ...(flags.pool !== undefined && { pool: flags.pool }),
    ...(flags.autoscale !== undefined && { autoscale: flags.autoscale }),
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
