/** `celeriac schedule`: looks at the periodic tasks of an app, and changes them while beats run. */
import type { Command } from 'commander'
import { Celeriac } from '../app.ts'
import type { BeatEntry, CatchUp, Overlap } from '../beat/entry.ts'
import type { ScheduleInput, SolarPlace } from '../beat/schedule.ts'
import type { ScheduleInfo } from '../beat/schedules.ts'
import type { Duration } from '../duration.ts'
import { shortTime } from '../duration.ts'
import { confirm } from './confirm.ts'
import { addConnectionFlags, type ConnectionFlags, findApp, withApp, withOpenApp } from './connection.ts'
import { type Column, facts, localTime, note, plural, pretty, print, printJson, table } from './output.ts'
import { duration, jsonArray, jsonObject, list as names, oneOf, UsageError, wholeNumber } from './values.ts'

interface ScheduleFlags extends ConnectionFlags {
  readonly appName?: string
  readonly json?: true
  readonly yes?: true
}

interface AddFlags extends ScheduleFlags {
  readonly task?: string
  readonly every?: Duration
  readonly cron?: string
  readonly timezone?: string
  readonly at?: string
  readonly solar?: string[]
  readonly file?: string
  readonly args?: unknown[]
  readonly kwargs?: Record<string, unknown>
  readonly queue?: string
  readonly priority?: number
  readonly expires?: Duration
  readonly catchUp?: CatchUp
  readonly catchUpWindow?: Duration
  readonly overlap?: Overlap
  readonly jitter?: Duration
  readonly start?: string
  readonly end?: string
}

export function addScheduleCommand(program: Command): void {
  const schedule = program
    .command('schedule')
    .summary('look at periodic tasks, and change them')
    .description('Looks at the periodic tasks of an app, and changes them while beats run.')
    .helpCommand(false)
    .addHelpText(
      'after',
      `
With -b instead of -A, --app-name says whose schedule it is. Changes count at
once. Entries that the app declares come back with the next start of a beat.

Examples:
  celeriac schedule list -A app.ts
  celeriac schedule add 'tidy up' -A app.ts --task tidy --cron '0 3 * * *' --timezone Europe/Berlin
  celeriac schedule add poll -A app.ts --task poll --every 10s --overlap skip
  celeriac schedule run 'tidy up' -A app.ts      once more, now
  celeriac schedule pause poll -A app.ts`,
    )
  const add = (name: string, description: string): Command =>
    addConnectionFlags(schedule.command(name).description(description))
      .option('--app-name <name>', 'with -b: the name of the app')
      .option('--json', 'print JSON')
  add('list', 'Every entry: what it sends, when it is due, what became of it.').action((flags: ScheduleFlags) =>
    within(flags, async (app) => list(await app.schedules.list(), flags)),
  )
  add('show', 'All that is known of one entry.')
    .argument('<name>', 'the entry')
    .action((name: string, flags: ScheduleFlags) =>
      within(flags, async (app) => show(await app.schedules.get(name), flags)),
    )
  add('run', 'Sends the call of an entry now, once more. Its times stay as they are.')
    .argument('<name>', 'the entry')
    .action((name: string, flags: ScheduleFlags) => within(flags, (app) => run(app, name, flags)))
  for (const [verb, description] of [
    ['pause', 'Sends nothing for an entry, until it is resumed.'],
    ['resume', 'Lets a paused entry go on with its next time.'],
  ] as const) {
    add(verb, description)
      .argument('<name>', 'the entry')
      .action((name: string, flags: ScheduleFlags) => within(flags, (app) => hold(app, verb, name, flags)))
  }
  addAddCommand(add('add', 'Adds an entry, or changes the one of that name.'))
  add('remove', 'Removes an entry.')
    .argument('<name>', 'the entry')
    .option('--yes', 'do not ask')
    .action((name: string, flags: ScheduleFlags) => within(flags, (app) => remove(app, name, flags)))
}

