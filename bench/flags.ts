/** The command line: checked once, into a plan in which nothing is optional. */
import { parseArgs } from 'node:util'
import { type ScenarioName, scenarioNames } from './scenarios/names.ts'
import { type BrokerName, brokerNames, type Durability, type SideName, sideNames } from './sides/side.ts'

const whoNames = [...sideNames, 'raw'] as const
const durabilities = ['full', 'group', 'relaxed'] as const

export interface Flags {
  readonly brokers: readonly BrokerName[]
  readonly scenarios: readonly ScenarioName[]
  readonly sides: readonly (SideName | 'raw')[]
  /** Tasks of a measurement; undefined leaves each scenario its own number. */
  readonly count: number | undefined
  readonly rounds: number
  readonly durability: Durability
  /** Where the JSON lines go; undefined means standard output. */
  readonly json: string | undefined
  readonly quick: boolean
  readonly profile: boolean
}

export const help = `Usage: npm run bench -- [options]

  --broker LIST      ${brokerNames.join(',')}   (default: sqlite)
  --scenario LIST    ${scenarioNames.slice(0, 6).join(',')},
                     ${scenarioNames.slice(6).join(',')}   (default: all the broker has)
  --side LIST        ${whoNames.join(',')}   (default: all)
  --count N          tasks in each measurement   (default: each scenario's own)
  --rounds N         rounds, each side once in every one; the median counts   (default: 3)
  --durability NAME  full, group or relaxed, for Celeriac and the raw ceiling on SQLite   (default: group)
  --json FILE        write the JSON lines to FILE instead of standard output
  --quick            one small round of everything, to see that it works; too short to judge by
  --profile          run only Celeriac's drain, under Node's CPU profiler, and print where the time goes
  --help`

/** A command line that cannot be followed; the message says what to write instead. */
export class UsageError extends Error {}

const options = {
  broker: { type: 'string' },
  scenario: { type: 'string' },
  side: { type: 'string' },
  count: { type: 'string' },
  rounds: { type: 'string' },
  durability: { type: 'string' },
  json: { type: 'string' },
  quick: { type: 'boolean' },
  profile: { type: 'boolean' },
  help: { type: 'boolean' },
} as const

/** Undefined when help was asked for. @throws UsageError */
export function readFlags(args: readonly string[]): Flags | undefined {
  const values = parse(args)
  if (values.help) return undefined
  const quick = values.quick ?? false
  return {
    brokers: list('--broker', values.broker ?? 'sqlite', brokerNames),
    scenarios: list('--scenario', values.scenario, scenarioNames),
    sides: list('--side', values.side, whoNames),
    count: values.count === undefined ? undefined : whole('--count', values.count),
    rounds: values.rounds === undefined ? (quick ? 1 : 3) : whole('--rounds', values.rounds),
    durability: oneOf('--durability', values.durability ?? 'group', durabilities),
    json: values.json,
    quick,
    profile: values.profile ?? false,
  }
}

function parse(args: readonly string[]) {
  for (const arg of args) {
    const name = /^--([^=]+)/.exec(arg)?.[1]
    if (arg.startsWith('-') && (name === undefined || !(name in options))) {
      const near = nearest(name ?? arg, Object.keys(options))
      throw new UsageError(`unknown option ${arg}: did you mean --${near}? All options: --help`)
    }
  }
  try {
    return parseArgs({ args: [...args], options, strict: true, allowPositionals: false }).values
  } catch (error) {
    throw new UsageError(`${(error as Error).message.split('. ')[0]}. All options: --help`)
  }
}

function list<T extends string>(flag: string, text: string | undefined, known: readonly T[]): readonly T[] {
  if (text === undefined) return known
  const asked = text.split(',').map((name) => oneOf(flag, name.trim(), known))
  return known.filter((name) => asked.includes(name))
}

function oneOf<T extends string>(flag: string, value: string, known: readonly T[]): T {
  const found = known.find((name) => name === value)
  if (found !== undefined) return found
  throw new UsageError(`${flag} takes ${known.join(', ')}, got '${value}': did you mean '${nearest(value, known)}'?`)
}

function whole(flag: string, text: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1) return value
  throw new UsageError(`${flag} must be an integer of at least 1, got '${text}'`)
}

function nearest(word: string, known: readonly string[]): string {
  const byDistance = known.map((name) => ({ name, distance: distance(word, name) }))
  return byDistance.sort((a, b) => a.distance - b.distance)[0]?.name ?? ''
}

/** Levenshtein's: single letters added, dropped or changed. */
function distance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const changed = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, changed))
    }
    row = next
  }
  return row[b.length] ?? 0
}
