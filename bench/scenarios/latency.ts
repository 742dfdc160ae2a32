/** Send → start: idle (a task every 20 ms) and at 500 a second, within one process and between two. */
import { runChild, startChild } from '../harness/processes.ts'
import type { LatencyResult } from '../roles/latency.ts'
import type { SideName, Store } from '../sides/side.ts'
import { type Bench, type Figure, record, size, takeTurns, time, withStore } from './bench.ts'

const scenario = 'latency'
/** So many tasks make the code warm, as it is in a process that has run for a minute. */
const warmUp = 2_000
const paces = [
  { name: 'idle', everyMs: 20, full: 250, quick: 50 },
  { name: '500/s', everyMs: 2, full: 2_000, quick: 250 },
]

export async function latency(bench: Bench): Promise<void> {
  const turns = paces.flatMap(({ name, everyMs, full, quick }) => {
    const count = size(bench, full, quick)
    const params = { count, everyMs, warmUp }
    return bench.peers.flatMap((side) => [
      {
        name: `${scenario} ${name}, one process: ${side}`,
        run: () =>
          withStore(bench, async (store) => {
            const result = await runChild({ role: 'sendAndReceive', side, store, params })
            record(bench, { scenario, side, count, exactness: result.exactness }, times(`${name}, one process`, result))
          }),
      },
      {
        name: `${scenario} ${name}, two processes: ${side}`,
        run: () =>
          withStore(bench, async (store) => {
            const result = await betweenTwo(side, store, params)
            record(
              bench,
              { scenario, side, count, exactness: result.exactness },
              times(`${name}, two processes`, result),
            )
          }),
      },
    ])
  })
  await takeTurns(bench, turns)
}

async function betweenTwo(
  side: SideName,
  store: Store,
  pace: { count: number; everyMs: number; warmUp: number },
): Promise<LatencyResult> {
  const worker = startChild({ role: 'receive', side, store, params: { ...pace, since: 'sent' } })
  await worker.ready
  const producer = startChild({ role: 'sendPaced', side, store, params: pace })
  await producer.ready
  worker.go()
  producer.go()
  await producer.result
  return await worker.result
}

function times(name: string, { p50Ms, p99Ms }: LatencyResult): Figure[] {
  return [time(`${name}: p50`, p50Ms), time(`${name}: p99`, p99Ms)]
}
