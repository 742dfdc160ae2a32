/** What a worker measures of itself, for Prometheus. */
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks'
import { type Metric, prometheusText, type Sample } from '../prometheus.ts'
import type { Worker } from '../work/worker.ts'

/** How often the event loop is measured, in ms; what is measured includes it. */
const lagResolutionMs = 20
const lagQuantiles = [0.5, 0.99]

/** Measures the event loop from when it is made until it is closed. */
export class WorkerMetrics {
  readonly #lag: IntervalHistogram = monitorEventLoopDelay({ resolution: lagResolutionMs })

  constructor() {
    this.#lag.enable()
  }

  close(): void {
    this.#lag.disable()
  }

  /** @param tasks names of the tasks it can run, which are all that are counted */
  read(worker: Worker, tasks: readonly string[], version: string): string {
    const health = worker.health()
    const totals = worker.totals()
    const gauge = (name: string, help: string, ...samples: Sample[]): Metric => metric('gauge', name, help, samples)
    return prometheusText([
      gauge('info', 'What it is; always 1.', {
        labels: { worker: worker.name, version, pool: worker.settings.pool },
        value: 1,
      }),
      gauge('healthy', 'Whether it takes tasks: 1 or 0.', { value: Number(health.ok) }),
      gauge('start_time_seconds', 'When it started, since the epoch.', { value: worker.startedAt / 1_000 }),
      gauge('tasks_running', 'Tasks running now.', { value: health.running }),
      gauge('tasks_reserved', 'Messages fetched that wait for a slot.', { value: worker.reserved().length }),
      metric(
        'counter',
        'tasks_processed_total',
        'Runs that have ended, by task.',
        tasks.map((task) => ({ labels: { task }, value: totals[task] ?? 0 })),
      ),
      gauge('last_fetch_age_seconds', 'Since the broker was last heard.', { value: health.fetchedMsAgo / 1_000 }),
      gauge(
        'pool_size',
        'Tasks that may run at once, by pool.',
        ...worker.pools.map(({ kind, size }) => ({ labels: { pool: kind }, value: size })),
      ),
      metric(
        'counter',
        'children_replaced_total',
        'Children of pools that were replaced, by what ended them.',
        worker.pools.flatMap(({ kind, recycled = {} }) =>
          Object.entries(recycled).map(([reason, value]) => ({ labels: { pool: kind, reason }, value })),
        ),
      ),
      gauge('event_loop_lag_seconds', 'How late the event loop was, since this was last read.', ...this.#lagSamples()),
      gauge('resident_memory_bytes', 'Memory of the process.', { value: process.memoryUsage.rss() }),
    ])
  }

  #lagSamples(): Sample[] {
    const secondsOf = (nanoseconds: number): number =>
      Math.max(0, Math.round(nanoseconds / 1e3 - lagResolutionMs * 1e3)) / 1e6
    const samples = lagQuantiles.map((quantile) => ({
      labels: { quantile: String(quantile) },
      value: secondsOf(this.#lag.percentile(quantile * 100)),
    }))
    const max = { labels: { quantile: '1' }, value: this.#lag.count === 0 ? 0 : secondsOf(this.#lag.max) }
    this.#lag.reset()
    return [...samples, max]
  }
}

function metric(type: Metric['type'], name: string, help: string, samples: readonly Sample[]): Metric {
  return { name: `celeriac_worker_${name}`, type, help, samples }
}
