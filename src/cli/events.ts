/** `celeriac events`: prints what the fleet says of itself, as it comes. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import { type Duration, shortTime, toMs } from '../duration.ts'
import { isOfTypes, type ReceivedEvent } from '../events/received-event.ts'
import { receiveEvents } from '../events/receiver.ts'
import { FleetState } from '../events/state.ts'
import { addConnectionFlags, type ConnectionFlags, withApp } from './connection.ts'
import { jsonOf, localTime, note, print, printJson } from './output.ts'
import { onSignals } from './signals.ts'
import { type Colour, columnsOf, type Paint, painter } from './terminal.ts'
import { clip, visible } from './text-width.ts'
import { duration, list } from './values.ts'

interface EventsFlags extends ConnectionFlags {
  readonly types?: string[]
  readonly for?: Duration
  readonly json?: true
}

export function addEventsCommand(program: Command): void {
  const command = program
    .command('events')
    .summary('print what workers and tasks report')
    .description('Prints the events of workers and tasks as they come, until Ctrl-C.')
  addConnectionFlags(command)
    .option('--types <types>', 'only these, such as task-failed,worker-* (default: all)', list)
    .option('--for <time>', 'end after this long', duration)
    .option('--json', 'print each as one JSON object on a line')
    .addHelpText(
      'after',
      `
Workers always report their heartbeats; tasks are reported where events are enabled:
by \`celeriac control enable_events\`, or by \`celery worker -E\` in Python.

Examples:
  celeriac events -A app.ts
  celeriac events -A app.ts --types task-failed,task-retried
  celeriac events -b redis://localhost --json --for 1m > events.ndjson`,
    )
    .action((flags: EventsFlags) => withApp(flags, 'existing', (app) => events(app, flags)))
}

async function events(app: Celeriac, flags: EventsFlags): Promise<void> {
  const { types, json } = flags
  // Most events of a task do not say its name; those that came before do.
  const fleet = new FleetState()
  const paint = painter(process.stdout)
  const width = (): number => columnsOf(process.stdout)
  const over = ended(flags.for)
  const isShown = (type: string): boolean => types === undefined || isOfTypes(type, types)
  const subscription = await receiveEvents(await app.bus(), (event) => {
    fleet.apply(event)
    if (!isShown(event.type)) return
    if (json) printJson(event)
    else print(eventLine(event, fleet.task(event.uuid ?? '')?.name ?? null, paint, width()))
  })
  note('celeriac: listening; Ctrl-C ends it')
  await over
  await subscription.close()
}

/** Ctrl-C, the end of the time, or a reader that has gone. */
function ended(limit: Duration | undefined): Promise<void> {
  return new Promise((resolve) => {
    onSignals({ stages: [resolve] })
    process.stdout.once('error', () => resolve())
    if (limit !== undefined) setTimeout(resolve, toMs(limit, 'for'))
  })
}

const shownElsewhere = new Set([
  'type',
  'hostname',
  'timestamp',
  'utcoffset',
  'pid',
  'clock',
  'uuid',
  'name',
  'traceback',
])
const colours: readonly (readonly [RegExp, Colour])[] = [
  [/-(failed|offline|rejected)$/, 'red'],
  [/-(retried|revoked|cancelled)$/, 'yellow'],
  [/-(succeeded|online)$/, 'green'],
  [/-heartbeat$/, 'dim'],
]

/** When, who, what; for a task its name and id; then what else it says. */
export function eventLine(event: ReceivedEvent, taskName: string | null, paint: Paint, width: number): string {
  const { type, hostname = '?', timestamp, uuid } = event
  const at = timestamp === undefined ? '-'.padEnd(12) : localTime(timestamp * 1_000).slice(11)
  const name = typeof event.name === 'string' ? event.name : taskName
  const rest = Object.entries(event)
    .filter(([field, value]) => !shownElsewhere.has(field) && value !== null && value !== undefined)
    .map(
      ([field, value]) =>
        `${field}=${field === 'runtime' ? runtime(value) : typeof value === 'string' ? value : jsonOf(value)}`,
    )
  const words = [at, hostname, type, ...(uuid === undefined ? [] : [name ?? '?', uuid]), ...rest].map(visible)
  const line = clip(words.join('  '), width)
  const colour = colours.find(([pattern]) => pattern.test(type))?.[1] ?? 'cyan'
  return line.replace(visible(type), (text) => paint(colour, text))
}

function runtime(value: unknown): string {
  return typeof value === 'number' ? shortTime(value * 1_000) : jsonOf(value)
}
