/** The flags of `npm start`, read and checked once. */
import { parseArgs } from 'node:util'
import { nearest } from '../../src/nearest.ts'

export interface Flags {
  readonly once: boolean
  readonly json: boolean
  readonly kill: boolean
  readonly help: boolean
  readonly orders: number
  readonly seed: number
  readonly courierFailure: number
  readonly courierLatencyMs: number
  readonly workers: number
  readonly pickers: number
  readonly batch: number
  readonly port: number
  readonly deadlineMs: number
  /** Undefined: a new SQLite file. */
  readonly broker: string | undefined
  /** Undefined: the orders that come with the example. */
  readonly file: string | undefined
}

/** A mistake on the command line; the message says what to write instead. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

export const usage = `Runs the warehouse: an order receiver, a courier, and a worker process for each of three stages.

Usage: npm start -- [flags]

  --once                 end when every order is through, with a summary; exit code 0 only if all books agree
  --orders <n>           orders to feed from the file (500 with --once, else 300)
  --seed <n>             luck of the courier and of --kill (1)
  --courier-failure <p>  share of the courier's answers that fail, 0 to 1 (0.2)
  --courier-latency <ms> half of the courier's answers take longer (150)
  --kill                 kill a random worker with SIGKILL every second
  --workers <n>          worker processes per stage (1)
  --pickers <n>          pickers in each worker process (3)
  --batch <n>            orders that a picker takes on one trip to the aisles (1)
  --broker <url>         redis://…, amqp://… or another SQLite file (a new one)
  --file <path>          another file of orders
  --port <n>             port of the receiver (any free one)
  --deadline <s>         give up on --once after so many seconds (120, and a second for every 10 orders)
  --json                 print nothing to stdout but the summary, as one JSON object
  --help
`

const switches = ['once', 'json', 'kill', 'help'] as const
const values = [
  'orders',
  'seed',
  'courier-failure',
  'courier-latency',
  'workers',
  'pickers',
  'batch',
  'broker',
  'file',
  'port',
  'deadline',
] as const

type Value = (typeof values)[number]

/** @throws UsageError */
export function parseFlags(args: readonly string[]): Flags {
  const given = read(args)
  const on = (name: (typeof switches)[number]): boolean => given.get(name) === true
  const text = (name: Value): string | undefined => given.get(name) as string | undefined
  const number = (name: Value, byDefault: number, from: number, to: number): number => {
    const value = Number(text(name) ?? byDefault)
    if (value >= from && value <= to) return value
    throw new UsageError(`--${name} must be a number ${rangeOf(from, to)}, got '${text(name)}'`)
  }
  const whole = (name: Value, byDefault: number, from: number, to = Infinity): number => {
    const value = Number(text(name) ?? byDefault)
    if (value >= from && value <= to && Number.isInteger(value)) return value
    throw new UsageError(`--${name} must be a whole number ${rangeOf(from, to)}, got '${text(name)}'`)
  }

  const orders = whole('orders', on('once') ? 500 : 300, 1)
  return {
    once: on('once'),
    json: on('json'),
    kill: on('kill'),
    help: on('help'),
    orders,
    seed: whole('seed', 1, 0),
    courierFailure: number('courier-failure', 0.2, 0, 1),
    courierLatencyMs: number('courier-latency', 150, 0, 60_000),
    workers: whole('workers', 1, 1, 16),
    pickers: whole('pickers', 3, 1, 64),
    batch: whole('batch', 1, 1, 1_000),
    port: whole('port', 0, 0, 65_535),
    deadlineMs: number('deadline', 120 + orders / 10, 1, 1_000_000) * 1_000,
    broker: text('broker'),
    file: text('file'),
  }
}

function rangeOf(from: number, to: number): string {
  return to === Infinity ? `of at least ${from}` : `from ${from} to ${to}`
}

function read(args: readonly string[]): Map<string, string | true> {
  const known = [...switches, ...values]
  const { tokens } = parseArgs({
    args: [...args],
    options: Object.fromEntries([
      ...switches.map((name) => [name, { type: 'boolean' as const }]),
      ...values.map((name) => [name, { type: 'string' as const }]),
    ]),
    strict: false,
    tokens: true,
  })
  const given = new Map<string, string | true>()
  for (const token of tokens) {
    if (token.kind === 'positional') throw new UsageError(`unexpected '${token.value}'; flags begin with --`)
    if (token.kind !== 'option') continue
    const { name, rawName, value } = token
    if (!known.some((one) => one === name)) {
      const guess = nearest(name, known)
      throw new UsageError(`unknown flag ${rawName}; ${guess ? `did you mean --${guess}?` : 'see --help'}`)
    }
    const isSwitch = switches.some((one) => one === name)
    if (isSwitch && value !== undefined) throw new UsageError(`${rawName} takes no value, got '${value}'`)
    if (!isSwitch && (value === undefined || value === '')) throw new UsageError(`${rawName} needs a value`)
    given.set(name, value ?? true)
  }
  return given
}
