/** A worker for a Python producer's tasks with an ETA: its memory while they wait, and how late they start. */
import { settledMemory } from '../harness/memory.ts'
import { max, quantile } from '../harness/stats.ts'
import { type Exactness, Tally } from '../harness/tally.ts'
import { pause, until } from '../harness/time.ts'
import type { SideName } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import { type Environment, openSession } from './role.ts'

export interface EtaResult {
  /** Growth from before the first of them was sent until all of them wait, garbage collected. */
  readonly rssGrowthMb: number
  readonly heapGrowthMb: number
  /** The largest growth seen meanwhile, garbage included. */
  readonly rssPeakGrowthMb: number
  readonly earliestMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly exactness: Exactness
}

export interface EtaParams {
  /** Tasks with an ETA; their indexes follow those of the warm-up. */
  readonly count: number
  /** Tasks sent first, so that the code is warm when memory is looked at. */
  readonly warmUp: number
  readonly overMs: number
}

/**
 * Needs Node's `--expose-gc`. Is ready once warm and measured; told to go when everything was sent; measures again before
 * the first is due; and ends when all have run.
 */
export async function receiveEta(environment: Environment, { count, warmUp, overMs }: EtaParams): Promise<EtaResult> {
  const session = await openSession(environment)
  const tally = new Tally(warmUp + count)
  const lateMs = new Float64Array(warmUp + count)
  const setting = traits[environment.side as SideName].settings[0]
  const worker = await session.work(setting, ({ i, at }, started) => {
    lateMs[i] = (started?.epochMs ?? Date.now()) - at
    tally.add(i)
  })
  await environment.parent.ready()
  await until(() => tally.distinct === warmUp, 5, 60_000)
  const before = await settledMemory()
  let peakRss = before.rss
  const watching = setInterval(() => {
    peakRss = Math.max(peakRss, process.memoryUsage.rss())
  }, 100)
  await environment.parent.ready()
  const waiting = await settledMemory()
  if (tally.distinct > warmUp) throw new Error('tasks started while the memory of the waiting ones was measured')
  await until(() => tally.distinct === warmUp + count, 20, overMs + 120_000).catch(() => {}) // seen below
  clearInterval(watching)
  await pause(200) // so that a double would still be seen
  const exactness = tally.exactness()
  await worker.stop()
  await session.close()
  const counted = [...lateMs.subarray(warmUp)]
  return {
    rssGrowthMb: (waiting.rss - before.rss) / 2 ** 20,
    heapGrowthMb: (waiting.heapUsed - before.heapUsed) / 2 ** 20,
    rssPeakGrowthMb: (peakRss - before.rss) / 2 ** 20,
    earliestMs: counted.reduce((least, value) => Math.min(least, value), Number.POSITIVE_INFINITY),
    p50Ms: quantile(counted, 0.5),
    p99Ms: quantile(counted, 0.99),
    maxMs: max(counted),
    exactness,
  }
}
