/** `celeriac control`: tells the workers what to do. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { ControlOptions } from '../control/addressing.ts'
import type { Control } from '../control/client.ts'
import type { Replies } from '../control/replies.ts'
import type { Duration } from '../duration.ts'
import { withApp } from './connection.ts'
import {
  addFleetFlags,
  addressing,
  asUsage,
  checkArguments,
  describeMethods,
  type FleetFlags,
  methodNamed,
} from './fleet-flags.ts'
import { note, printJson } from './output.ts'
import { showReplies } from './replies.ts'
import { UsageError } from './values.ts'

interface Method {
  /** Its arguments, as in a usage line. */
  readonly takes: string
  readonly does: string
  readonly tell: (control: Control, words: readonly string[], options: ControlOptions) => Promise<Replies<unknown>>
  /** Workers say nothing to it. */
  readonly isSilent?: true
}

const methods: Readonly<Record<string, Method>> = {
  add_consumer: {
    takes: '<queue> [exchange] [exchange_type] [routing_key]',
    does: 'consume one queue more',
    tell: (control, [queue = '', exchange, exchangeType, routingKey], options) =>
      control.addConsumer(queue, { ...options, exchange, exchangeType, routingKey }),
  },
  autoscale: {
    takes: '<max> <min>',
    does: 'bounds of a pool that scales itself',
    tell: (control, [max, min], options) => control.autoscale(Number(max), Number(min), options),
  },
  cancel_consumer: {
    takes: '<queue>',
    does: 'consume a queue no longer',
    tell: (control, [queue = ''], options) => control.cancelConsumer(queue, options),
  },
  disable_events: {
    takes: '',
    does: 'send no task events',
    tell: (control, _words, options) => control.disableEvents(options),
  },
  election: {
    takes: '<id> <topic> [action]',
    does: 'Python workers elect one to do it; the action is JSON',
    tell: (control, [id = '', topic = '', action], options) => control.election(id, topic, jsonOrText(action), options),
    isSilent: true,
  },
  enable_events: {
    takes: '',
    does: 'send task events',
    tell: (control, _words, options) => control.enableEvents(options),
  },
  heartbeat: {
    takes: '',
    does: 'send a heartbeat event now',
    tell: (control, _words, options) => control.heartbeat(options),
    isSilent: true,
  },
  pool_grow: {
    takes: '[n]',
    does: 'more slots (default: 1)',
    tell: (control, [n = '1'], options) => control.poolGrow(Number(n), options),
  },
  pool_restart: { takes: '', does: 'new processes', tell: (control, _words, options) => control.poolRestart(options) },
  pool_shrink: {
    takes: '[n]',
    does: 'fewer slots (default: 1)',
    tell: (control, [n = '1'], options) => control.poolShrink(Number(n), options),
  },
  rate_limit: {
    takes: '<task> <rate>',
    does: "how many are started: '10/s', '100/m', '1000/h'; 0 lifts it",
    tell: (control, [task = '', rate = ''], options) => control.rateLimit(task, rate, options),
  },
  revoke: {
    takes: '<id> [id...]',
    does: 'do not run these tasks',
    tell: (control, ids, options) => control.revoke(ids, options),
  },
  revoke_by_stamped_headers: {
    takes: '<key=value> [key=value...]',
    does: 'do not run tasks with one of these stamps',
    tell: (control, pairs, options) => control.revokeByStampedHeaders(stamps(pairs), options),
  },
  shutdown: {
    takes: '',
    does: 'finish what runs, then end',
    tell: (control, _words, options) => control.shutdown(options),
    isSilent: true,
  },
  terminate: {
    takes: '<signal> <id> [id...]',
    does: 'end these tasks, also where they run',
    tell: (control, [signal, ...ids], options) => control.terminate(ids, { ...options, signal }),
  },
  time_limit: {
    takes: '<task> <soft> [hard]',
    does: 'time limits of a task, in seconds or such as 5m',
    tell: (control, [task = '', soft = '', hard], options) =>
      control.timeLimit(task, { ...options, soft: limitOf(soft), hard: hard === undefined ? null : limitOf(hard) }),
  },
}

export function addControlCommand(program: Command): void {
  const command = program
    .command('control')
    .summary('tell the workers what to do')
    .description('Tells the workers on the broker, also those of Python, what to do, and prints what each answers.')
    .argument('<method>', 'what to do, see below')
    .argument('[args...]', 'what the method takes')
  addFleetFlags(command)
    .option('--json', 'print one JSON object: the answers by node name')
    .addHelpText(
      'after',
      `
Methods:
${describeMethods(methods)}

Without -d it is for all workers. Exit code 1 if none answered, one of -d was
silent, or one answered with an error. Nobody answers to ${silentNames().join(', ')}.

Examples:
  celeriac control enable_events -A app.ts
  celeriac control rate_limit shop.mail 100/m -A app.ts
  celeriac control terminate SIGKILL 2f1c… -A app.ts
  celeriac control shutdown -b redis://localhost -d w1@host`,
    )
    .action((word: string, words: string[], flags: FleetFlags) => {
      const { name, method } = methodNamed(word, methods, {}, 'control')
      checkArguments('control', name, method.takes, words)
      return withApp(flags, 'existing', (app) => control(app, name, words, flags))
    })
}

async function control(app: Celeriac, name: string, words: readonly string[], flags: FleetFlags): Promise<void> {
  const { tell, isSilent } = methods[name] as Method
  const replies = await asUsage(tell(app.control, words, { ...addressing(flags), reply: isSilent !== true }))
  if (!isSilent) return showReplies(replies, flags, true)
  if (flags.json) printJson(replies)
  const whom = flags.destination?.join(', ') ?? 'all workers'
  note(`sent to ${whom}; they do not answer to ${name}, \`celeriac status\` shows who is there`)
}

function silentNames(): string[] {
  return Object.keys(methods).filter((name) => methods[name]?.isSilent)
}

/** Seconds, or a time with its unit; the client says what is wrong with others. */
function limitOf(text: string): Duration {
  return (/^[\d.]+$/.test(text) ? Number(text) : text) as Duration
}

function stamps(pairs: readonly string[]): Record<string, string[]> {
  const found = new Map<string, string[]>()
  for (const pair of pairs) {
    const at = pair.indexOf('=')
    if (at < 1) throw new UsageError(`a stamp is written key=value, got '${pair}'`)
    const key = pair.slice(0, at)
    found.set(key, [...(found.get(key) ?? []), pair.slice(at + 1)])
  }
  return Object.fromEntries(found)
}

function jsonOrText(text: string | undefined): unknown {
  if (text === undefined) return null
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
