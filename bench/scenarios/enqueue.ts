/** Into the store: awaited one by one, 100 at a time, and in bulk; against plain inserts. */
import { runChild } from '../harness/processes.ts'
import type { EnqueueMode } from '../roles/enqueue.ts'
import { type Bench, rate, rawBatches, record, size, type Turn, takeTurns, withStore } from './bench.ts'

const scenario = 'enqueue'

const modes: readonly {
  mode: EnqueueMode
  metric: string
  full: number
  quick: number
  rawBatches: readonly number[]
}[] = [
  { mode: 'one', metric: 'one by one', full: 10_000, quick: 1_000, rawBatches: [1] },
  { mode: 'concurrent', metric: '100 in flight', full: 30_000, quick: 3_000, rawBatches: [] },
  { mode: 'bulk', metric: 'bulk', full: 50_000, quick: 10_000, rawBatches },
]

export async function enqueue(bench: Bench): Promise<void> {
  const turns: Turn[] = []
  for (const { mode, metric, full, quick, rawBatches } of modes) {
    const count = size(bench, full, quick)
    for (const side of bench.peers) {
      turns.push({
        name: `${scenario} ${metric}: ${side}`,
        run: () =>
          withStore(bench, async (store) => {
            const { perSecond, exactness } = await runChild({ role: 'enqueue', side, store, params: { mode, count } })
            record(bench, { scenario, side, count, exactness }, [rate(metric, perSecond)])
          }),
      })
    }
    for (const batch of bench.measuresRaw ? rawBatches : []) {
      turns.push({
        name: `${scenario} ${metric}: raw, ${batch} per transaction`,
        run: () =>
          withStore(bench, async (store) => {
            const params = { count, batch, rowBytes: bench.rowBytes }
            const { perSecond, exactness } = await runChild({ role: 'rawFill', side: 'raw', store, params })
            const variant = `tx${batch}`
            record(bench, { scenario, side: 'raw', variant, count, exactness }, [rate(metric, perSecond)])
          }),
      })
    }
  }
  await takeTurns(bench, turns)
}
