/** `celeriac beat`: sends what is due, until it is told to stop. Any number of them may run. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import { openApp } from './connection.ts'
import type { LogFormat } from './logging.ts'
import { onSignals } from './signals.ts'
import { type LogLevel, logLevel, oneOf } from './values.ts'

interface BeatFlags {
  readonly app: string
  readonly scheduleFile?: string
  readonly loglevel?: LogLevel
  readonly logFormat?: LogFormat
  readonly pidfile?: string
}

export function addBeatCommand(program: Command): void {
  program
    .command('beat')
    .summary('send what is due')
    .description('Sends the periodic tasks of an app when they are due, until it is told to stop.')
    .requiredOption('-A, --app <file>', 'the module that exports the app, TypeScript or JavaScript')
    .option('--schedule-file <file>', 'further entries, as JSON or YAML; also a beat_schedule of Celery')
    .option('-l, --loglevel <level>', 'debug, info, warn or error (default: info)', logLevel)
    .option('--log-format <format>', 'pretty or json (default: pretty)', oneOf<LogFormat>(['pretty', 'json']))
    .option('--pidfile <file>', 'write the pid there, and refuse to start while it names a process that runs')
    .addHelpText(
      'after',
      `
Start as many as you like, on as many machines: one sends, the others take over
within ten seconds when it dies. \`celeriac worker -B\` is a worker that is one too.

What the app declares with app.beat() is brought into the broker at the start: new
entries are added, changed ones keep their last run, and those gone are removed.

Examples:
  celeriac beat -A app.ts
  celeriac beat -A app.ts --schedule-file schedule.yaml
  celeriac schedule list -A app.ts                       what is due when`,
    )
    .action(runBeat)
}

async function runBeat(flags: BeatFlags): Promise<void> {
  if (flags.pidfile !== undefined) (await import('./pidfile.ts')).holdPidfile(flags.pidfile)
  const [{ loadApp }, { createLogger }] = await Promise.all([import('../load-app.ts'), import('./logging.ts')])
  const [app, cliLogger] = await Promise.all([
    loadApp(flags.app),
    createLogger(flags.logFormat ?? 'pretty', flags.loglevel ?? 'info'),
  ])
  const keepsAppLogger = app.config.hasOwnLogger && flags.loglevel === undefined && flags.logFormat === undefined
  const logger = keepsAppLogger ? app.config.logger : cliLogger
  await declareFile(app, flags.scheduleFile)
  await openApp(app)
  await app.startBeat({ logger })
  cliLogger.info({ app: app.name }, 'ready')
  await new Promise<void>((resolve) => {
    const leave = (): never => process.exit(1)
    onSignals({ stages: [resolve, leave, leave] })
  })
  cliLogger.info({ app: app.name }, 'stopping')
  await app.close()
}

/** Entries of a file count as declared by the application. */
export async function declareFile(app: Celeriac, file: string | undefined): Promise<void> {
  if (file === undefined) return
  const { readScheduleFile } = await import('../beat/schedule-file.ts')
  app.beat(await readScheduleFile(file))
}
