/** `celeriac monitor`: the dashboard and the HTTP API of a fleet; and who may use them. */
import { type Command, InvalidArgumentError } from 'commander'
import { Celeriac } from '../app.ts'
import { type Duration, type Size, toBytes, toMs } from '../duration.ts'
import type { MonitorOptions } from '../monitor/monitor.ts'
import { addConnectionFlags, type ConnectionFlags, findApp, refuseMemory, waitFor } from './connection.ts'
import type { LogFormat } from './logging.ts'
import { note, print } from './output.ts'
import { onSignals } from './signals.ts'
import { duration, type LogLevel, list, logLevel, oneOf, size, UsageError, wholeNumber } from './values.ts'

type Role = 'viewer' | 'operator' | 'admin'

interface MonitorFlags extends ConnectionFlags {
  readonly appName?: string
  readonly host?: string
  readonly port?: number
  readonly db?: string
  readonly users?: string
  readonly proxyHeader?: string
  readonly proxyFrom?: string[]
  readonly proxyRole?: Role
  readonly allowedHost?: string[]
  readonly readOnly?: true
  readonly enableEvents: boolean
  readonly peek: boolean
  readonly flowerMetrics?: true
  readonly hideNames?: string[]
  readonly hideTasks?: string[]
  readonly maxTasks?: number
  readonly maxAge?: Duration
  readonly maxSize?: Size
  readonly loglevel?: LogLevel
  readonly logFormat?: LogFormat
}

const role = oneOf<Role>(['viewer', 'operator', 'admin'])

export function addMonitorCommand(program: Command): void {
  const command = program
    .command('monitor')
    .summary('watch a fleet in the browser, and tell it what to do')
    .description('Serves a dashboard and an HTTP API for a fleet of workers: of Celeriac, of Python, or both.')
    .helpCommand(false)
  addConnectionFlags(command)
    .option('--app-name <name>', 'with -b: the name of the app whose schedules are shown')
    .option('--port <n>', 'where it listens; 0 is any that is free (default: 5555)', wholeNumber(0, 65_535))
    .option('--host <address>', 'address to listen at (default: 127.0.0.1); others need --users or --proxy-header')
    .option(
      '--db <file>',
      "what it remembers; :memory: forgets it (default: celeriac-monitor.db beside the app's file)",
    )
    .option('--users <file>', 'who may use it; see `celeriac monitor user --help`')
    .option('--proxy-header <name>', 'a proxy that knows the users tells them in this header')
    .option('--proxy-from <networks>', 'addresses of that proxy, such as 10.0.0.0/8 (default: this machine)', networks)
    .option('--proxy-role <role>', 'of users that are not in --users (default: viewer)', role)
    .option('--allowed-host <names>', 'names in URLs of this monitor, with commas between', list)
    .option('--read-only', 'nobody may change anything')
    .option('--no-enable-events', 'do not tell workers to send events of tasks')
    .option('--no-peek', 'do not look at messages in their queues; retries may lack the true arguments then')
    .option('--flower-metrics', "/metrics tells Flower's names too")
    .option('--hide-names <names>', 'arguments with these names are secret too; * stands for anything', list)
    .option('--hide-tasks <names>', 'of these tasks no arguments and results are kept or shown', list)
    .option('--max-tasks <n>', 'tasks that are remembered (default: 1000000)', wholeNumber(1))
    .option('--max-age <time>', 'how long they are (default: 14d)', duration)
    .option('--max-size <size>', 'size of the file (default: 4GB)', size)
    .option('-l, --loglevel <level>', 'debug, info, warn or error (default: info)', logLevel)
    .option('--log-format <format>', 'pretty or json (default: pretty)', oneOf<LogFormat>(['pretty', 'json']))
    .addHelpText(
      'after',
      `
It listens to this machine alone unless --host says otherwise, and then asks who
somebody is: by password or token (--users), or by the word of a proxy.

Examples:
  celeriac monitor -b redis://localhost                 then open http://127.0.0.1:5555
  celeriac monitor -A app.ts --hide-tasks 'billing.*'
  celeriac monitor user users.txt ada --role operator   asks for her password
  celeriac monitor -A app.ts --host 0.0.0.0 --users users.txt --allowed-host tasks.example.org`,
    )
    .action(runMonitor)
  command
    .command('user')
    .description('Adds a user to a file for --users, or gives him another password or role.')
    .argument('<file>', 'the file; it is made if it is not there')
    .argument('<name>', 'the user')
    .requiredOption('--role <role>', 'viewer, operator or admin', role)
    .option('--token', 'for a program: makes a token, and prints it this once')
    .action(addUser)
}

