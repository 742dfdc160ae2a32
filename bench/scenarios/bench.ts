/** What every scenario works with: fresh stores, turns, and somewhere to put its samples. */
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { loadavg } from 'node:os'
import { join } from 'node:path'
import type { Flags } from '../flags.ts'
import type { RedisServer } from '../harness/redis-server.ts'
import type { Exactness } from '../harness/tally.ts'
import type { Measurement, Sample } from '../report/measurement.ts'
import type { SideName, Store } from '../sides/side.ts'

export interface Bench {
  readonly flags: Flags
  /** Peers taking part; the raw ceiling is `measuresRaw`. */
  readonly peers: readonly SideName[]
  readonly measuresRaw: boolean
  /** Bytes of one of Celeriac's stored messages, and so of a raw row. */
  readonly rowBytes: number
  readonly redis: RedisServer | undefined
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
export async function takeTurns(bench: Bench, turns: readonly Turn[]): Promise<void> {
  for (let round = 0; round < bench.flags.rounds; round++) {
    for (const { name, run } of round % 2 === 0 ? turns : [...turns].reverse()) {
      bench.log(`round ${round + 1}/${bench.flags.rounds}  ${name}`)
      try {
        await run()
      } catch (error) {
        const failure = `${name}: ${error instanceof Error ? error.message : String(error)}`
        bench.failures.push(failure)
        bench.log(`FAILED  ${failure}`)
      }
    }
  }
}

/** Lends an empty store, and removes what was in it afterwards. */
export async function withStore(bench: Bench, use: (store: Store) => Promise<void>): Promise<void> {
  await mkdir(bench.directory, { recursive: true })
  const directory = await mkdtemp(join(bench.directory, 'store-'))
  await bench.redis?.flush()
  try {
    await use({ directory, redisPort: bench.redis?.port ?? 0, durability: bench.flags.durability })
  } finally {
    await rm(directory, { recursive: true, force: true })
  }
}

/** How many tasks: what the user asked for, or this scenario's own number. */
export function size(bench: Bench, full: number, quick: number): number {
  return bench.flags.count ?? (bench.flags.quick ? quick : full)
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
  for (const figure of figures) bench.samples.push({ variant: '', ...of, ...figure, load })
}

export function rate(metric: string, value: number): Figure {
  return { metric, unit: '/s', value, better: 'higher' }
}

export function time(metric: string, value: number, unit: 'ms' | 'µs' = 'ms'): Figure {
  return { metric, unit, value, better: 'lower' }
}

/** The transaction sizes of the raw ceiling; the better one counts. */
export const rawBatches = [50, 200] as const

/** The concurrency settings each worker is measured at; the better one counts. */
export const concurrencies = [50, 200] as const
