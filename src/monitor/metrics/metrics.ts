/** All that `/metrics` tells: of tasks since the monitor began, of queues and workers as they are. */
import { type Metric, prometheusText, type Sample } from '../../prometheus.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import { packageVersion } from '../../version.ts'
import type { ApiParts } from '../api/parts.ts'
import { recycledOf, slotsOf } from '../api/views.ts'
import type { Counted } from '../collect/intake.ts'
import type { KnownQueue } from '../collect/queues.ts'
import type { KnownWorker } from '../collect/workers.ts'
import { FlowerMetrics, TaskMetrics } from './task-metrics.ts'

export class Metrics {
  readonly #tasks = new TaskMetrics()
  readonly #flower: FlowerMetrics | undefined

  /** @param withFlower tells all in Flower's names too */
  constructor(withFlower: boolean) {
    this.#flower = withFlower ? new FlowerMetrics() : undefined
  }

  add(counted: Counted): void {
    this.#tasks.add(counted)
    this.#flower?.add(counted)
  }

  read({ collector }: Pick<ApiParts, 'collector'>): string {
    const queues = collector.queues.all()
    const workers = collector.workers.all()
    const { counts, troubles } = collector
    const monitor = (name: string, type: Metric['type'], help: string, value: number): Metric => ({
      ...{ name: `celeriac_monitor_${name}`, type, help, samples: [{ value }] },
    })
    return prometheusText([
      ...this.#tasks.read(),
      ...queueMetrics(queues),
      ...workerMetrics(workers),
      {
        name: 'celeriac_monitor_info',
        type: 'gauge',
        help: 'What it is; always 1.',
        samples: [{ labels: { version: packageVersion() }, value: 1 }],
      },
      monitor('events_total', 'counter', 'Events of tasks that were taken in.', counts.taken),
      monitor('missed_events_total', 'counter', 'Events that could not be stored.', counts.missed),
      monitor('buffered_events', 'gauge', 'Events that wait to be stored.', counts.buffered),
      monitor('troubles', 'gauge', 'Things that it cannot do at present.', troubles.length),
      ...(this.#flower === undefined ? [] : [...this.#flower.read(), ...flowerWorkerMetrics(workers)]),
    ])
  }
}

function queueMetrics(queues: readonly KnownQueue[]): Metric[] {
  const live = queues.filter(({ queue }) => !queue.endsWith(deadSuffix))
  const gauge = (name: string, help: string, of: (queue: KnownQueue) => number | null): Metric => ({
    ...{ name: `celeriac_queue_${name}`, type: 'gauge', help },
    samples: live.flatMap((queue) => sampleOf({ queue: queue.queue }, of(queue))),
  })
  return [
    gauge('ready', 'Messages that wait.', ({ ready }) => ready),
    gauge('delayed', 'Messages that are not due yet.', ({ delayed }) => delayed),
    gauge('in_flight', 'Messages that workers have.', ({ inFlight }) => inFlight),
    gauge('consumers', 'Who consumes it.', ({ consumers }) => consumers),
    gauge('paused', 'Whether it is held.', ({ paused }) => Number(paused)),
    gauge('oldest_seconds', 'Age of the first that waits.', ({ oldestMs }) =>
      oldestMs === null ? null : oldestMs / 1_000,
    ),
    {
      name: 'celeriac_dead_letters',
      type: 'gauge',
      help: 'Dead letters, by the queue that they were in.',
      samples: queues
        .filter(({ queue }) => queue.endsWith(deadSuffix))
        .map(({ queue, ready }) => ({ labels: { queue: queue.slice(0, -deadSuffix.length) }, value: ready })),
    },
  ]
}

function workerMetrics(workers: readonly KnownWorker[]): Metric[] {
  const gauge = (name: string, help: string, of: (worker: KnownWorker) => number | null): Metric => ({
    ...{ name: `celeriac_worker_${name}`, type: 'gauge', help },
    samples: workers.flatMap((worker) => sampleOf({ worker: worker.hostname }, of(worker))),
  })
  return [
    gauge('up', 'Whether it is heard.', ({ isAlive }) => Number(isAlive)),
    gauge('tasks_active', 'Tasks that it runs.', ({ active }) => active),
    gauge('slots', 'Tasks that it can run at once.', slotsOf),
    gauge('cpu', 'Share of one processor that its process uses.', ({ cpu }) => cpu),
    gauge('memory_bytes', 'Memory of its process.', ({ memoryBytes }) => memoryBytes),
    gauge('loop_lag_seconds', 'How late its event loop is.', ({ loopLagMs }) =>
      loopLagMs === null ? null : loopLagMs / 1_000,
    ),
    {
      name: 'celeriac_worker_children_replaced',
      type: 'gauge',
      help: 'Children that it replaced since its start, by what ended them.',
      samples: workers.flatMap((worker) =>
        Object.entries(recycledOf(worker) ?? {}).map(([reason, value]) => ({
          labels: { worker: worker.hostname, reason },
          value,
        })),
      ),
    },
  ]
}

function flowerWorkerMetrics(workers: readonly KnownWorker[]): Metric[] {
  return [
    {
      name: 'flower_worker_online',
      type: 'gauge',
      help: 'Worker online status',
      samples: workers.map(({ hostname, isAlive }) => ({ labels: { worker: hostname }, value: Number(isAlive) })),
    },
    {
      name: 'flower_worker_number_of_currently_executing_tasks',
      type: 'gauge',
      help: 'Number of tasks currently executing at a worker',
      samples: workers.map(({ hostname, active }) => ({ labels: { worker: hostname }, value: active ?? 0 })),
    },
  ]
}

function sampleOf(labels: Readonly<Record<string, string>>, value: number | null): Sample[] {
  return value === null ? [] : [{ labels, value }]
}
