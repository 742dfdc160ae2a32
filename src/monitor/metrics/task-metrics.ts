/** What is counted of tasks for Prometheus since the monitor began: its counters never go back. */
import type { Metric, Sample } from '../../prometheus.ts'
import type { Counted } from '../collect/intake.ts'

/** Upper bounds of histograms, in seconds. */
const boundsS: readonly number[] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 3_600]
/** Combinations of labels; further ones are counted together, since names may come from anywhere. */
const maxSeries = 5_000
const others = 'others'

type Labels = Readonly<Record<string, string>>

class Histogram {
  readonly #buckets = new Array<number>(boundsS.length).fill(0)
  #count = 0
  #sum = 0

  add(seconds: number): void {
    this.#count += 1
    this.#sum += seconds
    const at = boundsS.findIndex((bound) => seconds <= bound)
    if (at >= 0) this.#buckets[at] = (this.#buckets[at] ?? 0) + 1
  }

  samples(labels: Labels): Sample[] {
    let below = 0
    const buckets = boundsS.map((bound, index) => {
      below += this.#buckets[index] ?? 0
      return { suffix: '_bucket', labels: { ...labels, le: String(bound) }, value: below }
    })
    return [
      ...buckets,
      { suffix: '_bucket', labels: { ...labels, le: '+Inf' }, value: this.#count },
      { suffix: '_sum', labels, value: this.#sum },
      { suffix: '_count', labels, value: this.#count },
    ]
  }
}

/** Values by their labels, a bounded number of them. */
class Series<Value> {
  readonly #values = new Map<string, { readonly labels: Labels; value: Value }>()
  readonly #first: () => Value

  constructor(first: () => Value) {
    this.#first = first
  }

  update(labels: Labels, change: (value: Value) => Value): void {
    const key = JSON.stringify(labels)
    let entry = this.#values.get(key)
    if (entry === undefined && this.#values.size >= maxSeries) {
      const rest = Object.fromEntries(Object.keys(labels).map((name) => [name, others]))
      entry = this.#at(JSON.stringify(rest), rest)
    }
    entry ??= this.#at(key, labels)
    entry.value = change(entry.value)
  }

  delete(labels: Labels): void {
    this.#values.delete(JSON.stringify(labels))
  }

  get entries(): readonly { readonly labels: Labels; readonly value: Value }[] {
    return [...this.#values.values()]
  }

  #at(key: string, labels: Labels): { readonly labels: Labels; value: Value } {
    let entry = this.#values.get(key)
    if (entry === undefined) {
      entry = { labels, value: this.#first() }
      this.#values.set(key, entry)
    }
    return entry
  }
}

const zero = (): number => 0
const plus =
  (n: number) =>
  (value: number): number =>
    value + n
const added =
  (seconds: number) =>
  (histogram: Histogram): Histogram => {
    histogram.add(seconds)
    return histogram
  }
const counters = (series: Series<number>): Sample[] => series.entries.map(({ labels, value }) => ({ labels, value }))
const histograms = (series: Series<Histogram>): Sample[] =>
  series.entries.flatMap(({ labels, value }) => value.samples(labels))

export class TaskMetrics {
  readonly #events = new Series(zero)
  readonly #run = new Series(() => new Histogram())
  readonly #wait = new Series(() => new Histogram())

  add({ event, task, queue, waitMs, runMs }: Counted): void {
    const labels = { task: task.name ?? '', queue: queue ?? '' }
    this.#events.update({ ...labels, event: event.type.slice('task-'.length) }, plus(1))
    if (waitMs !== undefined) this.#wait.update(labels, added(waitMs / 1_000))
    if (runMs !== undefined) this.#run.update(labels, added(runMs / 1_000))
  }

  read(): Metric[] {
    return [
      {
        name: 'celeriac_task_events_total',
        type: 'counter',
        help: 'What tasks did: sent, received, started, succeeded, failed, retried …',
        samples: counters(this.#events),
      },
      {
        name: 'celeriac_task_run_seconds',
        type: 'histogram',
        help: 'How long runs took.',
        samples: histograms(this.#run),
      },
      {
        name: 'celeriac_task_wait_seconds',
        type: 'histogram',
        help: 'From when a task was to be had until it was started.',
        samples: histograms(this.#wait),
      },
    ]
  }
}

/** The same in Flower's names and labels, for dashboards that were made for it. */
export class FlowerMetrics {
  readonly #events = new Series(zero)
  readonly #runtime = new Series(() => new Histogram())
  readonly #prefetchTime = new Series(zero)
  readonly #prefetched = new Series(zero)

  add({ event, task, runMs }: Counted): void {
    const labels = { worker: event.hostname ?? '', task: task.name ?? '' }
    this.#events.update({ ...labels, type: event.type }, plus(1))
    if (runMs !== undefined && event.type === 'task-succeeded') this.#runtime.update(labels, added(runMs / 1_000))
    if (event.type === 'task-received') this.#prefetched.update(labels, plus(1))
    if (event.type !== 'task-started') return
    this.#prefetched.update(labels, (n) => Math.max(0, n - 1))
    const { startedAt, receivedAt } = task
    if (startedAt === null || receivedAt === null) return
    this.#prefetchTime.update(labels, () => Math.max(0, startedAt - receivedAt) / 1_000)
  }

  read(): Metric[] {
    return [
      { name: 'flower_events_total', type: 'counter', help: 'Number of events', samples: counters(this.#events) },
      {
        name: 'flower_task_runtime_seconds',
        type: 'histogram',
        help: 'Task runtime',
        samples: histograms(this.#runtime),
      },
      {
        name: 'flower_task_prefetch_time_seconds',
        type: 'gauge',
        help: 'The time the task spent waiting at the worker to be executed.',
        samples: counters(this.#prefetchTime),
      },
      {
        name: 'flower_worker_prefetched_tasks',
        type: 'gauge',
        help: 'Number of tasks of given type prefetched at a worker',
        samples: counters(this.#prefetched),
      },
    ]
  }
}
