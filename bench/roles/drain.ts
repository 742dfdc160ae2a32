/** One worker against a backlog: from the start of its first task until every task has run and the queue is empty. */
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import type { Setting, Working } from '../sides/side.ts'
import { type Environment, openSession } from './role.ts'

export interface DrainResult {
  readonly perSecond: number
  /** User and system time of all the worker's processes and threads, per task. */
  readonly cpuUsPerTask: number
  readonly exactness: Exactness
}

export async function drain(
  environment: Environment,
  { count, setting }: { count: number; setting: Setting },
): Promise<DrainResult> {
  const session = await openSession(environment)
  const tally = new Tally(count)
  let worker: Working | undefined
  let startMs = 0
  let cpuUsAtStart = 0
  const began = (): void => {
    if (startMs !== 0) return
    startMs = nowMs()
    // A worker of this process may begin before it is handed to us; its time so far is then this process's.
    const { user, system } = process.cpuUsage()
    cpuUsAtStart = worker?.cpuUs() ?? user + system
  }
  worker = await session.work({ ...setting, began }, ({ i }) => tally.add(i))
  await worker.settled(count)
  const seconds = (nowMs() - startMs) / 1_000
  const cpuUs = worker.cpuUs() - cpuUsAtStart
  await worker.stop()
  await session.close()
  return { perSecond: count / seconds, cpuUsPerTask: cpuUs / count, exactness: tally.exactness() }
}
