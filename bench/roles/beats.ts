/** A beat whose entries are due at one moment, or much later, and who gets what it sends. */
import { nativeImport } from '../harness/native-import.ts'
import { max, quantile } from '../harness/stats.ts'
import { type Exactness, Tally } from '../harness/tally.ts'
import { pause, until } from '../harness/time.ts'
import { ownCpuUs, type Store } from '../sides/side.ts'
import type { Environment } from './role.ts'

/** All entries are due again so long after they were, in ms. */
export const everyMs = 3_000
const queue = 'ticks'

export interface Firings {
  readonly entries: number
  /** When they are due first: an epoch time in ms. */
  readonly startMs: number
  readonly times: number
}

/** In ms since it was due; the first time, when nothing is warm, does not count. */
export interface Lateness {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** Leads, until all was sent. Late is what the broker has accepted late. */
export async function beat({ store, parent }: Environment, firings: Firings): Promise<Lateness> {
  const { entries, startMs, times } = firings
  const { app, every } = await appOf(store)
  const late = new Late(firings)
  let sent = 0
  app.signals.on('afterTaskPublish', () => {
    sent += 1
    late.add()
  })
  const start = new Date(startMs)
  app.beat(
    Object.fromEntries(
      Array.from({ length: entries }, (_, index) => [
        `entry ${index}`,
        { task: 'tick', schedule: every(`${everyMs}ms`), start, args: [index], options: { queue } },
      ]),
    ),
  )
  const beat = await app.startBeat()
  await until(() => beat.isLeading, 20, 20_000)
  await parent.ready()
  await until(() => sent >= entries * times, 20, startMs - Date.now() + times * everyMs + 20_000)
  await beat.stop()
  await app.close()
  return late.quantiles()
}

/** Takes what is sent, or was. Late is what it has late. */
export async function takeFirings(
  { store, parent }: Environment,
  firings: Firings,
): Promise<Lateness & { readonly exactness: Exactness }> {
  const { entries, startMs, times } = firings
  const { app } = await appOf(store)
  await app.open()
  const consumer = await app.broker.consume([queue])
  const late = new Late(firings)
  const tally = new Tally(entries * times)
  const taken = new Uint8Array(entries)
  await parent.ready()
  const endMs = Math.max(Date.now(), startMs + times * everyMs) + 10_000
  while (tally.distinct < entries * times && Date.now() < endMs) {
    for (const delivery of await consumer.fetch(1_000, { waitMs: 1_000 })) {
      late.add()
      const [[index]] = JSON.parse(delivery.message.body as string) as [[number]]
      const turn = taken[index] as number
      taken[index] = turn + 1
      tally.add(turn * entries + index)
      void delivery.ack()
    }
  }
  await consumer.close()
  await app.close()
  return { ...late.quantiles(), exactness: tally.exactness() }
}

export interface IdleBeat {
  readonly rssMb: number
  /** Of processor time. */
  readonly cpuMsPerS: number
}

/** Leads with entries that are due tomorrow. */
export async function idleBeat(
  { store }: Environment,
  { entries, forMs }: { entries: number; forMs: number },
): Promise<IdleBeat> {
  const { app } = await appOf(store)
  app.beat(
    Object.fromEntries(
      Array.from({ length: entries }, (_, index) => [`entry ${index}`, { task: 'tick', schedule: '0 0 1 1 *' }]),
    ),
  )
  const beat = await app.startBeat()
  await until(() => beat.isLeading, 20, 60_000)
  // What it took to read them in is garbage by now, or will be.
  await pause(forMs)
  const cpuUs = ownCpuUs()
  await pause(forMs)
  const result = { rssMb: process.memoryUsage.rss() / 2 ** 20, cpuMsPerS: (ownCpuUs() - cpuUs) / forMs }
  await app.close()
  return result
}

class Late {
  readonly #firings: Firings
  readonly #lateMs: number[] = []

  constructor(firings: Firings) {
    this.#firings = firings
  }

  add(): void {
    const sinceMs = Date.now() - this.#firings.startMs
    if (sinceMs >= everyMs) this.#lateMs.push(sinceMs % everyMs)
  }

  quantiles(): Lateness {
    return { p50Ms: quantile(this.#lateMs, 0.5), p99Ms: quantile(this.#lateMs, 0.99), maxMs: max(this.#lateMs) }
  }
}

async function appOf(store: Store) {
  const { Celeriac, every } = (await nativeImport(
    new URL('../../dist/index.js', import.meta.url).href,
  )) as typeof import('../../src/index.ts')
  return { app: new Celeriac('bench', { broker: store.url, results: false, durability: store.durability }), every }
}
