/**
 * The command `celeriac`: reads the command line and hands over to one of the commands beside this file. What is heavy
 * (drivers, pino, jiti) is imported by the command that needs it, when it needs it.
 *
 * Exit codes: 0 it went well, 1 it failed, 2 it was used wrongly. Data goes to stdout, all else to stderr.
 */
import { Command, CommanderError } from 'commander'
import { addCallCommand } from './call.ts'
import { addDlqCommand } from './dlq.ts'
import { addDoctorCommand } from './doctor.ts'
import { exitCodes, tellFailure, wantsJson } from './failure.ts'
import { addQueueCommand } from './queue.ts'
import { addResultCommand } from './result.ts'
import { packageVersion } from './version.ts'
import { addWorkerCommand } from './worker.ts'

/** Runs the command and ends the process, whatever the user's module keeps open. */
export async function run(argv: readonly string[]): Promise<void> {
  surviveClosedPipes()
  const code = await exitCodeOf(argv)
  // Pipes on some systems are written later: everything that was printed must be out before the end.
  for (const stream of [process.stdout, process.stderr]) {
    await new Promise<void>((resolve) => stream.write('', () => resolve()))
  }
  process.exit(code)
}

async function exitCodeOf(argv: readonly string[]): Promise<number> {
  try {
    await createProgram().parseAsync([...argv], { from: 'user' })
    return Number(process.exitCode ?? exitCodes.ok)
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? exitCodes.ok : exitCodes.usage
    return tellFailure(error, isDebug(argv))
  }
}

export function createProgram(): Command {
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
  celeriac worker -A app.ts                  run the tasks of app.ts
  celeriac call add --args '[1, 2]' -A app.ts --wait
  celeriac queue list -b sqlite://tasks.db
  celeriac dlq list -A app.ts                what was given up, and why

\`celeriac COMMAND --help\` tells more.`,
    )
  addWorkerCommand(program)
  addCallCommand(program)
  addResultCommand(program)
  addQueueCommand(program)
  addDlqCommand(program)
  addDoctorCommand(program)
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

/** A reader that has gone (`| head`, a parent that died) must not end a worker, nor cost a stack trace. */
function surviveClosedPipes(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      if (error.code !== 'EPIPE') throw error
    })
  }
}
