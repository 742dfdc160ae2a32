/** What is stored and known, as the API says it. */
import type { z } from 'zod'
import { deadSuffix } from '../../send/dead-letters.ts'
import type { Work } from '../actions/jobs.ts'
import type { KnownQueue } from '../collect/queues.ts'
import type { KnownWorker } from '../collect/workers.ts'
import type { Job } from '../store/job-store.ts'
import { quantile } from '../store/series.ts'
import type { Counts, Histogram } from '../store/series-store.ts'
import type { StoredEvent, StoredTask } from '../store/task-store.ts'
import type { Attempt, Job as JobShape, Queue, TaskNode, TaskSummary, Worker } from './shapes.ts'

export function taskSummary(task: StoredTask): z.infer<typeof TaskSummary> {
  const { uuid: id, exception: error, name, state, queue, worker, args, kwargs, result, retries, runtimeMs } = task
  const { sentAt, readyAt, receivedAt, startedAt, endedAt, updatedAt, seenAt, rootId, parentId } = task
  const times = { sentAt, readyAt, receivedAt, startedAt, endedAt, updatedAt, seenAt }
  return { id, name, state, queue, worker, args, kwargs, result, error, retries, runtimeMs, rootId, parentId, ...times }
}

/** Each `task-received`, or `task-started` after an end, begins one. */
export function attemptsOf(events: readonly StoredEvent[]): z.infer<typeof Attempt>[] {
  const attempts: z.infer<typeof Attempt>[] = []
  const current = () => attempts.at(-1)
  const begin = (worker: string): z.infer<typeof Attempt> => {
    const none = { receivedAt: null, startedAt: null, endedAt: null, outcome: null, error: null, traceback: null }
    const attempt = { number: attempts.length + 1, worker: worker || null, ...none }
    attempts.push(attempt)
    return attempt
  }
  const underway = (worker: string) => {
    const last = current()
    return last === undefined || last.outcome !== null ? begin(worker) : last
  }
  for (const { type, at, hostname, data } of events) {
    const kind = type.slice('task-'.length)
    if (kind === 'received') begin(hostname).receivedAt = at
    else if (kind === 'started') underway(hostname).startedAt = at
    else if (ends.has(kind)) {
      const attempt = underway(hostname)
      attempt.endedAt = at
      attempt.outcome = kind
      attempt.error = typeof data.exception === 'string' ? data.exception : null
      attempt.traceback = typeof data.traceback === 'string' ? data.traceback : null
    }
  }
  return attempts
}

const ends = new Set(['succeeded', 'failed', 'retried', 'revoked', 'rejected', 'cancelled'])

/** The tasks of a tree under its root; those whose parent is not known stand under the root. */
export function treeOf(root: StoredTask, others: readonly StoredTask[]): TaskNode {
  const ids = new Set([root.uuid, ...others.map(({ uuid }) => uuid)])
  const children = new Map<string, StoredTask[]>()
  for (const task of others) {
    if (task.uuid === root.uuid) continue
    const parent = task.parentId !== null && ids.has(task.parentId) ? task.parentId : root.uuid
    const siblings = children.get(parent)
    if (siblings === undefined) children.set(parent, [task])
    else siblings.push(task)
  }
  const placed = new Set<string>()
  const node = ({ uuid, name, state, queue, startedAt, endedAt }: StoredTask): TaskNode => {
    placed.add(uuid)
    const below = (children.get(uuid) ?? []).filter((child) => !placed.has(child.uuid))
    return { id: uuid, name, state, queue, startedAt, endedAt, children: below.map(node) }
  }
  return node(root)
}

export function countsView({ run, wait, ...counts }: Counts) {
  return { ...counts, run: histogramView(run), wait: histogramView(wait) }
}

function histogramView({ count, sumMs, buckets }: Histogram) {
  return {
    count,
    meanMs: count === 0 ? null : sumMs / count,
    p50Ms: quantile(buckets, 0.5),
    p95Ms: quantile(buckets, 0.95),
    p99Ms: quantile(buckets, 0.99),
  }
}

/** @param outPerS tasks of it that end; null where no events tell */
export function queueView(
  known: KnownQueue,
  outPerS: number | null,
  workers: readonly KnownWorker[],
): z.infer<typeof Queue> {
  const { queue: name, ready, delayed, inFlight, consumers, paused, oldestMs, growthPerS } = known
  const isDead = name.endsWith(deadSuffix)
  const inPerS = outPerS === null || growthPerS === null ? null : Math.max(0, outPerS + growthPerS)
  // As fast as it has become shorter; as fast as tasks end where nothing comes.
  const shrinking = growthPerS !== null && growthPerS < 0 ? -growthPerS : null
  return {
    ...{ name, ready, delayed, inFlight, consumers, paused, oldestMs, isDead, inPerS, outPerS },
    drainMs: ready === 0 ? 0 : shrinking === null ? null : (ready * 1_000) / shrinking,
    workers: workers.filter(({ isAlive, queues }) => isAlive && queues.includes(name)).map(({ hostname }) => hostname),
  }
}

export function workerView(worker: KnownWorker): z.infer<typeof Worker> {
  const { hostname: name, stats, counts, answeredAt: _answered, freq: _freq, ...rest } = worker
  const { isAlive, pid, heardAt, software, system, active, processed, loadavg, queues } = rest
  const { cpu, memoryBytes, loopLagMs, uptimeS } = rest
  return {
    ...{ name, isAlive, pid, heardAt, software, system, active, processed, loadavg: [...loadavg], queues: [...queues] },
    ...{ cpu, memoryBytes, loopLagMs, uptimeS },
    recycled: recycledOf(worker),
    concurrency: slotsOf(worker),
    pool: typeof stats?.pool?.implementation === 'string' ? stats.pool.implementation : null,
    counts: { ...counts },
  }
}

/** Children that it replaced, by what ended them; null where it has none, or does not say. */
export function recycledOf({ stats }: KnownWorker): Record<string, number> | null {
  const recycled: unknown = stats?.pool?.recycled
  if (typeof recycled !== 'object' || recycled === null) return null
  return Object.fromEntries(Object.entries(recycled).filter(([, count]) => Number.isFinite(count)))
}

/** Tasks that a worker runs at once; null where it did not say. */
export function slotsOf({ stats }: KnownWorker): number | null {
  const pools = stats?.pool?.pools
  if (pools !== undefined) return Object.values(pools).reduce((sum, size) => sum + size, 0)
  // Of Python's the limit stays as it was at the start, however the pool has grown since.
  const processes = stats?.pool?.processes
  if (Array.isArray(processes)) return processes.length
  const slots = stats?.pool?.['max-concurrency']
  return typeof slots === 'number' ? slots : null
}

export function jobView({
  id,
  at,
  user,
  state,
  work,
  total,
  done,
  failed,
  errors,
}: Job<Work>): z.infer<typeof JobShape> {
  return { id, at, user, state, action: work.action, total, done, failed, errors: [...errors] }
}
