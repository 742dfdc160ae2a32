/** Out of the store: one worker process against a backlog of no-op tasks; against plain claims and deletes. */
import { runChild } from '../harness/processes.ts'
import {
  type Bench,
  concurrencies,
  rate,
  rawBatches,
  record,
  size,
  type Turn,
  takeTurns,
  time,
  withStore,
} from './bench.ts'

const scenario = 'drain'
const metric = 'no-op tasks'
const cpuMetric = 'CPU per task'

export async function drain(bench: Bench): Promise<void> {
  const count = size(bench, 50_000, 10_000)
  const turns: Turn[] = bench.peers.flatMap((side) =>
    concurrencies.map((concurrency) => ({
      name: `${scenario}: ${side}, concurrency ${concurrency}`,
      run: () =>
        withStore(bench, async (store) => {
          await runChild({ role: 'fill', side, store, params: { count } })
          const result = await runChild({ role: 'drain', side, store, params: { count, concurrency } })
          record(bench, { scenario, side, variant: `c${concurrency}`, count, exactness: result.exactness }, [
            rate(metric, result.perSecond),
            time(cpuMetric, result.cpuUsPerTask, 'µs'),
          ])
        }),
    })),
  )
  for (const batch of bench.measuresRaw ? rawBatches : []) {
    turns.push({
      name: `${scenario}: raw, ${batch} per transaction`,
      run: () =>
        withStore(bench, async (store) => {
          const params = { count, batch, rowBytes: bench.rowBytes }
          await runChild({ role: 'rawFill', side: 'raw', store, params })
          const result = await runChild({ role: 'rawDrain', side: 'raw', store, params })
          const variant = `tx${batch}`
          record(bench, { scenario, side: 'raw', variant, count, exactness: result.exactness }, [
            rate(metric, result.perSecond),
            time(cpuMetric, result.cpuUsPerTask, 'µs'),
          ])
        }),
    })
  }
  await takeTurns(bench, turns)
}
