/** One worker against a backlog: from the start of its first task until every task has run and the queue is empty. */
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import { type Environment, openSession } from './role.ts'

export interface DrainResult {
  readonly perSecond: number
  /** User and system time of the worker's process, all threads, per task. */
  readonly cpuUsPerTask: number
  readonly exactness: Exactness
}

export async function drain(
  environment: Environment,
  { count, concurrency }: { count: number; concurrency: number },
): Promise<DrainResult> {
  const session = await openSession(environment)
  const tally = new Tally(count)
  let startMs = 0
  let cpuAtStart = process.cpuUsage()
  const began = (): void => {
    if (startMs !== 0) return
    startMs = nowMs()
    cpuAtStart = process.cpuUsage()
  }
  const worker = await session.work({ concurrency, began }, ({ i }) => tally.add(i))
  await worker.settled(count)
  const seconds = (nowMs() - startMs) / 1_000
  const { user, system } = process.cpuUsage(cpuAtStart)
  await worker.stop()
  await session.close()
  return { perSecond: count / seconds, cpuUsPerTask: (user + system) / count, exactness: tally.exactness() }
}
