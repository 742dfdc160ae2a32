/**
 * Pipelines as the events tell of them: which task sends which makes the stages, and what was measured of these says
 * which of them keeps the others back, by the same laws as the load test (`bench/capacity.ts`).
 */
import { createHash } from 'node:crypto'
import type { z } from 'zod'
import { type Limit, limitsOf, type Model } from '../../bench/capacity.ts'
import { shortTime } from '../../duration.ts'
import type { ApiParts } from '../api/parts.ts'
import { queuesOf } from '../api/routes/queues.ts'
import type { Pipeline, Queue, Stage } from '../api/shapes.ts'
import { countsView, slotsOf } from '../api/views.ts'
import type { KnownWorker } from '../collect/workers.ts'
import type { TaskCountsRow } from '../store/series-store.ts'

type StageView = z.infer<typeof Stage>
type PipelineView = z.infer<typeof Pipeline>
interface Seen {
  readonly counts: readonly TaskCountsRow[]
  /** How long these were counted. */
  readonly seenMs: number
  readonly queues: ReadonlyMap<string, z.infer<typeof Queue>>
  readonly workers: readonly KnownWorker[]
}
type Edge = { readonly parent: string; readonly child: string; readonly n: number }

/** A pipeline that ran not once in this time is not shown. */
const windowMs = 24 * 3_600_000
/** What stages do is that of the last minutes. */
const ratesMs = 5 * 60_000
const stepMs = 10_000
/** With fewer runs nothing is said of what keeps what back. */
const fewestRuns = 10
/** From this share of its slots on a stage is what the others wait for. */
const busy = 0.8

export function pipelinesOf(parts: ApiParts): PipelineView[] {
  const { store, clock, collector } = parts
  const nowMs = clock.now()
  const counts = store.series.byTask(stepMs, nowMs - ratesMs, nowMs + 1)
  const [first] = store.series.points(stepMs, nowMs - ratesMs, nowMs + 1)
  // Of a fleet that has just begun, since it began.
  const seenMs = Math.max(stepMs, nowMs - (first?.at ?? nowMs))
  const queues = new Map(queuesOf(parts).map((queue) => [queue.name, queue]))
  const workers = collector.workers.all().filter(({ isAlive }) => isAlive)
  return connected(store.series.edges(nowMs - windowMs)).map((edges) => {
    const names = inOrder(edges)
    const queueOf = (task: string): string | null =>
      counts.find((row) => row.task === task && row.queue !== null)?.queue ?? collector.places.queueOf(task, null)
    const stages = names.map((task) => stageOf(task, queueOf(task), { counts, seenMs, queues, workers }))
    return {
      id: createHash('sha256').update(names.join('\n')).digest('hex').slice(0, 12),
      name: names.join(' → '),
      stages,
      edges: edges.map(({ parent, child, n }) => ({ from: parent, to: child, count: n })),
      bottleneck: unservedIn(stages, queues) ?? bottleneckOf(stages, workers),
    }
  })
}

function stageOf(task: string, queue: string | null, { counts, seenMs, queues, workers }: Seen): StageView {
  const rows = counts.filter((row) => row.task === task)
  const sum = (of: (row: TaskCountsRow) => number): number => rows.reduce((total, row) => total + of(row), 0)
  const perS = (n: number): number => (n * 1_000) / seenMs
  const seen = rows[0] === undefined ? undefined : countsView(rows.reduce(together))
  const serving = queue === null ? [] : workers.filter((worker) => worker.queues.includes(queue))
  const slots = slotsOfAll(serving)
  const known = queue === null ? undefined : queues.get(queue)
  const busyMs = sum(({ run }) => run.sumMs)
  const ended = sum(({ succeeded, failed, retried }) => succeeded + failed + retried)
  return {
    task,
    queue,
    workers: serving.map(({ hostname }) => hostname),
    slots,
    ready: known?.ready ?? 0,
    delayed: known?.delayed ?? 0,
    inFlight: known?.inFlight ?? 0,
    oldestMs: known?.oldestMs ?? null,
    inPerS: known?.inPerS ?? null,
    outPerS: perS(ended),
    failedPerS: perS(sum(({ failed }) => failed)),
    retriedPerS: perS(sum(({ retried }) => retried)),
    wait: seen?.wait ?? noTimes,
    run: seen?.run ?? noTimes,
    utilisation: slots === null || slots === 0 ? null : busyMs / (seenMs * slots),
  }
}

const noTimes = { count: 0, meanMs: null, p50Ms: null, p95Ms: null, p99Ms: null }

function together(one: TaskCountsRow, other: TaskCountsRow): TaskCountsRow {
  const histograms = (['run', 'wait'] as const).map((name) => {
    const [a, b] = [one[name], other[name]]
    const buckets = a.buckets.map((n, index) => n + (b.buckets[index] ?? 0))
    return [name, { count: a.count + b.count, sumMs: a.sumMs + b.sumMs, buckets }]
  })
  return { ...one, ...(Object.fromEntries(histograms) as Pick<TaskCountsRow, 'run' | 'wait'>) }
}

/** A stage whose messages wait for nobody. By the broker's word: a worker that has just come may not have told us yet. */
function unservedIn(stages: readonly StageView[], queues: Seen['queues']): PipelineView['bottleneck'] {
  const stage = stages.find(({ queue, ready }) => queue !== null && ready > 0 && queues.get(queue)?.consumers === 0)
  if (stage === undefined) return null
  const { task, queue, ready } = stage
  return {
    task,
    reason: `${ready} wait in ${queue}, and no worker takes from it`,
    advice: 'Start a worker for it.',
    command: `celeriac worker -Q ${queue}`,
    oneMoreWorker: null,
  }
}

