/** What every scenario works with: fresh stores, turns, and somewhere to put its samples. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import type { Flags } from '../flags.ts'
import { endLeftovers } from '../harness/processes.ts'
import type { Servers } from '../harness/servers.ts'
import type { Exactness } from '../harness/tally.ts'
import type { Measurement, Sample } from '../report/measurement.ts'
import type { BrokerName, QueueType, Setting, SideName, Store } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'

export interface Bench {
  readonly flags: Flags
  /** The broker that is being measured. */
  readonly broker: BrokerName
  /** Celeriac and the peers taking part; the raw ceiling is `measuresRaw`. */
  readonly sides: readonly SideName[]
  readonly measuresRaw: boolean
  /** Bytes of one of Celeriac's stored messages, and so of a raw one. */
  readonly messageBytes: number
  readonly servers: Servers
  /** Where stores are made; on the file system whose speed is being measured. */
  readonly directory: string
  readonly samples: Sample[]
  readonly failures: string[]
  log(text: string): void
}

export type Scenario = (bench: Bench) => Promise<void>

/** One side at one setting: measured once in every round. */
export interface Turn {
  readonly name: string
  run(): Promise<void>
}

/** Rounds in which everybody has a turn; every other round in reverse, so that nobody always follows the same one. */
export async function takeTurns(bench: Bench, turns: readonly Turn[], rounds = bench.flags.rounds): Promise<void> {
  for (let round = 0; round < rounds; round++) {
    for (const { name, run } of round % 2 === 0 ? turns : [...turns].reverse()) {
      bench.log(`round ${round + 1}/${rounds}  ${name}`)
      try {
        await run()
      } catch (error) {
        const failure = `${bench.broker} ${name}: ${error instanceof Error ? error.message : String(error)}`
        bench.failures.push(failure)
        bench.log(`FAILED  ${failure}`)
        endLeftovers()
      }
    }
  }
}

export interface StoreOptions {
  /** @default false */
  readonly keepsResults?: boolean
  /** Added to the way to the broker, in ms, in each direction. @default 0 */
  readonly latencyMs?: number
  /** @default 'classic' */
  readonly queueType?: QueueType
}

/** Lends a side an empty store, and removes what was in it afterwards. */
export async function withStore(
  bench: Bench,
  side: SideName | 'raw',
  use: (store: Store) => Promise<void>,
  { keepsResults = false, latencyMs = 0, queueType = 'classic' }: StoreOptions = {},
): Promise<void> {
  await mkdir(bench.directory, { recursive: true })
  const directory = await mkdtemp(join(bench.directory, 'store-'))
  // BullMQ is a guest where another broker is measured.
  const broker = side === 'bullmq' ? 'redis' : bench.broker
  try {
    const url = await bench.servers.emptied(broker, { directory, latencyMs })
    const resultsUrl = !keepsResults
      ? undefined
      : broker === 'redis'
        ? url
        : await bench.servers.emptied('redis', { directory, latencyMs })
    await use({ broker, url, resultsUrl, directory, durability: bench.flags.durability, queueType })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** How many tasks: what the user asked for, or this scenario's own number, or the side's share of it. */
export function size(bench: Bench, full: number, quick: number, side?: SideName | 'raw'): number {
  if (bench.flags.count !== undefined) return bench.flags.count
  const share = side === undefined ? 1 : side === 'raw' ? rawOf[bench.broker].share : traits[side].share
  return Math.max(100, Math.round((bench.flags.quick ? quick : full) * share))
}

/** So many tasks make a side's code warm, as it is in a process that has run for a minute. */
export function warmUpOf(bench: Bench, side: SideName): number {
  return Math.max(200, (bench.flags.quick ? 500 : 2_000) * traits[side].share)
}

/** The setting at which a side drains fastest. */
export function busySetting(side: SideName): Setting {
  const { settings } = traits[side]
  return settings[settings.length - 1] ?? settings[0]
}

export interface Figure {
  readonly metric: string
  readonly unit: string
  readonly value: number
  readonly better: Measurement['better']
}

/** Puts one round's figures of one configuration on record; all of them share its count of deliveries. */
export function record(
  bench: Bench,
  of: { scenario: string; side: Measurement['side']; variant?: string; count: number; exactness: Exactness },
  figures: readonly Figure[],
): void {
  const load = loadavg()[0] ?? 0
  for (const figure of figures) {
    bench.samples.push({ broker: bench.broker, variant: '', ...of, ...figure, load })
  }
}

export function rate(metric: string, value: number): Figure {
  return { metric, unit: '/s', value, better: 'higher' }
}

export function time(metric: string, value: number, unit: 'ms' | 'µs' = 'ms'): Figure {
  return { metric, unit, value, better: 'lower' }
}

export function megabytes(metric: string, value: number): Figure {
  return { metric, unit: 'MB', value, better: 'lower' }
}

/** How the raw loop is run: the better setting counts. */
export interface RawSetting {
  readonly variant: string
  /** Rows in a transaction, messages in a script call, or messages acknowledged together. */
  readonly batch: number
  /** Script calls in flight, or batches a consumer may hold unacknowledged. */
  readonly inFlight: number
}

/** The raw ceilings' settings, and their part of a scenario's tasks: they are quick. */
export const rawOf: Readonly<Record<BrokerName, { readonly settings: readonly RawSetting[]; readonly share: number }>> =
  {
    sqlite: {
      settings: [
        { variant: 'tx50', batch: 50, inFlight: 1 },
        { variant: 'tx200', batch: 200, inFlight: 1 },
      ],
      share: 1,
    },
    redis: {
      settings: [
        { variant: '50×4', batch: 50, inFlight: 4 },
        { variant: '200×4', batch: 200, inFlight: 4 },
      ],
      share: 2,
    },
    amqp: {
      settings: [
        { variant: '50×10', batch: 50, inFlight: 10 },
        { variant: '50×40', batch: 50, inFlight: 40 },
      ],
      share: 1,
    },
  }
