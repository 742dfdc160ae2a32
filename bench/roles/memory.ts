/** A worker that has nothing to do while delayed tasks wait in its store. Needs Node's `--expose-gc`. */
import { settledMemory } from '../harness/memory.ts'
import type { SideName } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import { type Environment, openSession } from './role.ts'

export interface MemoryResult {
  readonly rssBeforeMb: number
  readonly rssGrowthMb: number
  readonly heapGrowthMb: number
}

/** Memory of an idle worker before and after the parent lets time, and perhaps tasks, pass by. */
export async function memory(environment: Environment, _: object): Promise<MemoryResult> {
  const session = await openSession(environment)
  const worker = await session.work(traits[environment.side as SideName].settings[0], () => {})
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