/** The stage that the others wait for; null where none is busy, or too little is known. */
function bottleneckOf(stages: readonly StageView[], workers: readonly KnownWorker[]): PipelineView['bottleneck'] {
  const model = modelOf(stages, workers)
  if (model === undefined) return null
  const limit = limitsOf(model).find(({ kind }) => kind === 'slots')
  if (limit === undefined) return null
  const stage = fullest(stages, limit)
  if (stage === undefined || !isBusy(stage)) return null
  const { task, queue, slots, run, ready, oldestMs } = stage
  const most = capacityOf(stage)
  const largest = Math.max(
    1,
    ...workers.filter(({ queues }) => queue !== null && queues.includes(queue)).map((worker) => slotsOf(worker) ?? 1),
  )
  const perS = (most * ((slots ?? 0) + largest)) / (slots || 1)
  const comes = stage.inPerS ?? stage.outPerS
  const shared = limit.tasks.filter((other) => other !== task)
  const waiting =
    ready === 0 ? '' : `; ${ready} wait${oldestMs === null ? '' : `, the first for ${shortTime(oldestMs)}`}`
  return {
    task,
    reason:
      `a run of ${shortTime(run.meanMs ?? 0)} in ${slots} slots is ${perSecond(most)} at most` +
      `${shared.length === 0 ? '' : `, shared with ${shared.join(', ')}`}; ${perSecond(comes)} come${waiting}`,
    advice: `One more worker like those it has (${largest} slots) makes it ${perSecond(perS)}.`,
    command: queue === null ? null : `celeriac worker -Q ${queue} -c ${largest}`,
    oneMoreWorker: { perS, drainMs: ready === 0 ? 0 : perS <= comes ? null : (ready * 1_000) / (perS - comes) },
  }
}

/** Undefined while too little was measured. */
function modelOf(stages: readonly StageView[], workers: readonly KnownWorker[]): Model | undefined {
  const [first] = stages
  const measured = stages.filter(({ run }) => run.count >= fewestRuns)
  if (first === undefined || measured.length === 0) return undefined
  const flows = Math.max(...stages.map(({ run }) => run.count))
  return {
    stages: measured.map(({ task, run }) => ({ task, slotMs: ((run.meanMs ?? 0) * run.count) / flows })),
    slots: workers.flatMap((worker) => {
      const tasks = measured
        .filter(({ queue }) => queue !== null && worker.queues.includes(queue))
        .map(({ task }) => task)
      const slots = slotsOf(worker)
      return tasks.length === 0 || slots === null ? [] : [{ slots, tasks }]
    }),
    cpu: [],
    host: undefined,
    rules: [],
  }
}

/** Of those that share the slots, the one that uses most of them. */
function fullest(stages: readonly StageView[], { tasks }: Limit): StageView | undefined {
  const shared = stages.filter(({ task }) => tasks.includes(task))
  return shared.sort((a, b) => (b.utilisation ?? 0) - (a.utilisation ?? 0))[0]
}

/** Its slots were taken nearly all the time; or all of them are at this moment, and more waits than they can take. */
function isBusy({ utilisation, ready, inFlight, slots }: StageView): boolean {
  return (utilisation ?? 0) >= busy || (slots !== null && inFlight >= slots && ready > slots)
}

/** Tasks per second with all of its slots. */
function capacityOf({ slots, run }: StageView): number {
  return run.meanMs === null || run.meanMs === 0 ? Number.POSITIVE_INFINITY : ((slots ?? 0) * 1_000) / run.meanMs
}

function slotsOfAll(workers: readonly KnownWorker[]): number | null {
  const slots = workers.map(slotsOf)
  return slots.some((n) => n === null) ? null : slots.reduce<number>((sum, n) => sum + (n ?? 0), 0)
}

function perSecond(rate: number): string {
  return `${rate >= 100 ? Math.round(rate) : Number(rate.toPrecision(2))}/s`
}

/** Edges that hang together, those with the most traffic first. */
function connected(edges: readonly Edge[]): Edge[][] {
  const groups: { readonly names: Set<string>; readonly edges: Edge[] }[] = []
  for (const edge of edges) {
    const touched = groups.filter(({ names }) => names.has(edge.parent) || names.has(edge.child))
    const group = { names: new Set([edge.parent, edge.child]), edges: [edge] }
    for (const old of touched) {
      for (const name of old.names) group.names.add(name)
      group.edges.push(...old.edges)
      groups.splice(groups.indexOf(old), 1)
    }
    groups.push(group)
  }
  const traffic = (group: readonly Edge[]): number => group.reduce((sum, { n }) => sum + n, 0)
  return groups.map((group) => group.edges).sort((a, b) => traffic(b) - traffic(a))
}

/** Each stage behind all that lead to it. Loops are cut where they come back. */
function inOrder(edges: readonly Edge[]): string[] {
  const names = [...new Set(edges.flatMap(({ parent, child }) => [parent, child]))]
  const heads = names.filter((name) => !edges.some(({ parent, child }) => child === name && parent !== name))
  const placed: string[] = []
  const seen = new Set<string>()
  const visit = (name: string): void => {
    if (seen.has(name)) return
    seen.add(name)
    const next = edges.filter(({ parent }) => parent === name).sort((a, b) => a.n - b.n)
    for (const { child } of next) visit(child)
    placed.unshift(name)
  }
  for (const name of [...names.filter((name) => !heads.includes(name)), ...heads].reverse()) visit(name)
  return placed
}
