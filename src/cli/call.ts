/** `celeriac call`: sends one task, and may wait for its result. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { Duration } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import type { AsyncResult } from '../result/async-result.ts'
import type { CallOptions } from '../task/call-options.ts'
import { addConnectionFlags, type ConnectionFlags, withApp } from './connection.ts'
import { jsonOf, print, printJson } from './output.ts'
import { duration, jsonArray, jsonObject, wholeNumber } from './values.ts'

interface CallFlags extends ConnectionFlags {
  readonly args?: unknown[]
  readonly kwargs?: Record<string, unknown>
  readonly countdown?: Duration
  readonly expires?: Duration
  readonly queue?: string
  readonly priority?: number
  readonly id?: string
  readonly wait?: Duration | true
  readonly json?: true
}

export function addCallCommand(program: Command): void {
  const command = program
    .command('call')
    .summary('send one task')
    .description('Sends one task and prints its id; with --wait, prints what it returned.')
    .argument('<name>', 'name of the task')
  addConnectionFlags(command)
    .option('--args <json>', "positional arguments: '[1, 2]'", jsonArray)
    .option('--kwargs <json>', 'the input of a task with a schema, or keyword arguments: \'{"id": 1}\'', jsonObject)
    .option('--countdown <time>', 'start no earlier than this long from now', duration)
    .option('--expires <time>', 'never start later than this long from now', duration)
    .option('--queue <name>', "the queue (default: the task's; with -b: celery)")
    .option('--priority <n>', '0 to 9; 9 is the most urgent', wholeNumber(0, 9))
    .option('--id <id>', 'an id of your own (default: a random UUID)')
    .option('--wait [time]', 'wait for the result, if given at most this long', duration)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
With -A the task must be one of the app, and its input must fit its schema. With
-b it is sent by its name, as it is; the worker finds out whether it knows it.

Examples:
  celeriac call add -A app.ts --args '[1, 2]' --wait
  celeriac call pick -A app.ts --kwargs '{"id": "A-17"}' --countdown 5m
  celeriac call pick -b sqlite://tasks.db --args '[1, 2]' --queue picking`,
    )
    .action((name: string, flags: CallFlags) => withApp(flags, 'existing or new', (app) => call(app, name, flags)))
}

async function call(app: Celeriac, name: string, flags: CallFlags): Promise<void> {
  if (flags.app !== undefined && app.registry.get(name) === undefined) throw app.registry.unknown(name)
  if (flags.wait !== undefined) refuseVainWait(app, name)
  const result = await send(app, name, flags)
  if (flags.wait === undefined) return flags.json ? printJson({ id: result.id, task: name }) : print(result.id)
  const value = await result.get(flags.wait === true ? {} : { timeout: flags.wait })
  if (flags.json) printJson({ id: result.id, task: name, state: 'SUCCESS', result: value ?? null })
  else print(jsonOf(value ?? null, 2))
}

function send(app: Celeriac, name: string, flags: CallFlags): Promise<AsyncResult> {
  const { countdown, expires, queue, priority, id: taskId } = flags
  const options: CallOptions = {
    ...(countdown !== undefined && { countdown }),
    ...(expires !== undefined && { expires }),
    ...(queue !== undefined && { queue }),
    ...(priority !== undefined && { priority }),
    ...(taskId !== undefined && { taskId }),
  }
  // A signature of its own class: the app may come from another copy of this package.
  const bare = app.remote(name).s()
  const Signature = bare.constructor as typeof import('../canvas/signature.ts').Signature
  const parts = { ...bare.parts, args: flags.args ?? [], kwargs: flags.kwargs ?? {} }
  return new Signature<[], unknown>(parts, bare.sender).applyAsync(options)
}

/** Before anything is sent: a result that nobody keeps would be waited for in vain. */
function refuseVainWait(app: Celeriac, name: string): void {
  const ignores = app.registry.get(name)?.options.ignoreResult === true
  if (app.results !== undefined && !ignores) return
  const reason = ignores ? `the task '${name}' has \`ignoreResult\`` : 'the app keeps no results (`results: true`)'
  throw new CeleriacError('RESULTS_DISABLED', `${reason}, so --wait would wait in vain; nothing was sent`)
}