function addAddCommand(command: Command): void {
  command
    .argument('[name]', 'the entry; not with --file')
    .option('--task <name>', 'the task')
    .option('--every <time>', 'again and again after so much time, as in 10s', duration)
    .option('--cron <fields>', "five fields, as in '0 3 * * mon-fri'")
    .option('--timezone <name>', "of the fields, as in Europe/Berlin (default: the app's)")
    .option('--at <date>', "once, as in '2030-01-31T08:00:00+01:00'")
    .option('--solar <event,lat,lon>', 'at what the sun does, as in sunset,52.5,13.4', names)
    .option('--file <file>', 'all entries of a file, JSON or YAML; also a beat_schedule of Celery')
    .option('--args <json>', "positional arguments: '[1, 2]'", jsonArray)
    .option('--kwargs <json>', 'the input of a task with a schema, or keyword arguments', jsonObject)
    .option('--queue <name>', "the queue (default: the task's)")
    .option('--priority <n>', '0 to 9; 9 is the most urgent', wholeNumber(0, 9))
    .option('--expires <time>', 'a call that has not started so long after is dropped', duration)
    .option(
      '--catch-up <policy>',
      'of missed times: skip, one or all (default: one)',
      oneOf<CatchUp>(['skip', 'one', 'all']),
    )
    .option('--catch-up-window <time>', 'times longer ago are not made up for', duration)
    .option('--overlap <policy>', 'allow, skip or cancelPrevious (default: allow)', overlap)
    .option('--jitter <time>', 'send up to so much later', duration)
    .option('--start <date>', 'not before')
    .option('--end <date>', 'not after')
    .action((name: string | undefined, flags: AddFlags) => within(flags, (app) => addEntries(app, name, flags)))
}

function overlap(text: string): Overlap {
  const word = text.toLowerCase().replaceAll('-', '')
  return word === 'cancelprevious' ? 'cancelPrevious' : oneOf<'allow' | 'skip'>(['allow', 'skip'])(word)
}

function within(flags: ScheduleFlags, work: (app: Celeriac) => Promise<void>): Promise<void> {
  if (flags.app !== undefined) return withApp(flags, 'existing or new', work)
  const { appName } = flags
  if (appName === undefined)
    throw new UsageError("whose schedule? Give -A app.ts, or with -b also --app-name, the app's name")
  const named = async (): Promise<Celeriac> => {
    const { broker, results } = (await findApp(flags)).config
    return new Celeriac(appName, { broker, results: results ?? false })
  }
  return withOpenApp(named, 'existing or new', work)
}

const columns: readonly Column<ScheduleInfo>[] = [
  { title: 'NAME', of: ({ name }) => name },
  { title: 'TASK', of: ({ task }) => task },
  { title: 'NEXT', of: nextOf },
  {
    title: 'LAST',
    of: ({ lastSentAt }) =>
      lastSentAt === null ? '-' : `${shortTime(Math.max(0, Date.now() - lastSentAt.getTime()))} ago`,
  },
  { title: 'SENT', of: ({ sent }) => String(sent), align: 'right' },
  { title: 'MISSED', of: ({ missed, skipped }) => String(missed + skipped), align: 'right' },
  { title: 'SCHEDULE', of: ({ schedule }) => schedule },
]

function nextOf({ isPaused, nextAt }: ScheduleInfo): string {
  if (isPaused) return 'paused'
  if (nextAt === null) return 'never'
  const inMs = nextAt.getTime() - Date.now()
  return inMs <= 0 ? 'now' : `in ${shortTime(inMs)}`
}

function list(entries: readonly ScheduleInfo[], { json }: ScheduleFlags): void {
  if (json) return printJson(entries)
  if (entries.length === 0) return note('there are no entries; those that the app declares come in when a beat starts')
  print(table(entries, columns))
}

