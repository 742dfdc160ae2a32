/** Many tasks due at one moment: how late they start. The worker idles meanwhile; a second process has sent them. */
import { startChild } from '../harness/processes.ts'
import { traits } from '../sides/traits.ts'
import { type Bench, record, size, takeTurns, time, withStore } from './bench.ts'

const scenario = 'delayed'

/** Among those that have delays. */
export async function delayed(bench: Bench): Promise<void> {
  const count = size(bench, 10_000, 2_000)
  // Long enough for the slowest side to have sent them all, and a second more to come to rest.
  const dueInMs = 2_000 + count / 4
  const turns = bench.sides
    .filter((side) => traits[side].delays.includes(bench.broker))
    .map((side) => ({
      name: `${scenario}: ${side}`,
      run: () =>
        withStore(bench, side, async (store) => {
          const pace = { count, everyMs: 0, warmUp: 0, since: 'due' as const }
          const worker = startChild({ role: 'receive', side, store, params: pace })
          await worker.ready()
          const producer = startChild({ role: 'sendDelayed', side, store, params: { count, dueInMs } })
          await producer.ready()
          worker.go()
          producer.go()
          const { aheadMs } = await producer.result
          if (aheadMs < 500) throw new Error(`sending ended only ${aheadMs} ms before the tasks were due`)
          const { p50Ms, p99Ms, maxMs, exactness } = await worker.result
          record(bench, { scenario, side, count, exactness }, [
            time('lateness p50', p50Ms),
            time('lateness p99', p99Ms),
            time('last', maxMs),
          ])
        }),
    }))
  await takeTurns(bench, turns)
}
