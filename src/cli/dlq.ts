/** `celeriac dlq`: what was given up and why, sent again or dropped. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import { shortTime } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { type DeadLetter, type DeadLetterChoice, deadSuffix } from '../send/dead-letters.ts'
import { userFrames } from '../stack.ts'
import { confirm } from './confirm.ts'
import { addConnectionFlags, type ConnectionFlags, withApp } from './connection.ts'
import {
  type Column,
  facts,
  jsonOf,
  localTime,
  note,
  oneLine,
  plural,
  pretty,
  print,
  printJson,
  table,
} from './output.ts'
import { painter } from './terminal.ts'
import { jsonArray, jsonObject, rate, UsageError, wholeNumber } from './values.ts'

interface ChoiceFlags extends ConnectionFlags {
  readonly queue?: string
  readonly all?: true
  readonly match?: string
  readonly json?: true
}

interface ListFlags extends ConnectionFlags {
  readonly match?: string
  readonly limit?: number
  readonly json?: true
}

interface RedriveFlags extends ChoiceFlags {
  readonly rate?: number
  readonly args?: unknown[]
  readonly kwargs?: Record<string, unknown>
}

interface DropFlags extends ChoiceFlags {
  readonly yes?: true
}

const defaultLimit = 100
/** So many are looked through for --match. */
const searchLimit = 1_000_000

export function addDlqCommand(program: Command): void {
  const dlq = program
    .command('dlq')
    .summary('look at dead letters, redrive or drop them')
    .description('Dead letters: calls that were given up, kept whole on the queue NAME.dead.')
    .helpCommand(false)
    .addHelpText(
      'after',
      `
Examples:
  celeriac dlq list -A app.ts
  celeriac dlq show 2f1c… -A app.ts
  celeriac dlq redrive 2f1c… -A app.ts                one, as it was
  celeriac dlq redrive 2f1c… -A app.ts --args '[2]'   one, with other arguments
  celeriac dlq redrive --queue delivering -A app.ts --match 503 --rate 10/s
  celeriac dlq drop --all -A app.ts --yes`,
    )
  addConnectionFlags(
    dlq
      .command('list')
      .description('The dead letters of one queue or of all, the oldest of each queue first.')
      .argument('[queue]', 'the queue they came from'),
  )
    .option('--match <text>', 'only those with this text in their id, task, error or arguments')
    .option('--limit <n>', `at most so many (default: ${defaultLimit})`, wholeNumber(1))
    .option('--json', 'print a JSON array')
    .action((queue: string | undefined, flags: ListFlags) =>
      withApp(flags, 'existing', (app) => list(app, queue, flags)),
    )
  addConnectionFlags(
    dlq
      .command('show')
      .description('One dead letter: its arguments, its attempts, its error, and what would follow it.')
      .argument('<id>', 'id of the task'),
  )
    .option('--json', 'print one JSON object')
    .action((id: string, flags: ChoiceFlags) => withApp(flags, 'existing', (app) => show(app, id, flags)))
  addChoiceFlags(
    dlq
      .command('redrive')
      .description('Sends dead letters back to their queues; a chain goes on from the step that failed.'),
  )
    .option('--rate <rate>', "at most so many, such as '10/s' or '100/m'", rate)
    .option('--args <json>', 'other positional arguments, for one id', jsonArray)
    .option('--kwargs <json>', 'other keyword arguments or input, for one id', jsonObject)
    .action((ids: string[], flags: RedriveFlags) => withApp(flags, 'existing', (app) => redrive(app, ids, flags)))
  addChoiceFlags(dlq.command('drop').description('Removes dead letters for good.'))
    .option('--yes', 'do not ask')
    .action((ids: string[], flags: DropFlags) => withApp(flags, 'existing', (app) => drop(app, ids, flags)))
}

function addChoiceFlags(command: Command): Command {
  return addConnectionFlags(command.argument('[ids...]', 'ids of the tasks'))
    .option('--queue <name>', 'those that came from this queue')
    .option('--all', 'those of all queues')
    .option('--match <text>', 'of these, only those with this text in their id, task, error or arguments')
    .option('--json', 'print one JSON object')
}

async function list(app: Celeriac, queue: string | undefined, flags: ListFlags): Promise<void> {
  const { match, limit = defaultLimit, json } = flags
  const all = await app.deadLetters.list({
    ...(queue !== undefined && { queue }),
    limit: match === undefined ? limit : searchLimit,
  })
  const letters = (match === undefined ? all : all.filter(matches(match))).slice(0, limit)
  if (json) return printJson(letters.map(plain))
  if (letters.length === 0)
    return note(
      `no dead letters${queue === undefined ? '' : ` in '${queue}'`}${match === undefined ? '' : ` match '${match}'`}`,
    )
  for (const [index, name] of [...new Set(letters.map((letter) => letter.queue))].entries()) {
    const own = letters.filter((letter) => letter.queue === name)
    const paint = painter(process.stdout)
    print(`${index === 0 ? '' : '\n'}${paint('bold', name)}`)
    print(table(own, columns))
  }
  const total = await count(app, queue)
  if (match === undefined && total > letters.length) note(`\n${letters.length} of ${total}; --limit shows more`)
}

const columns: readonly Column<DeadLetter>[] = [
  { title: 'ID', of: ({ id }) => id || '(unreadable)' },
  { title: 'TASK', of: ({ task }) => task ?? '?' },
  { title: 'AGE', of: ({ at }) => age(at), align: 'right' },
  { title: 'WHY', of: (letter) => why(letter), paint: (_letter, text, paint) => paint('red', text) },
]

