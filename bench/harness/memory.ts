/** This process's memory, once it is at rest. */
import { pause } from './time.ts'

/**
 * What remains after collecting garbage until neither heap nor pages are given back any more.
 * @throws Error without Node's `--expose-gc`
 */
export async function settledMemory(): Promise<NodeJS.MemoryUsage> {
  const collect = globalThis.gc
  if (collect === undefined) throw new Error('start this process with --expose-gc')
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
