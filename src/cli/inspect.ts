/** `celeriac inspect`: asks the workers. */
import type { Command } from 'commander'
import type { Celeriac } from '../app.ts'
import type { Inspect } from '../control/inspect.ts'
import type { Replies } from '../control/replies.ts'
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
import { showReplies } from './replies.ts'

interface Method {
  /** Its arguments, as in a usage line. */
  readonly takes: string
  readonly does: string
  readonly ask: (inspect: Inspect, words: readonly string[]) => Promise<Replies<unknown>>
}

const methods: Readonly<Record<string, Method>> = {
  active: { takes: '', does: 'what is running', ask: (inspect) => inspect.active() },
  active_queues: { takes: '', does: 'queues they consume', ask: (inspect) => inspect.activeQueues() },
  clock: { takes: '', does: 'logical clocks', ask: (inspect) => inspect.clock() },
  conf: {
    takes: '[defaults]',
    does: 'settings that were changed; with `defaults` all of them',
    ask: (inspect, [word]) => inspect.conf({ withDefaults: word !== undefined && !/^(false|no|0)$/i.test(word) }),
  },
  memdump: {
    takes: '[samples]',
    does: 'what memsample gathered',
    ask: (inspect, [samples]) => inspect.memdump(samples === undefined ? {} : { samples: Number(samples) }),
  },
  memsample: { takes: '', does: 'memory in use', ask: (inspect) => inspect.memsample() },
  objgraph: {
    takes: '[type] [num] [max_depth]',
    does: 'a picture of objects in memory, made by Python workers',
    ask: (inspect, [type, num, maxDepth]) =>
      inspect.objgraph({
        ...(type !== undefined && { type }),
        ...(num !== undefined && { num: Number(num) }),
        ...(maxDepth !== undefined && { maxDepth: Number(maxDepth) }),
      }),
  },
  ping: { takes: '', does: 'who is there', ask: (inspect) => inspect.ping() },
  query_task: {
    takes: '<id> [id...]',
    does: 'where these tasks are, of those a worker has',
    ask: (inspect, ids) => inspect.queryTask(...ids),
  },
  registered: {
    takes: '[option...]',
    does: 'tasks they know; with options such as rate_limit shown',
    ask: (inspect, items) => inspect.registered(...items),
  },
  report: { takes: '', does: 'versions and settings, for bug reports', ask: (inspect) => inspect.report() },
  reserved: { takes: '', does: 'what was received and not started', ask: (inspect) => inspect.reserved() },
  revoked: { takes: '', does: 'ids that are not to be run', ask: (inspect) => inspect.revoked() },
  scheduled: { takes: '', does: 'what they keep until it is due', ask: (inspect) => inspect.scheduled() },
  stats: { takes: '', does: 'counts, the pool, the broker', ask: (inspect) => inspect.stats() },
}

/** Celery's older names. */
const aliases: Readonly<Record<string, string>> = {
  dump_active: 'active',
  dump_conf: 'conf',
  dump_reserved: 'reserved',
  dump_revoked: 'revoked',
  dump_schedule: 'scheduled',
  dump_tasks: 'registered',
}

export function addInspectCommand(program: Command): void {
  const command = program
    .command('inspect')
    .summary('ask the workers what they do')
    .description('Asks the workers on the broker, also those of Python, and prints what each answers.')
    .argument('<method>', 'what to ask, see below')
    .argument('[args...]', 'what the method takes')
  addFleetFlags(command)
    .option('--json', 'print one JSON object: the answers by node name')
    .addHelpText(
      'after',
      `
Methods:
${describeMethods(methods)}

Exit code 1 if no worker answered, one of -d was silent, or one answered with
an error.

Examples:
  celeriac inspect active -A app.ts
  celeriac inspect registered rate_limit -b redis://localhost -d w1@host
  celeriac inspect stats -A app.ts --json`,
    )
    .action((word: string, words: string[], flags: FleetFlags) => {
      const { name, method } = methodNamed(word, methods, aliases, 'inspect')
      checkArguments('inspect', name, method.takes, words)
      return withApp(flags, 'existing', (app) => inspect(app, method, words, flags))
    })
}

async function inspect(app: Celeriac, method: Method, words: readonly string[], flags: FleetFlags): Promise<void> {
  showReplies(await asUsage(method.ask(app.control.inspect(addressing(flags)), words)), flags, true)
}
