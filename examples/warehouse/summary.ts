/** What a run of the warehouse came to: numbers from its records. Pure. */
import type { Trips } from './aisle.ts'
import type { Began, Entry } from './logbook.ts'
import type { Books, Reconciliation } from './reconcile.ts'

export interface RunFacts {
  /** Lines read from the file. */
  readonly in: number
  readonly repeated: number
  readonly rejected: ReadonlyMap<string, number>
  readonly books: Books
  readonly reconciliation: Reconciliation
  /** Whether every order was through before the deadline. */
  readonly finished: boolean
  readonly logbook: readonly Entry[]
  readonly stages: readonly StageFacts[]
  readonly trips: Trips
  /** Epoch ms: the first order was about to be sent, and the last one was through. */
  readonly startedAt: number
  readonly endedAt: number
  /** Workers killed by `--kill`, and workers that ended although nobody wanted them to. */
  readonly kills: number
  readonly crashes: number
}

export interface StageFacts {
  readonly queue: string
  readonly task: string
  /** Tasks of this stage that can run at once, over all workers. */
  readonly slots: number
  /** By order: the last message sent for its task, with the retries before it; `at` is when it was due, in epoch ms. */
  readonly sent: ReadonlyMap<string, { readonly at: number; readonly retries: number }>
}

export interface Percentiles {
  readonly p50: number
  readonly p99: number
}

export interface StageSummary {
  readonly stage: string
  readonly runs: number
  /** Runs that ended with an error. */
  readonly failures: number
  /** Runs because an earlier one had failed. */
  readonly retries: number
  /** Runs because nobody knew whether an earlier one had finished: its worker was lost. */
  readonly reruns: number
  /** From the message's being due, which for a retry is after its backoff, to the beginning of its run. */
  readonly waitMs: Percentiles
  /** One run. */
  readonly runMs: Percentiles
  /** Share of the time its slots were in use, 0 to 1. */
  readonly busy: number
}

export interface Summary {
  /** Every order was through in time, and all books agree. */
  readonly ok: boolean
  readonly finished: boolean
  readonly orders: {
    readonly in: number
    readonly accepted: number
    readonly repeated: number
    readonly rejected: number
    readonly rejectedBecause: Record<string, number>
  }
  readonly delivered: number
  /** Orders of which at least one step was retried. */
  readonly retried: number
  readonly deadLettered: number
  readonly deadLetteredBecause: Record<string, number>
  /** Over all stages. `reruns` is how often a task ran again although no run of it had failed. */
  readonly tasks: { readonly runs: number; readonly retries: number; readonly reruns: number }
  readonly workersKilled: number
  readonly workersCrashed: number
  readonly stages: readonly StageSummary[]
  /** Trips to the aisles, the orders whose goods they brought, and how many of those a second while there was picking. */
  readonly picking: Trips & { readonly perSecond: number }
  /** The stage whose slots were in use most: more of them would speed up the whole. */
  readonly bottleneck: string
  readonly seconds: number
  readonly deliveredPerSecond: number
  readonly reconciliation: Reconciliation
}

export function summarise(facts: RunFacts): Summary {
  const { books, reconciliation } = facts
  const elapsedMs = facts.endedAt - facts.startedAt
  const stages = facts.stages.map((stage) => summariseStage(stage, facts.logbook, elapsedMs))
  const delivered = new Set(books.deliveries.map(({ key }) => key)).size
  const retried = facts.logbook.filter((entry) => entry.what === 'began' && entry.retries > 0)
  const total = (of: (stage: StageSummary) => number): number => stages.reduce((sum, stage) => sum + of(stage), 0)

  return {
    ok: facts.finished && reconciliation.holds,
    finished: facts.finished,
    orders: {
      in: facts.in,
      accepted: books.accepted.length,
      repeated: facts.repeated,
      rejected: [...facts.rejected.values()].reduce((sum, count) => sum + count, 0),
      rejectedBecause: byFrequency(facts.rejected),
    },
    delivered,
    retried: new Set(retried.map(({ orderId }) => orderId)).size,
    deadLettered: books.deadLetters.length,
    deadLetteredBecause: byFrequency(count(books.deadLetters.map(({ queue, reason }) => `${queue}: ${reason}`))),
    tasks: {
      runs: total(({ runs }) => runs),
      retries: total(({ retries }) => retries),
      reruns: total(({ reruns }) => reruns),
    },
    workersKilled: facts.kills,
    workersCrashed: facts.crashes,
    stages,
    picking: { ...facts.trips, perSecond: pickedPerSecond(facts.logbook) },
    bottleneck: stages.reduce((slowest, stage) => (stage.busy > slowest.busy ? stage : slowest)).stage,
    seconds: round(elapsedMs / 1_000),
    deliveredPerSecond: elapsedMs > 0 ? round(delivered / (elapsedMs / 1_000)) : 0,
    reconciliation,
  }
}

function summariseStage(
  { queue, task, slots, sent }: StageFacts,
  logbook: readonly Entry[],
  elapsedMs: number,
): StageSummary {
  const began = logbook.filter((entry) => entry.what === 'began').filter((entry) => entry.task === task)
  const ended = logbook.filter((entry) => entry.what === 'ended').filter((entry) => entry.task === task)
  /** By order and retry: what is not the first run of either is a repetition of one. */
  const firstRuns = new Map<string, Began>()
  for (const run of began) if (!firstRuns.has(keyOf(run))) firstRuns.set(keyOf(run), run)
  const waits = [...sent].flatMap(([orderId, { at, retries }]) => {
    const run = firstRuns.get(keyOf({ orderId, retries }))
    return run === undefined ? [] : [Math.max(0, run.at - at)]
  })
  const runs = ended.map(({ runMs }) => runMs)
  return {
    stage: queue,
    runs: began.length,
    failures: ended.filter(({ error }) => error !== null).length,
    retries: [...firstRuns.values()].filter(({ retries }) => retries > 0).length,
    reruns: began.length - firstRuns.size,
    waitMs: percentiles(waits),
    runMs: percentiles(runs),
    busy:
      elapsedMs > 0 ? round(ended.reduce((sum, run) => sum + run.runMs / run.together, 0) / (elapsedMs * slots)) : 0,
  }
}

/** From the beginning of the first run to the end of the last. */
function pickedPerSecond(logbook: readonly Entry[]): number {
  const runs = logbook.filter(({ task }) => task === 'warehouse.pick')
  const picked = runs.filter((entry) => entry.what === 'ended' && entry.error === null)
  const tookMs = (picked.at(-1)?.at ?? 0) - (runs[0]?.at ?? 0)
  return tookMs > 0 ? round((picked.length / tookMs) * 1_000) : 0
}

function keyOf({ orderId, retries }: { orderId: string; retries: number }): string {
  return `${orderId} ${retries}`
}

/** Nearest rank: the smallest value that at least so many percent are not above. 0 of nothing. */
export function percentiles(values: readonly number[]): Percentiles {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (percent: number): number =>
    round(sorted[Math.max(0, Math.ceil((percent / 100) * sorted.length) - 1)] ?? 0)
  return { p50: at(50), p99: at(99) }
}

function count(names: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1)
  return counts
}

function byFrequency(counts: ReadonlyMap<string, number>): Record<string, number> {
  return Object.fromEntries([...counts].sort(([, a], [, b]) => b - a))
}

function round(value: number): number {
  return Math.round(value * 100) / 100
}
