/**
 * Counts and measurements over time, at several resolutions. Whatever is counted between two flushes is added up in
 * memory first: a thousand events of a task cost the file one change for each step of time.
 */
import type { Clock } from '../../clock.ts'
import type { MonitorDatabase } from './database.ts'
import {
  bucketBoundsMs,
  bucketMetric,
  bucketOf,
  type CountedMetric,
  countedMetrics,
  type Duration,
  metrics,
  type Resolution,
  resolutions,
} from './series.ts'
import type { Words } from './words.ts'

/** Whose counts: of a task in a queue; null = of all. */
export interface SeriesFilter {
  readonly task?: string | null
  readonly queue?: string | null
}

export interface Histogram {
  readonly count: number
  readonly sumMs: number
  /** Counts by bucket, one more than `bucketBoundsMs` has bounds. */
  readonly buckets: readonly number[]
}

export type Counts = Readonly<Record<CountedMetric, number>> & { readonly run: Histogram; readonly wait: Histogram }

export interface CountsPoint extends Counts {
  /** Begin of the step, epoch ms. */
  readonly at: number
}

export interface TaskCountsRow extends Counts {
  readonly task: string | null
  readonly queue: string | null
}

export interface GaugePoint {
  readonly at: number
  /** The last and the highest value in the step, by metric. */
  readonly last: Readonly<Record<string, number>>
  readonly high: Readonly<Record<string, number>>
}

/** Pipelines are looked at over minutes and longer. */
const edgeResolutions = resolutions.slice(1)

export type GaugeKind = 'queue' | 'worker' | 'broker'

export class SeriesStore {
  readonly #db: MonitorDatabase
  readonly #words: Words
  readonly #clock: Clock
  /** By task, queue and metric; numbers of words are asked for when they are written, which may be rolled back. */
  readonly #pending = new Map<string, { task: string | null; queue: string | null; metric: number; n: number }>()

  /** By both names. */
  readonly #followed = new Map<string, { parent: string; child: string; n: number }>()

  constructor(db: MonitorDatabase, words: Words, clock: Clock) {
    this.#db = db
    this.#words = words
    this.#clock = clock
  }

  count(metric: CountedMetric, task: string | null, queue: string | null): void {
    this.#add(metrics[metric], task, queue, 1)
  }

  measure(duration: Duration, ms: number, task: string | null, queue: string | null): void {
    this.#add(bucketMetric(duration, ms), task, queue, 1)
    this.#add(duration === 'run' ? metrics.runMs : metrics.waitMs, task, queue, ms)
  }

  /** One task was sent by another. */
  follow(parent: string, child: string): void {
    const key = JSON.stringify([parent, child])
    const edge = this.#followed.get(key)
    if (edge === undefined) this.#followed.set(key, { parent, child, n: 1 })
    else edge.n += 1
  }

  /** Writes what was counted since the last time, as of now. */
  flush(): void {
    const nowMs = this.#clock.now()
    for (const { parent, child, n } of this.#followed.values()) {
      const ids = [this.#words.idOf(parent), this.#words.idOf(child)]
      for (const { stepMs } of edgeResolutions) {
        this.#db.run(
          `INSERT INTO edges (step, at, parent, child, n) VALUES (?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET n = n + excluded.n`,
          [stepMs, begin(nowMs, stepMs), ...ids, n],
        )
      }
    }
    for (const { task, queue, metric, n } of this.#pending.values()) {
      const [taskId, queueId] = [this.#words.idOf(task), this.#words.idOf(queue)]
      for (const { stepMs } of resolutions) {
        this.#db.run(
          `INSERT INTO counts (step, at, task, queue, metric, n) VALUES (?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET n = n + excluded.n`,
          [stepMs, begin(nowMs, stepMs), taskId, queueId, metric, n],
        )
      }
    }
  }

  /** Of what a flush has written, once its transaction is through. */
  flushed(): void {
    this.#pending.clear()
    this.#followed.clear()
  }