function why({ error, reason }: DeadLetter): string {
  return error === null ? reason : oneLine(`${error.type}: ${error.message}`)
}

/** Short, for a column: `3 min`, `2 d`. */
function age(at: string): string {
  const ms = Date.now() - Date.parse(at)
  return Number.isFinite(ms)
    ? shortTime(Math.max(0, Math.floor(ms / 1_000) * 1_000))
        .split(' ')
        .slice(0, 2)
        .join(' ')
    : '-'
}

async function show(app: Celeriac, id: string, { json }: ChoiceFlags): Promise<void> {
  const letter = await app.deadLetters.show(id)
  if (json) return printJson(plain(letter))
  const { task, queue, reason, error, worker, at, deliveries, attempts, args, kwargs, next } = letter
  const paint = painter(process.stdout)
  print(
    facts([
      ['task', paint('bold', task ?? '?')],
      ['id', letter.id],
      ['queue', queue],
      ['given up', `${localTime(Date.parse(at))}, ${reason}`],
      ['by', worker],
      ['error', error === null ? undefined : paint('red', `${error.type}: ${error.message}`)],
      ['traceback', userFrames(error?.traceback).join('\n') || undefined],
      ['deliveries', String(deliveries)],
      ['attempts', attempts.length === 0 ? undefined : attempts.map(attemptLine).join('\n')],
      ['args', pretty(args)],
      ['kwargs', pretty(kwargs)],
      ['then', next.length === 0 ? undefined : next.join(' → ')],
    ]),
  )
  note(`\nTo send it again: celeriac dlq redrive ${letter.id}`)
}

function attemptLine({ at, worker, error }: DeadLetter['attempts'][number]): string {
  return `${localTime(Date.parse(at))}  ${worker}  ${oneLine(error)}`
}

async function redrive(app: Celeriac, ids: string[], flags: RedriveFlags): Promise<void> {
  const { args, kwargs, rate: perSecond } = flags
  const { choice, found } = choose(ids, flags, 'redrive')
  const isEdited = args !== undefined || kwargs !== undefined
  if (isEdited && ids.length !== 1) throw new UsageError('--args and --kwargs are for one dead letter: give its id')
  const redriven = await app.deadLetters.redrive({
    ...choice,
    ...(perSecond !== undefined && { perSecond }),
    ...(isEdited && { edit: () => ({ ...(args !== undefined && { args }), ...(kwargs !== undefined && { kwargs }) }) }),
  })
  refuseUnknown(ids, found)
  if (flags.json) printJson({ redriven })
  else print(`${plural(redriven, 'dead letter')} sent again`)
}

async function drop(app: Celeriac, ids: string[], flags: DropFlags): Promise<void> {
  const { choice, found } = choose(ids, flags, 'drop')
  const what =
    ids.length > 0
      ? plural(ids.length, 'dead letter')
      : `the dead letters ${flags.queue === undefined ? 'of all queues' : `of '${flags.queue}'`}`
  const which = flags.match === undefined ? what : `${what} that match '${flags.match}'`
  if (!(await confirm(`Drop ${which}?`, flags.yes === true))) return
  const dropped = await app.deadLetters.drop(choice)
  refuseUnknown(ids, found)
  if (flags.json) printJson({ dropped })
  else print(`${plural(dropped, 'dead letter')} dropped`)
}

/** The flags as a choice, and the ids that turned up when it was carried out. */
function choose(ids: string[], flags: ChoiceFlags, verb: string): { choice: DeadLetterChoice; found: Set<string> } {
  const { queue, all, match } = flags
  if (ids.length === 0 && queue === undefined && all === undefined) {
    throw new UsageError(
      `${verb} which? Give ids, or --queue NAME, or --all; \`celeriac dlq list\` shows what there is`,
    )
  }
  if (all && (ids.length > 0 || queue !== undefined)) throw new UsageError('--all goes with neither ids nor --queue')
  const found = new Set<string>()
  const isMatch = match === undefined ? undefined : matches(match)
  const filter = (letter: DeadLetter): boolean => {
    found.add(letter.id)
    return isMatch?.(letter) ?? true
  }
  return { choice: { ...(queue !== undefined && { queue }), ...(ids.length > 0 && { ids }), filter }, found }
}

function refuseUnknown(ids: readonly string[], found: ReadonlySet<string>): void {
  const unknown = ids.filter((id) => !found.has(id))
  if (unknown.length === 0) return
  const rest = unknown.length < ids.length ? `; ${ids.length - unknown.length} of ${ids.length} done` : ''
  const word = unknown.length === 1 ? 'the id' : 'the ids'
  throw new CeleriacError(
    'DEAD_LETTER_UNKNOWN',
    `no dead letter has ${word} ${unknown.join(', ')}${rest}; \`celeriac dlq list\` shows them`,
  )
}

function matches(text: string): (letter: DeadLetter) => boolean {
  const wanted = text.toLowerCase()
  return (letter) => {
    const { id, task, args, kwargs } = letter
    return [id, task ?? '', why(letter), letter.reason, jsonOf([args, kwargs])].some((part) =>
      part.toLowerCase().includes(wanted),
    )
  }
}

async function count(app: Celeriac, queue: string | undefined): Promise<number> {
  const queues = await app.broker.queues()
  const dead = queues.filter((info) =>
    queue === undefined ? info.queue.endsWith(deadSuffix) : info.queue === `${queue}${deadSuffix}`,
  )
  return dead.reduce((sum, { ready }) => sum + ready, 0)
}

/** As JSON: without the message's bytes. */
function plain(letter: DeadLetter): object {
  const { message: _message, ...rest } = letter
  return rest
}
