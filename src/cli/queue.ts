/** `celeriac queue`: looks at the queues, empties one, holds one, lets it go on. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { QueueInfo } from '../broker/broker.ts'
import { shortTime } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { deadSuffix } from '../send/dead-letters.ts'
import { markerQueue } from '../send/migration-ledger.ts'
import { confirm } from './confirm.ts'
import { addConnectionFlags, type ConnectionFlags, withApp } from './connection.ts'
import { type Column, note, plural, print, printJson, table } from './output.ts'

interface QueueFlags extends ConnectionFlags {
  readonly json?: true
  readonly yes?: true
}

export function addQueueCommand(program: Command): void {
  const queue = program
    .command('queue')
    .summary('look at queues, empty, pause and resume them')
    .description('Looks at queues, empties, pauses and resumes them.')
    .helpCommand(false)
    .addHelpText(
      'after',
      `
Examples:
  celeriac queue list -A app.ts
  celeriac queue pause picking -A app.ts     what runs may end; no more is taken
  celeriac queue resume picking -A app.ts    the next in line are taken
  celeriac queue purge picking -A app.ts --yes`,
    )
  addConnectionFlags(queue.command('list').description('Every queue: what waits, what is under way, who serves it.'))
    .option('--json', 'print a JSON array')
    .action((flags: QueueFlags) => withApp(flags, 'existing', (app) => list(app, flags)))
  addConnectionFlags(
    queue
      .command('purge')
      .description('Drops every message that waits in a queue. What is running goes on.')
      .argument('<name>', 'the queue'),
  )
    .option('--yes', 'do not ask')
    .option('--json', 'print one JSON object')
    .action((name: string, flags: QueueFlags) => withApp(flags, 'existing', (app) => purge(app, name, flags)))
  for (const [verb, description] of [
    ['pause', 'Gives nobody messages of a queue, until it is resumed. Sending goes on.'],
    ['resume', 'Lets a paused queue go on.'],
  ] as const) {
    addConnectionFlags(queue.command(verb).description(description).argument('<name>', 'the queue'))
      .option('--json', 'print one JSON object')
      .action((name: string, flags: QueueFlags) => withApp(flags, 'existing', (app) => hold(app, verb, name, flags)))
  }
}

const columns: readonly Column<QueueInfo>[] = [
  { title: 'QUEUE', of: ({ queue }) => queue },
  { title: 'READY', of: ({ ready }) => String(ready), align: 'right' },
  { title: 'DELAYED', of: ({ delayed }) => String(delayed), align: 'right' },
  { title: 'RUNNING', of: ({ inFlight }) => String(inFlight), align: 'right' },
  { title: 'WORKERS', of: ({ consumers }) => String(consumers), align: 'right' },
  { title: 'OLDEST', of: ({ oldestMs }) => (oldestMs === null ? '-' : shortTime(oldestMs)), align: 'right' },
  { title: '', of: queueRemark, paint: (info, text, paint) => paint(info.paused ? 'yellow' : 'dim', text) },
]

/** What is to be said of a queue in a word or two. */
export function queueRemark({ queue, paused, ready, consumers }: QueueInfo): string {
  if (paused) return 'paused'
  if (queue === markerQueue) return 'of a migration that was ended'
  if (queue.endsWith(deadSuffix)) return ready === 0 ? '' : 'dead letters'
  return ready > 0 && consumers === 0 ? 'no worker' : ''
}

async function list(app: Celeriac, { json }: QueueFlags): Promise<void> {
  const queues = (await app.broker.queues()).filter((info) => info.queue !== markerQueue || info.ready > 0)
  if (json) return printJson(queues)
  if (queues.length === 0) return note('there are no queues yet')
  print(table(queues, columns))
}

async function purge(app: Celeriac, name: string, { yes, json }: QueueFlags): Promise<void> {
  const { ready, delayed } = await existing(app, name)
  const waiting = ready + delayed
  if (waiting > 0 && !(await confirm(`Drop ${plural(waiting, 'message')} of '${name}'?`, yes === true))) return
  const purged = await app.broker.purge(name)
  if (json) printJson({ queue: name, purged })
  else print(`dropped ${plural(purged, 'message')} of '${name}'`)
}

async function hold(app: Celeriac, verb: 'pause' | 'resume', name: string, { json }: QueueFlags): Promise<void> {
  await existing(app, name)
  await app.broker[verb](name)
  if (json) return printJson({ queue: name, paused: verb === 'pause' })
  const { ready } = await app.broker.depth(name)
  print(`'${name}' is ${verb === 'pause' ? 'paused' : 'resumed'}; ${plural(ready, 'message')} ready`)
}

/** A mistyped name must not pause a queue that does not exist. A queue of the app exists before its first message. */
async function existing(app: Celeriac, name: string): Promise<{ ready: number; delayed: number }> {
  const queues = await app.broker.queues()
  const found = queues.find(({ queue }) => queue === name)
  if (found !== undefined) return found
  const ofApp = app.registry.names().length === 0 ? [] : app.queues
  if (ofApp.includes(name)) return { ready: 0, delayed: 0 }
  const names = [...new Set([...queues.map(({ queue }) => queue), ...ofApp])]
  const guess = nearest(name, names)
  const advice = guess === undefined ? `there are ${names.join(', ') || 'none yet'}` : `did you mean '${guess}'?`
  throw new CeleriacError('CONFIG_INVALID', `there is no queue '${name}'; ${advice}`)
}