  /** Measurements of one subject, by metric. */
  gauge(kind: GaugeKind, subject: string, values: Readonly<Record<string, number | null>>): void {
    const nowMs = this.#clock.now()
    const id = this.#words.idOf(subject)
    for (const [metric, value] of Object.entries(values)) {
      if (value === null || !Number.isFinite(value)) continue
      for (const { stepMs } of resolutions) {
        this.#db.run(
          `INSERT INTO gauges (step, at, kind, subject, metric, last, high) VALUES (?, ?, ?, ?, ?, ?, ?)
           ON CONFLICT DO UPDATE SET last = excluded.last, high = max(high, excluded.high)`,
          [stepMs, begin(nowMs, stepMs), kind, id, metric, value, value],
        )
      }
    }
  }

  /** One point for each step in which something happened. */
  points(stepMs: number, fromMs: number, toMs: number, filter: SeriesFilter = {}): CountsPoint[] {
    const { where, values } = this.#where(filter)
    const rows = this.#db.all(
      `SELECT at, metric, sum(n) AS n FROM counts WHERE step = ? AND at >= ? AND at < ? ${where} GROUP BY at, metric`,
      [stepMs, begin(fromMs, stepMs), toMs, ...values],
    )
    const tallies = new Map<number, Tally>()
    for (const { at, metric, n } of rows) {
      tallyOf(tallies, Number(at)).add(Number(metric), Number(n))
    }
    return [...tallies].map(([at, tally]) => ({ at, ...tally.counts() }))
  }

  /** The counts of each task in each queue, over the time. */
  byTask(stepMs: number, fromMs: number, toMs: number, filter: SeriesFilter = {}): TaskCountsRow[] {
    const { where, values } = this.#where(filter)
    const rows = this.#db.all(
      `SELECT task, queue, metric, sum(n) AS n FROM counts WHERE step = ? AND at >= ? AND at < ? ${where}
       GROUP BY task, queue, metric`,
      [stepMs, begin(fromMs, stepMs), toMs, ...values],
    )
    const tallies = new Map<string, Tally>()
    for (const { task, queue, metric, n } of rows) {
      tallyOf(tallies, `${task} ${queue}`).add(Number(metric), Number(n))
    }
    return [...tallies].map(([key, tally]) => {
      const [task = 0, queue = 0] = key.split(' ').map(Number)
      return { task: this.#words.textOf(task), queue: this.#words.textOf(queue), ...tally.counts() }
    })
  }

  /** Which tasks sent which since then, and how often. */
  edges(fromMs: number): { readonly parent: string; readonly child: string; readonly n: number }[] {
    const nowMs = this.#clock.now()
    const step =
      edgeResolutions.find(({ keepMs }) => fromMs >= nowMs - keepMs) ?? (edgeResolutions.at(-1) as Resolution)
    const rows = this.#db.all(
      'SELECT parent, child, sum(n) AS n FROM edges WHERE step = ? AND at >= ? GROUP BY parent, child',
      [step.stepMs, begin(fromMs, step.stepMs)],
    )
    return rows.flatMap((row) => {
      const [parent, child] = [this.#words.textOf(Number(row.parent)), this.#words.textOf(Number(row.child))]
      return parent === null || child === null ? [] : [{ parent, child, n: Number(row.n) }]
    })
  }

  gaugePoints(kind: GaugeKind, subject: string, stepMs: number, fromMs: number, toMs: number): GaugePoint[] {
    const rows = this.#db.all(
      `SELECT at, metric, last, high FROM gauges WHERE step = ? AND at >= ? AND at < ? AND kind = ? AND subject = ?`,
      [stepMs, begin(fromMs, stepMs), toMs, kind, this.#words.find(subject) ?? -1],
    )
    const points = new Map<number, { at: number; last: Record<string, number>; high: Record<string, number> }>()
    for (const { at, metric, last, high } of rows) {
      const point = points.get(Number(at)) ?? { at: Number(at), last: {}, high: {} }
      points.set(point.at, point)
      point.last[String(metric)] = Number(last)
      point.high[String(metric)] = Number(high)
    }
    return [...points.values()]
  }

  /** Forgets what is older than each resolution keeps it. */
  prune(): void {
    const nowMs = this.#clock.now()
    for (const { stepMs, keepMs } of resolutions) {
      for (const table of ['counts', 'gauges', 'edges']) {
        this.#db.run(`DELETE FROM ${table} WHERE step = ? AND at < ?`, [stepMs, nowMs - keepMs])
      }
    }
  }

  #add(metric: number, task: string | null, queue: string | null, n: number): void {
    const key = JSON.stringify([task, queue, metric])
    const entry = this.#pending.get(key)
    if (entry === undefined) this.#pending.set(key, { task, queue, metric, n })
    else entry.n += n
  }

  #where({ task = null, queue = null }: SeriesFilter): { where: string; values: number[] } {
    const conditions = Object.entries({ task, queue }).filter(([, text]) => text !== null)
    return {
      where: conditions.map(([column]) => `AND ${column} = ?`).join(' '),
      values: conditions.map(([, text]) => this.#words.find(text as string) ?? -1),
    }
  }
}

function begin(ms: number, stepMs: number): number {
  return Math.floor(ms / stepMs) * stepMs
}

function tallyOf<Key>(tallies: Map<Key, Tally>, key: Key): Tally {
  const tally = tallies.get(key) ?? new Tally()
  tallies.set(key, tally)
  return tally
}

/** Metrics by their numbers, put together. */
class Tally {
  readonly #n = new Map<number, number>()

  add(metric: number, n: number): void {
    this.#n.set(metric, (this.#n.get(metric) ?? 0) + n)
  }

  counts(): Counts {
    const counted = Object.fromEntries(countedMetrics.map((name) => [name, this.#n.get(metrics[name]) ?? 0]))
    return {
      ...(counted as Record<CountedMetric, number>),
      run: this.#histogram('run', metrics.runMs),
      wait: this.#histogram('wait', metrics.waitMs),
    }
  }

  #histogram(duration: Duration, sumMetric: number): Histogram {
    const buckets = new Array<number>(bucketBoundsMs.length + 1).fill(0)
    for (const [metric, n] of this.#n) {
      const place = bucketOf(metric)
      if (place?.duration === duration) buckets[place.bucket] = n
    }
    return { buckets, count: buckets.reduce((sum, n) => sum + n, 0), sumMs: this.#n.get(sumMetric) ?? 0 }
  }
}
