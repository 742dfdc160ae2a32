/** What the commands that talk to workers have in common: whom they ask, how long they wait, what silence means. */
import type { Command } from 'commander'
import { type Duration, shortTime, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { addConnectionFlags, type ConnectionFlags } from './connection.ts'
import { exitCodes } from './failure.ts'
import { note } from './output.ts'
import { duration, list, UsageError } from './values.ts'

export interface FleetFlags extends ConnectionFlags {
  readonly destination?: string[]
  readonly timeout?: Duration
  readonly json?: true
}

const defaultTimeout = 1
/** Columns of the help for a method and what it takes. */
const usageWidth = 22

export function addFleetFlags(command: Command): Command {
  return addConnectionFlags(command)
    .option('-d, --destination <nodes>', 'only these workers, such as w1@host,w2@host (default: all)', list)
    .option('-t, --timeout <time>', 'how long answers are waited for (default: 1 s)', duration)
}

/** The flags as options of a question to the workers. */
export function addressing({ destination, timeout = defaultTimeout }: FleetFlags): {
  readonly timeout: Duration
  readonly destination?: readonly string[]
} {
  return { timeout, ...(destination !== undefined && { destination }) }
}

/** Says who was silent, and makes the command fail for it. */
export function tellSilence(answered: readonly string[], { destination, timeout = defaultTimeout }: FleetFlags): void {
  const within = `within ${shortTime(toMs(timeout, 'timeout'))}`
  const silent = destination?.filter((node) => !answered.includes(node)) ?? []
  if (answered.length > 0 && silent.length === 0) return
  process.exitCode = exitCodes.failed
  if (answered.length === 0 && destination === undefined) {
    note(
      `celeriac: no worker answered ${within}; is one running on this broker? \`celeriac queue list\` shows who consumes, ` +
        '`celeriac doctor` what is wrong; busy workers may need longer: -t 5',
    )
  } else {
    note(
      `celeriac: ${silent.join(', ')} did not answer ${within}; \`celeriac status\` shows the names of those that do`,
    )
  }
}

/** A method by its name in any manner of writing: `active_queues`, `active-queues`, `activeQueues`. */
export function methodNamed<Method>(
  text: string,
  methods: Readonly<Record<string, Method>>,
  aliases: Readonly<Record<string, string>>,
  command: string,
): { readonly name: string; readonly method: Method } {
  const plain = (name: string): string => name.replace(/[-_]/g, '').toLowerCase()
  const names = [...Object.keys(methods), ...Object.keys(aliases)]
  const found = names.find((name) => plain(name) === plain(text))
  if (found === undefined) {
    const guess = nearest(text, names)
    throw new UsageError(
      `\`celeriac ${command}\` has no method '${text}'; ${guess === undefined ? '' : `did you mean '${guess}'? `}` +
        `It has ${Object.keys(methods).join(', ')}`,
    )
  }
  const name = aliases[found] ?? found
  return { name, method: methods[name] as Method }
}

/** How a method's arguments are written: `<needed>`, `[optional]`, `[any...]`. @throws UsageError for too few or many */
export function checkArguments(command: string, name: string, takes: string, words: readonly string[]): void {
  const places = takes === '' ? [] : takes.split(' ')
  const needed = places.filter((place) => place.startsWith('<')).length
  const most = takes.includes('...') ? Number.POSITIVE_INFINITY : places.length
  if (words.length >= needed && words.length <= most) return
  throw new UsageError(`it is \`celeriac ${command} ${[name, ...places].join(' ')}\`, got ${words.length} arguments`)
}

/** The methods with what they take, for the help; a long usage stands on a line of its own. */
export function describeMethods(
  methods: Readonly<Record<string, { readonly takes: string; readonly does: string }>>,
): string {
  return Object.entries(methods)
    .map(([name, { takes, does }]) => {
      const usage = `${name} ${takes}`.trim()
      const room = ' '.repeat(usageWidth + 4)
      return usage.length > usageWidth ? `  ${usage}\n${room}${does}` : `  ${usage.padEnd(usageWidth)}  ${does}`
    })
    .join('\n')
}

/** What the client refuses was typed wrongly here. */
export async function asUsage<T>(work: Promise<T>): Promise<T> {
  try {
    return await work
  } catch (error) {
    if (error instanceof CeleriacError && error.code === 'CONFIG_INVALID') throw new UsageError(error.message)
    throw error
  }
}
