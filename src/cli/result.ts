/** `celeriac result`: what is known of a task that was sent. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { Duration } from '../duration.ts'
import { shortTime } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import type { AsyncResult } from '../result/async-result.ts'
import type { ResultRecord } from '../result/result-store.ts'
import { isReady } from '../result/states.ts'
import { describeError } from '../result/stored-error.ts'
import type { ResultNode } from '../result/tree.ts'
import { describeWhy } from '../result/why.ts'
import { userFrames } from '../stack.ts'
import { addConnectionFlags, type ConnectionFlags, withApp } from './connection.ts'
import { exitCodes } from './failure.ts'
import { facts, localTime, pretty, print, printJson } from './output.ts'
import { columnsOf, painter } from './terminal.ts'
import { colourOf, drawTree } from './tree.ts'
import { duration } from './values.ts'

interface ResultFlags extends ConnectionFlags {
  readonly tree?: true
  readonly why?: true
  readonly wait?: Duration | true
  readonly json?: true
}

export function addResultCommand(program: Command): void {
  const command = program
    .command('result')
    .summary('show what became of a task')
    .description('Shows the state of a task, what it returned or why it failed, and when.')
    .argument('<id>', 'id of the task')
  addConnectionFlags(command)
    .option('--tree', 'the whole pipeline it belongs to, from its first task on')
    .option('--why', 'what it waits for, and what that waits for')
    .option('--wait [time]', 'wait until it has ended, if given at most this long', duration)
    .option('--json', 'print one JSON object')
    .addHelpText(
      'after',
      `
With -b, results are looked for where the broker is; with -A, where the app keeps them.
Exit code 1 if the id is not known and, with --wait, if the task did not succeed.

Examples:
  celeriac result 2f1c… -A app.ts
  celeriac result 2f1c… -A app.ts --tree
  celeriac result 2f1c… -A app.ts --why
  celeriac result 2f1c… -b sqlite://tasks.db --wait=1m --json`,
    )
    .action((id: string, flags: ResultFlags) => withApp(flags, 'existing', (app) => show(app, id, flags)))
}

async function show(app: Celeriac, id: string, flags: ResultFlags): Promise<void> {
  const result = app.result(id)
  if (flags.wait !== undefined) await ended(result, flags.wait)
  const record = await result.info()
  if (record === undefined) {
    const group = await groupOf(app, id)
    if (group === undefined) throw unknownId(id)
    return flags.json ? printJson(group) : print(drawn(group, id))
  }
  if (flags.why) {
    const why = await result.why()
    return flags.json ? printJson(why) : print(describeWhy(why).join('\n'))
  }
  if (flags.wait !== undefined && record.status !== 'SUCCESS') process.exitCode = exitCodes.failed
  if (!flags.tree) return flags.json ? printJson(record) : print(describe(record))
  const root = await result.tree()
  return flags.json ? printJson(root) : print(drawn(root, id))
}

function drawn(root: ResultNode, id: string): string {
  return drawTree(root, { paint: painter(process.stdout), width: columnsOf(process.stdout), marked: id })
}

/** The tree of a group, if that is what the id is of. */
async function groupOf(app: Celeriac, id: string): Promise<ResultNode | undefined> {
  if (app.results?.joins !== true) return undefined
  return (await app.results.loadGroup(id)) === undefined ? undefined : app.result(id).tree()
}

/** Waits until the task has ended; how it ended is not its concern. */
async function ended(result: AsyncResult, wait: Duration | true): Promise<void> {
  // Nobody would ever end a wait for an id that does not exist.
  if ((await result.info()) === undefined) throw unknownId(result.id)
  try {
    await result.get(wait === true ? {} : { timeout: wait })
  } catch (error) {
    const { code } = error as CeleriacError
    if (code !== 'TASK_FAILED' && code !== 'TASK_REVOKED') throw error
  }
}

function unknownId(id: string): CeleriacError {
  return new CeleriacError(
    'RESULT_UNKNOWN',
    `nothing is known of the id '${id}': it was never sent through this broker, keeps no result, or has expired`,
  )
}

function describe(record: ResultRecord): string {
  const paint = painter(process.stdout)
  const { taskId, name, status, queue, worker, retries, fence, sentAt, startedAt, doneAt, parentId, rootId } = record
  const failed = ['FAILURE', 'RETRY', 'REVOKED'].includes(status)
  const error = failed ? describeError(record.result) : undefined
  const value = failed || status === 'PENDING' ? undefined : pretty(record.result)
  return facts([
    ['task', paint('bold', name ?? 'unknown')],
    ['id', taskId],
    ['state', paint(colourOf(status), status)],
    [isReady(status) ? 'result' : 'meta', value === 'null' && !isReady(status) ? undefined : value],
    ['error', error === undefined ? undefined : paint('red', `${error.type}: ${error.message}`)],
    ['traceback', failed ? tracebackOf(record) : undefined],
    ['queue', queue ?? undefined],
    ['worker', worker ?? undefined],
    ['attempts', fence === 0 ? undefined : `${fence}${retries === 0 ? '' : ` (retries: ${retries})`}`],
    ['sent', sentAt === null ? undefined : localTime(sentAt)],
    ['started', startedAt === null ? undefined : since(startedAt, sentAt, 'waited')],
    ['ended', doneAt === null ? undefined : since(doneAt, startedAt, 'ran')],
    ['parent', parentId ?? undefined],
    ['root', rootId === taskId ? undefined : (rootId ?? undefined)],
  ])
}

function since(atMs: number, fromMs: number | null, verb: string): string {
  return `${localTime(atMs)}${fromMs === null ? '' : ` (${verb} ${shortTime(Math.max(0, atMs - fromMs))})`}`
}

function tracebackOf({ traceback }: ResultRecord): string | undefined {
  return userFrames(traceback).join('\n') || undefined
}