async function runMonitor(flags: MonitorFlags): Promise<void> {
  const [{ startMonitor }, { createLogger }] = await Promise.all([
    import('../monitor/monitor.ts'),
    import('./logging.ts'),
  ])
  const logger = await createLogger(flags.logFormat ?? 'pretty', flags.loglevel ?? 'info')
  const app = await appOf(flags)
  refuseMemory(app.config.broker)
  const options = await monitorOptions(app, flags)
  const starting = startMonitor({ ...options, logger })
  await waitFor(app.config.broker, starting)
  const monitor = await starting
  logger.info({ db: options.db, url: monitor.url }, `the monitor is at ${monitor.url}`)
  await new Promise<void>((resolve) => {
    const leave = (): never => process.exit(1)
    onSignals({ stages: [resolve, leave, leave] })
  })
  logger.info({}, 'stopping')
  await monitor.close()
  await app.close()
}

async function appOf({ appName, ...flags }: MonitorFlags): Promise<Celeriac> {
  const app = await findApp(flags)
  if (appName === undefined) return app
  if (flags.app !== undefined) throw new UsageError('--app-name is for -b: the app of -A has a name')
  const { broker, results } = app.config
  return new Celeriac(appName, { broker, results: results ?? false })
}

async function monitorOptions(app: Celeriac, flags: MonitorFlags): Promise<MonitorOptions> {
  const { host, port, readOnly, enableEvents, peek, hideNames, hideTasks, maxTasks, maxAge, maxSize } = flags
  const { proxyHeader, proxyFrom, proxyRole, allowedHost } = flags
  if (proxyHeader === undefined && (proxyFrom ?? proxyRole) !== undefined) {
    throw new UsageError('--proxy-from and --proxy-role are for --proxy-header')
  }
  return {
    app,
    db: flags.db ?? (await import('./monitor-file.ts')).defaultMonitorFile(app.config.broker),
    enableEvents,
    peeks: peek,
    isReadOnly: readOnly ?? false,
    flowerMetrics: flags.flowerMetrics ?? false,
    redaction: { ...(hideNames && { names: hideNames }), ...(hideTasks && { tasks: hideTasks }) },
    ...(host !== undefined && { host }),
    ...(port !== undefined && { port }),
    ...(flags.users !== undefined && { users: (await import('../monitor/auth/users.ts')).readUsers(flags.users) }),
    ...(proxyHeader !== undefined && {
      proxy: {
        header: proxyHeader.toLowerCase(),
        from: proxyFrom ?? ['127.0.0.0/8', '::1'],
        role: proxyRole ?? 'viewer',
      },
    }),
    ...(allowedHost !== undefined && { allowedHosts: allowedHost.map((name) => name.toLowerCase()) }),
    ...(maxTasks !== undefined && { maxTasks }),
    ...(maxAge !== undefined && { maxAgeMs: toMs(maxAge, 'max-age') }),
    ...(maxSize !== undefined && { maxBytes: toBytes(maxSize, 'max-size') }),
  }
}

/** Addresses and networks, with commas between. */
function networks(text: string): string[] {
  const isNetwork = (network: string): boolean => /^[\da-f.:]+(\/\d{1,3})?$/i.test(network)
  const all = list(text)
  const wrong = all.find((network) => !isNetwork(network))
  if (wrong === undefined) return all
  throw new InvalidArgumentError(`It takes addresses or networks such as 10.0.0.0/8, not '${wrong}'.`)
}

async function addUser(
  file: string,
  name: string,
  flags: { readonly role: Role; readonly token?: true },
): Promise<void> {
  const [{ hashPassword, hashToken, newToken }, { writeUser }] = await Promise.all([
    import('../monitor/auth/passwords.ts'),
    import('../monitor/auth/users.ts'),
  ])
  const token = flags.token ? newToken() : undefined
  const hash = token === undefined ? await hashPassword(await newPassword(name)) : hashToken(token)
  writeUser(file, { name, role: flags.role, hash })
  if (token !== undefined) print(token)
  note(`${name} is in ${file} as ${flags.role}; a monitor that runs learns of it when it is started again`)
}

/** Asked twice at a terminal; else the first line of stdin. */
async function newPassword(name: string): Promise<string> {
  const { askSecret } = await import('./secret.ts')
  const password = await askSecret(`Password of ${name}: `)
  if (process.stdin.isTTY && (await askSecret('Once more: ')) !== password) {
    throw new UsageError('the two passwords differ; nothing was changed')
  }
  return password
}
