/** Into the store: awaited one by one, 100 at a time, and in bulk; against a plain loop over the same store. */
import { runChild } from '../harness/processes.ts'
import type { EnqueueMode } from '../roles/enqueue.ts'
import type { SideName } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import { type Bench, type RawSetting, rate, rawOf, record, size, type Turn, takeTurns, withStore } from './bench.ts'

const scenario = 'enqueue'
const side = 'raw'
const single: RawSetting = { variant: '', batch: 1, inFlight: 1 }

interface Mode {
  readonly mode: EnqueueMode
  readonly metric: string
  readonly full: number
  readonly quick: number
  readonly has: (side: SideName) => boolean
  readonly raw: (bench: Bench) => readonly RawSetting[]
}

const modes: readonly Mode[] = [
  { mode: 'one', metric: 'one by one', full: 4_000, quick: 1_000, has: () => true, raw: () => [single] },
  {
    mode: 'concurrent',
    metric: '100 in flight',
    full: 30_000,
    quick: 3_000,
    has: (side) => traits[side].concurrentSends,
    raw: () => [],
  },
  {
    mode: 'bulk',
    metric: 'bulk',
    full: 60_000,
    quick: 10_000,
    has: () => true,
    // RabbitMQ's window of confirms is the same at every setting.
    raw: ({ broker }) => (broker === 'amqp' ? rawOf.amqp.settings.slice(0, 1) : rawOf[broker].settings),
  },
]

export async function enqueue(bench: Bench): Promise<void> {
  const turns: Turn[] = []
  for (const { mode, metric, full, quick, has, raw } of modes) {
    for (const side of bench.sides.filter(has)) {
      // One by one, nobody is much quicker than the way there and back.
      const count = mode === 'one' ? size(bench, full, quick) : size(bench, full, quick, side)
      turns.push({
        name: `${scenario} ${metric}: ${side}`,
        run: () =>
          withStore(bench, side, async (store) => {
            const { perSecond, exactness } = await runChild({ role: 'enqueue', side, store, params: { mode, count } })
            record(bench, { scenario, side, count, exactness }, [rate(metric, perSecond)])
          }),
      })
    }
    for (const { variant, batch, inFlight } of bench.measuresRaw ? raw(bench) : []) {
      const count = size(bench, full, quick)
      turns.push({
        name: `${scenario} ${metric}: raw, ${variant}`,
        run: () =>
          withStore(bench, side, async (store) => {
            const params = { count, batch, inFlight, messageBytes: bench.messageBytes }
            const { perSecond, exactness } = await runChild({ role: 'rawFill', side, store, params })
            record(bench, { scenario, side, variant, count, exactness }, [rate(metric, perSecond)])
          }),
      })
    }
  }
  await takeTurns(bench, turns)
}
