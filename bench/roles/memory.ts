/** A worker that has nothing to do while delayed tasks wait in its store. Needs Node's `--expose-gc`. */
import { pause } from '../harness/time.ts'
import { type Environment, openSession } from './role.ts'

export interface MemoryResult {
  readonly rssBeforeMb: number
  readonly rssGrowthMb: number
  readonly heapGrowthMb: number
}

/** Memory of an idle worker before and after the parent lets time, and perhaps tasks, pass by. */
export async function memory(environment: Environment, _: object): Promise<MemoryResult> {
  const session = await openSession(environment)
  const worker = await session.work({ concurrency: 50 }, () => {})
  const before = await settledMemory()
  await environment.parent.ready()
  const after = await settledMemory()
  await worker.stop()
  await session.close()
  return {
    rssBeforeMb: before.rss / 2 ** 20,
    rssGrowthMb: (after.rss - before.rss) / 2 ** 20,
    heapGrowthMb: (after.heapUsed - before.heapUsed) / 2 ** 20,
  }
}

/** What remains after collecting garbage until neither heap nor pages are given back any more. */
async function settledMemory(): Promise<NodeJS.MemoryUsage> {
  const collect = globalThis.gc
  if (collect === undefined) throw new Error('start this role with --expose-gc')
  let last = Number.POSITIVE_INFINITY
  let steady = 0
  for (let round = 0; round < 40 && steady < 6; round++) {
    await collect()
    await pause(200)
    const { rss } = process.memoryUsage()
    steady = Math.abs(rss - last) < 200_000 ? steady + 1 : 0
    last = rss
  }
  return process.memoryUsage()
}
