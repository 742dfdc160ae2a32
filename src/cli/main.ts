/**
 * The command `celeriac`: reads the command line and hands over to one of the commands beside this file. What is heavy
 * (drivers, pino, jiti) is imported by the command that needs it, when it needs it.
 *
 * Exit codes: 0 it went well, 1 it failed, 2 it was used wrongly. Data goes to stdout, all else to stderr.
 */
import { Command, CommanderError } from 'commander'
import { packageVersion } from '../version.ts'
import { exitCodes, tellFailure, wantsJson } from './failure.ts'

/** In the order of the help. */
const commands = {
  worker: async () => (await import('./worker.ts')).addWorkerCommand,
  dev: async () => (await import('./worker.ts')).addDevCommand,
  beat: async () => (await import('./beat.ts')).addBeatCommand,
  schedule: async () => (await import('./schedule.ts')).addScheduleCommand,
  call: async () => (await import('./call.ts')).addCallCommand,
  result: async () => (await import('./result.ts')).addResultCommand,
  queue: async () => (await import('./queue.ts')).addQueueCommand,
  dlq: async () => (await import('./dlq.ts')).addDlqCommand,
  inspect: async () => (await import('./inspect.ts')).addInspectCommand,
  control: async () => (await import('./control.ts')).addControlCommand,
  status: async () => (await import('./status.ts')).addStatusCommand,
  events: async () => (await import('./events.ts')).addEventsCommand,
  top: async () => (await import('./top.ts')).addTopCommand,
  monitor: async () => (await import('./monitor.ts')).addMonitorCommand,
  bench: async () => (await import('./bench.ts')).addBenchCommand,
  migrate: async () => (await import('./migrate.ts')).addMigrateCommand,
  doctor: async () => (await import('./doctor.ts')).addDoctorCommand,
}

/** Runs the command and ends the process, whatever the user's module keeps open. */
export async function run(argv: readonly string[]): Promise<void> {
  surviveClosedPipes()
  // What a command waits for need not keep the process alive by itself; the command does.
  setInterval(() => undefined, 2 ** 30)
  const code = await exitCodeOf(argv)
  // Pipes on some systems are written later: everything that was printed must be out before the end.
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => stream.write('', () => resolve()))
  }
  process.exit(code)
}

async function exitCodeOf(argv: readonly string[]): Promise<number> {
  try {
    const program = await createProgram(argv)
    await program.parseAsync([...argv], { from: 'user' })
    return Number(process.exitCode ?? exitCodes.ok)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    return tellFailure(error, isDebug(argv))
  }
}

/** With the one command that is asked for; with all of them where help or a suggestion is wanted. */
async function createProgram(argv: readonly string[]): Promise<Command> {
  const program = new Command('celeriac')
    .description('A distributed task queue for TypeScript.')
    .version(packageVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'show what a command takes')
    .helpCommand(false)
    .configureHelp({ helpWidth: Math.min(process.stdout.columns || 80, 100), showGlobalOptions: false })
    .configureOutput({ outputError: (text, write) => write(usageFailure(text)) })
    .exitOverride()
    .addHelpText(
      'after',
      `
The broker is the one of the app (-A), or named by -b or CELERIAC_BROKER_URL.
Exit codes: 0 it went well, 1 it failed, 2 it was used wrongly.

Examples:
  celeriac worker -A app.ts                            run the tasks of app.ts
  celeriac dev -A app.ts                               the same, again at every change
  celeriac call add -A app.ts --args '[1, 2]' --wait   send one, print its result
  celeriac queue list -b sqlite://tasks.db             what waits, who serves it
  celeriac dlq list -A app.ts                          what was given up, and why
  celeriac inspect active -A app.ts                    what the workers run now
  celeriac top -A app.ts                               workers, queues and tasks, live
  celeriac monitor -A app.ts                           the same in the browser, with a memory
  celeriac bench -A app.ts --flow fulfil --input orders.jsonl --rate 50/s
  celeriac migrate --from sqlite://tasks.db --to redis://localhost

\`celeriac COMMAND --help\` tells more.`,
    )
  const [name = ''] = argv
  const wanted = Object.hasOwn(commands, name) ? [name] : Object.keys(commands)
  for (const command of wanted) (await commands[command as keyof typeof commands]())(program)
  return program
}

/** commander's message, as ours: `error: unknown option '--quues'\n(Did you mean --queues?)`. */
function usageFailure(text: string): string {
  const message = text.replace(/^error: /, '').trim()
  if (wantsJson())
    return `${JSON.stringify({ error: { code: 'CONFIG_INVALID', message: message.replace('\n', ' ') } })}\n`
  return `celeriac: ${message}\n`
}

function isDebug(argv: readonly string[]): boolean {
  return (
    argv.some((word, index) => word === 'debug' && /^(-l|--loglevel)$/.test(argv[index - 1] ?? '')) ||
    argv.some((word) => /^(-l|--loglevel=)debug$/.test(word))
  )
}

/** A reader that has gone (`| head`, a parent that died, a terminal that was closed) must not end a worker, nor cost a stack trace. */
function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE' && error.code !== 'EIO') throw error
    })
  }
}