function show(info: ScheduleInfo, { json }: ScheduleFlags): void {
  if (json) return printJson(info)
  const date = (at: Date | null): string | undefined => (at === null ? undefined : localTime(at.getTime()))
  const hasOptions = Object.keys(info.options).length > 0
  print(
    facts([
      ['name', info.name],
      ['task', info.task],
      ['schedule', info.schedule],
      ['next', info.isPaused ? 'paused' : (date(info.nextAt) ?? 'never')],
      ['last', date(info.lastSentAt)],
      ['last due', date(info.lastDueAt)],
      ['last id', info.lastId ?? undefined],
      ['sent', String(info.sent)],
      ['missed', String(info.missed)],
      ['skipped', String(info.skipped)],
      ['last error', info.lastError ?? undefined],
      ['args', info.args.length === 0 ? undefined : pretty(info.args)],
      ['kwargs', Object.keys(info.kwargs).length === 0 ? undefined : pretty(info.kwargs)],
      ['options', hasOptions ? pretty(info.options) : undefined],
      ['catch up', info.catchUp],
      ['overlap', info.overlap],
      ['jitter', info.jitterMs === 0 ? undefined : shortTime(info.jitterMs)],
      ['start', date(info.start)],
      ['end', date(info.end)],
      ['from', info.source === 'code' ? 'the app' : 'added at run time'],
    ]),
  )
}

async function run(app: Celeriac, name: string, { json }: ScheduleFlags): Promise<void> {
  const { id } = await app.schedules.run(name)
  if (json) printJson({ name, id })
  else print(id)
}

async function hold(app: Celeriac, verb: 'pause' | 'resume', name: string, { json }: ScheduleFlags): Promise<void> {
  await app.schedules[verb](name)
  const info = await app.schedules.get(name)
  if (json) printJson(info)
  else print(verb === 'pause' ? `'${name}' is paused` : `'${name}' is resumed; next ${nextOf(info)}`)
}

async function remove(app: Celeriac, name: string, { yes, json }: ScheduleFlags): Promise<void> {
  await app.schedules.get(name)
  if (!(await confirm(`Remove the schedule entry '${name}'?`, yes === true))) return
  await app.schedules.remove(name)
  if (json) printJson({ name, removed: true })
  else print(`removed '${name}'`)
}

async function addEntries(app: Celeriac, name: string | undefined, flags: AddFlags): Promise<void> {
  const { file, json } = flags
  if ((file === undefined) === (name === undefined)) throw new UsageError('give either the name of an entry, or --file')
  const entries =
    file === undefined
      ? { [name as string]: entryOf(flags) }
      : await (await import('../beat/schedule-file.ts')).readScheduleFile(file)
  const added: ScheduleInfo[] = []
  for (const [entryName, entry] of Object.entries(entries)) added.push(await app.schedules.add(entryName, entry))
  if (json) return printJson(file === undefined ? added[0] : added)
  const [first] = added
  if (added.length === 1 && first !== undefined) print(`'${first.name}': ${first.schedule}; next ${nextOf(first)}`)
  else print(`${plural(added.length, 'entry', 'entries')} added`)
}

function entryOf(flags: AddFlags): BeatEntry {
  const { task, queue, priority, expires, args, kwargs, catchUp, catchUpWindow, jitter, start, end } = flags
  if (task === undefined) throw new UsageError('which task? Give --task')
  const options = {
    ...(queue !== undefined && { queue }),
    ...(priority !== undefined && { priority }),
    ...(expires !== undefined && { expires }),
  }
  return {
    task,
    schedule: scheduleOf(flags),
    options,
    ...(args !== undefined && { args }),
    ...(kwargs !== undefined && { kwargs }),
    ...(catchUp !== undefined && { catchUp }),
    ...(catchUpWindow !== undefined && { catchUpWindow }),
    ...(flags.overlap !== undefined && { overlap: flags.overlap }),
    ...(jitter !== undefined && { jitter }),
    ...(start !== undefined && { start }),
    ...(end !== undefined && { end }),
  }
}

function scheduleOf({ every, cron, timezone, at, solar }: AddFlags): ScheduleInput {
  const given = [every, cron, at, solar].filter((flag) => flag !== undefined)
  if (given.length !== 1) throw new UsageError('when? Give one of --every, --cron, --at and --solar')
  if (timezone !== undefined && cron === undefined) throw new UsageError('--timezone is for --cron')
  if (every !== undefined) return { every }
  if (cron !== undefined) return { cron, ...(timezone !== undefined && { timezone }) }
  if (at !== undefined) return { at }
  const [event, lat, lon] = solar as string[]
  return { solar: { event: event as SolarPlace['event'], lat: Number(lat), lon: Number(lon) } }
}
