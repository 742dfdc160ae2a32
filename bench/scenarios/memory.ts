/** What tasks with a countdown of an hour cost an idle worker: its growth, less that of one with nothing waiting. */
import { startChild } from '../harness/processes.ts'
import { pause } from '../harness/time.ts'
import type { MemoryResult } from '../roles/memory.ts'
import type { SideName, Store } from '../sides/side.ts'
import { type Bench, megabytes, record, size, takeTurns, withStore } from './bench.ts'

const scenario = 'memory'
/** Memory is steady: elsewhere than on SQLite, where all this is quick, one round says enough. */
const networkRounds = 1
/** One peer is enough to compare with. */
const isMeasured = (side: SideName): boolean => side === 'celeriac' || side === 'bullmq'
const hourMs = 3_600_000
/** The worker's time to take in what it would take in. */
const settleMs = 4_000

export async function memory(bench: Bench): Promise<void> {
  const count = size(bench, 100_000, 10_000)
  const turns = bench.sides.filter(isMeasured).map((side) => ({
    name: `${scenario}: ${side}`,
    run: async () => {
      let idle: MemoryResult | undefined
      await withStore(bench, side, async (store) => {
        idle = await idleWorker(side, store, () => pause(settleMs))
      })
      await withStore(bench, side, async (store) => {
        const loaded = await idleWorker(side, store, async () => {
          const producer = startChild({ role: 'sendDelayed', side, store, params: { count, dueInMs: hourMs } })
          await producer.ready()
          producer.go()
          await producer.result
          await pause(settleMs)
        })
        record(bench, { scenario, side, count, exactness: { doubles: 0, misses: 0 } }, [
          megabytes('RSS of the idle worker', loaded.rssBeforeMb),
          megabytes('RSS for the delayed', loaded.rssGrowthMb - (idle?.rssGrowthMb ?? 0)),
          megabytes('heap for the delayed', loaded.heapGrowthMb - (idle?.heapGrowthMb ?? 0)),
        ])
      })
    },
  }))
  await takeTurns(bench, turns, bench.broker === 'sqlite' ? undefined : networkRounds)
}

async function idleWorker(side: SideName, store: Store, meanwhile: () => Promise<void>): Promise<MemoryResult> {
  const worker = startChild({ role: 'memory', side, store, params: {} }, { execArgv: ['--expose-gc'] })
  await worker.ready()
  await meanwhile()
  worker.go()
  return await worker.result
}
