/** Tasks in two child processes: of a worker, or bare, given the same work with no queue around them. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import { nativeImport } from '../harness/native-import.ts'
import { type Payload, payloads } from '../harness/payload.ts'
import { treeCpuUs } from '../harness/process-cpu.ts'
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs, pause, until } from '../harness/time.ts'
import { ownCpuUs, type Store } from '../sides/side.ts'
import type { Environment } from './role.ts'

export const slots = 2

export type Optimization = 'fair' | 'throughput'

export interface PoolDrainResult {
  /** From the start of the first task until all have run and are acknowledged. */
  readonly ms: number
  /** Of the worker and its children, per task. */
  readonly cpuUsPerTask: number
  /** Of the worker's own process, per task. */
  readonly parentCpuUsPerTask: number
  readonly exactness: Exactness
}

const queue = 'bench'
const warmUpQueue = 'warm-up'
const warmUps = 2_000
const restMs = 500
const bulkSize = 1_000
const appFile = fileURLToPath(new URL('../pool/app.mjs', import.meta.url))
const bareChild = fileURLToPath(new URL('../pool/bare-child.mjs', import.meta.url))

/** Sends a task for each piece of work: task `i` burns `pieces[i]` rounds. */
export async function fillWork({ store }: Environment, { pieces }: { pieces: readonly number[] }): Promise<null> {
  const { app, work } = await loadApp(store)
  const calls = pieces.map((rounds, i): [number, number] => [i, rounds])
  for (let from = 0; from < calls.length; from += bulkSize) await work.delayMany(calls.slice(from, from + bulkSize))
  await app.close()
  return null
}

/**
 * Drains the queue through a pool of processes that has warmed up on another one. A task counts by the number it
 * returned: that comes from the child that ran it, and costs nothing which its outcome does not cost anyway.
 */
export async function drainPool(
  { store }: Environment,
  { count, optimization }: { count: number; optimization: Optimization },
): Promise<PoolDrainResult> {
  const { app, noop } = await loadApp(store)
  const options = { pool: 'processes', concurrency: slots, optimization, module: appFile } as const
  const worker = await app.worker({ ...options, queues: [warmUpQueue] })
  const warm = counted(worker, warmUps)
  await noop.delayMany(
    payloads(warmUps).map((data): [Payload] => [data]),
    { queue: warmUpQueue },
  )
  await warm
  // What starts up beside, such as the thread that renews leases, is then done too.
  await pause(restMs)

  const tally = new Tally(count)
  const problems: string[] = []
  let startMs = 0
  let [treeAtStart, parentAtStart] = [0, 0]
  worker.observe({
    onStarted() {
      if (startMs !== 0) return
      startMs = nowMs()
      treeAtStart = treeCpuUs(process.pid)
      parentAtStart = ownCpuUs()
    },
    onEnded(_delivery, _message, _attempt, outcome) {
      if (outcome.kind === 'success') tally.add(outcome.value as number)
      // What was fetched ahead and goes back has not run.
      else if (outcome.kind !== 'interrupted') problems.push(outcome.kind)
    },
  })
  const all = counted(worker, count)
  await worker.addQueue(queue)
  await worker.cancelQueue(warmUpQueue)
  await all
  await until(
    async () => {
      const { ready, delayed, inFlight } = await app.broker.depth(queue)
      return ready + delayed + inFlight === 0
    },
    1,
    60_000,
  )
  const ms = nowMs() - startMs
  const cpuUs = treeCpuUs(process.pid) - treeAtStart
  const parentCpuUs = ownCpuUs() - parentAtStart
  await worker.stop()
  await app.close()
  if (problems.length > 0) throw new Error(`${problems.length} tasks did not succeed: ${problems[0]}`)
  return { ms, cpuUsPerTask: cpuUs / count, parentCpuUsPerTask: parentCpuUs / count, exactness: tally.exactness() }
}

/** Resolves once so many have run: a timer that asked would take part of the processors. */
function counted(worker: Worker, count: number): Promise<void> {
  return new Promise((resolve) => {
    let ran = 0
    const stop = worker.observe({
      onEnded(_delivery, _message, _attempt, outcome) {
        if (outcome.kind === 'interrupted') return
        ran += 1
        if (ran < count) return
        stop()
        resolve()
      },
    })
  })
}

/**
 * Two bare children, each with every other piece of each size: the ideal schedule. The mean of their times is when both
 * would have ended, had none of them been held up more than the other.
 */
export async function bareChildren(
  _: Environment,
  { pieces }: { pieces: readonly number[] },
): Promise<{ readonly ms: number; readonly exactness: Exactness }> {
  const children = Array.from({ length: slots }, () => fork(bareChild, { execArgv: [] }))
  await Promise.all(children.map((child) => once(child, 'message')))
  const ordered = [...pieces].sort((a, b) => b - a)
  const answers = children.map(async (child, index) => {
    child.send(ordered.filter((_, at) => at % slots === index))
    const [answer] = (await once(child, 'message')) as [{ ms: number; did: number }]
    return answer
  })
  const done = await Promise.all(answers)
  for (const child of children) child.disconnect()
  const did = done.reduce((sum, answer) => sum + answer.did, 0)
  return {
    ms: done.reduce((sum, { ms }) => sum + ms, 0) / slots,
    exactness: { doubles: Math.max(0, did - pieces.length), misses: Math.max(0, pieces.length - did) },
  }
}

export function loadApp(store: Store): Promise<PoolApp> {
  // The children of this process inherit it.
  process.env.BENCH_BROKER = store.url
  process.env.BENCH_DURABILITY = store.durability
  return nativeImport(appFile) as Promise<PoolApp>
}

interface PoolApp {
  readonly app: import('../../src/index.ts').Celeriac
  readonly noop: Task<[Payload]>
  readonly work: Task<[number, number]>
}

interface Task<A> {
  delayMany(calls: readonly A[], options?: { queue: string }): Promise<unknown>
}

type Worker = Awaited<ReturnType<PoolApp['app']['worker']>>
