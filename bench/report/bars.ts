/** What Celeriac is to reach on each broker, against the same run's raw ceiling and peers. */
import type { BrokerName, SideName } from '../sides/side.ts'
import { best } from './collector.ts'
import type { Measurement } from './measurement.ts'

export interface Bar {
  readonly text: string
  readonly verdict: 'pass' | 'FAIL' | 'INVALID' | 'not measured'
  /** The figure it was judged by. */
  readonly got: string
}

interface Definition {
  readonly text: string
  readonly scenario: string
  readonly metric: string
  /** The best of these; absent: judged by the figure itself. */
  readonly against?: readonly (SideName | 'raw')[]
  /** Judged by the ratio's own ratio to that in this scenario: what the scenario's circumstances leave of it. */
  readonly comparedWith?: string
  readonly atLeast?: number
  readonly atMost?: number
}

const drained = { scenario: 'drain', metric: 'no-op tasks' }
const idle = { scenario: 'latency', metric: 'idle, two processes: p50' }
const eta = { scenario: 'eta' }

/** Ratios of one run waver by so much, so that less is no fall. */
const noFall = 0.9

const pools = { scenario: 'pools' }

const busyPools: readonly Definition[] = [
  {
    ...pools,
    text: 'processes, tasks of 10 ms: at least 95 % of two bare children',
    metric: 'tasks of 10 ms, fair',
    against: ['raw'],
    atLeast: 0.95,
  },
  {
    ...pools,
    text: 'processes, 1 % a hundred times longer: fair within 10 % of the ideal schedule',
    metric: 'time for all, 1 % of 1 s, others 10 ms, fair',
    against: ['raw'],
    atMost: 1.1,
  },
]

const beating: readonly Definition[] = [
  {
    text: 'beat, 1,000 entries due at one moment: p99 accepted by the broker within 50 ms',
    scenario: 'beats',
    metric: 'accepted late: p99',
    atMost: 50,
  },
  { text: 'beat, 100,000 entries: at most 200 MB', scenario: 'beats', metric: 'RSS', atMost: 200 },
]

const monitored: readonly Definition[] = [
  {
    text: 'monitor: a worker that tells 2,000 events a second keeps 95 % of its rate',
    scenario: 'monitor',
    metric: 'rate kept',
    atLeast: 0.95,
  },
  {
    text: 'monitor, 2,000 events a second: p99 of what pages ask for at most 100 ms',
    scenario: 'monitor',
    metric: 'answers under load: p99',
    atMost: 100,
  },
  {
    text: 'monitor, 2,000 events a second: at least 59 frames a second of the live list',
    scenario: 'monitor',
    metric: 'frames of the live list',
    atLeast: 59,
  },
  {
    text: 'monitor, 2,000 events a second: at most 250 MB',
    scenario: 'monitor',
    metric: 'RSS at most, under load',
    atMost: 250,
  },
]

const poolsBesideCelery: readonly Definition[] = [
  {
    ...pools,
    text: 'processes, no-op tasks, fair: at least 5 × Celery -O fair',
    metric: 'no-op tasks, fair',
    against: ['celery'],
    atLeast: 5,
  },
  {
    ...pools,
    text: 'processes, no-op tasks, throughput: at least 10 × Celery -O fair',
    metric: 'no-op tasks, throughput',
    against: ['celery'],
    atLeast: 10,
  },
]

const sqlite: readonly Definition[] = [
  { ...drained, text: 'drain: at least 30 % of the raw ceiling', against: ['raw'], atLeast: 0.3 },
  { ...drained, text: 'drain: at least twice BullMQ', against: ['bullmq'], atLeast: 2 },
  {
    text: 'bulk enqueue: at least 40 % of the raw ceiling',
    scenario: 'enqueue',
    metric: 'bulk',
    against: ['raw'],
    atLeast: 0.4,
  },
  {
    text: 'idle latency in one process: p50 at most 0.5 ms',
    scenario: 'latency',
    metric: 'idle, one process: p50',
    atMost: 0.5,
  },
  { ...idle, text: 'idle latency between processes: p50 at most 2 ms', atMost: 2 },
  { text: '10k due at once: the last starts within 500 ms', scenario: 'delayed', metric: 'last', atMost: 500 },
  {
    text: '100k delayed tasks: at most 5 MB more worker memory',
    scenario: 'memory',
    metric: 'RSS for the delayed',
    atMost: 5,
  },
  {
    text: 'a claim from 2 million: at least 2/3 of its rate from 20k',
    scenario: 'backlog',
    metric: 'rate kept',
    atLeast: 2 / 3,
  },
  ...busyPools,
  ...beating,
  ...monitored,
]

const fromPython: readonly Definition[] = [
  {
    ...eta,
    text: '100k with an ETA from Python: at most 20 MB more worker memory',
    metric: 'RSS for the waiting',
    atMost: 20,
  },
  { ...eta, text: '100k with an ETA from Python: the latest starts within 1 s', metric: 'latest', atMost: 1_000 },
]

const redis: readonly Definition[] = [
  { ...drained, text: 'drain: at least 3 × BullMQ', against: ['bullmq'], atLeast: 3 },
  {
    ...drained,
    text: 'drain: at least twice the faster of bee-queue and celery-node',
    against: ['bee-queue', 'celery-node'],
    atLeast: 2,
  },
  { ...drained, text: 'drain: at least 15 × Celery', against: ['celery'], atLeast: 15 },
  {
    text: 'drain with results: at least twice BullMQ',
    scenario: 'results',
    metric: 'no-op tasks',
    against: ['bullmq'],
    atLeast: 2,
  },
  {
    text: 'bulk enqueue: at least level with bee-queue',
    scenario: 'enqueue',
    metric: 'bulk',
    against: ['bee-queue'],
    atLeast: 1,
  },
  {
    ...idle,
    text: 'idle latency: p50 no worse than the best peer',
    against: ['bullmq', 'bee-queue', 'celery-node', 'celery'],
    atMost: 1,
  },
  {
    text: 'chord of 1,000: at least 10 × Celery',
    scenario: 'chord',
    metric: 'a chord of 1,000: p50',
    against: ['celery'],
    atMost: 0.1,
  },
  { text: '10k due at once: the last starts within 400 ms', scenario: 'delayed', metric: 'last', atMost: 400 },
  {
    ...drained,
    text: `drain with 1 ms more each way: at least ${noFall} of the ratio to the fastest peer`,
    scenario: 'drain@1ms',
    against: ['bullmq', 'bee-queue', 'celery-node', 'celery'],
    comparedWith: 'drain',
    atLeast: noFall,
  },
  {
    ...idle,
    text: 'idle latency with 1 ms more each way: p50 no worse than the best peer',
    scenario: 'latency@1ms',
    against: ['bullmq', 'bee-queue', 'celery-node', 'celery'],
    atMost: 1,
  },
  ...fromPython,
  ...busyPools,
  ...poolsBesideCelery,
  ...beating,
  ...monitored,
]

const amqp: readonly Definition[] = [
  { ...drained, text: 'drain: at least 40 % of the raw ceiling', against: ['raw'], atLeast: 0.4 },
  { ...drained, text: 'drain: at least 8 × Celery', against: ['celery'], atLeast: 8 },
  {
    text: 'bulk enqueue, confirmed: at least 70 % of the raw ceiling',
    scenario: 'enqueue',
    metric: 'bulk',
    against: ['raw'],
    atLeast: 0.7,
  },
  { ...idle, text: 'idle latency on a classic queue: p50 at most 2 ms', atMost: 2 },
  {
    text: 'idle latency on a quorum queue: p50 at most 2 ms',
    scenario: 'latency',
    metric: 'idle, two processes, quorum queue: p50',
    atMost: 2,
  },
  {
    ...drained,
    text: `drain with 1 ms more each way: at least ${noFall} of the ratio to the fastest peer`,
    scenario: 'drain@1ms',
    against: ['celery-node', 'celery'],
    comparedWith: 'drain',
    atLeast: noFall,
  },
  ...fromPython,
  ...beating,
  ...monitored,
]

const definitions: Readonly<Record<BrokerName, readonly Definition[]>> = { sqlite, redis, amqp }

/** Of the measurements of one broker; SQLite's are for durability `group`. */
export function judge(measurements: readonly Measurement[], broker: BrokerName): Bar[] {
  return definitions[broker].map((definition) => {
    const { text, scenario, comparedWith, atLeast, atMost } = definition
    const figure = figureOf(measurements, definition, scenario)
    const base = comparedWith === undefined ? undefined : figureOf(measurements, definition, comparedWith)
    if (figure === undefined || (comparedWith !== undefined && base === undefined)) {
      return { text, verdict: 'not measured', got: '' }
    }
    const value = base === undefined ? figure.value : figure.value / base.value
    const got = base === undefined ? figure.text : `${value.toFixed(2)}: ${figure.text} instead of ${base.text}`
    if (!figure.exact || base?.exact === false) return { text, verdict: 'INVALID', got }
    const passes = value >= (atLeast ?? Number.NEGATIVE_INFINITY) && value <= (atMost ?? Number.POSITIVE_INFINITY)
    return { text, verdict: passes ? 'pass' : 'FAIL', got }
  })
}

function figureOf(
  measurements: readonly Measurement[],
  { metric, against }: Definition,
  scenario: string,
): { readonly value: number; readonly text: string; readonly exact: boolean } | undefined {
  const ours = best(measurements, scenario, metric, ['celeriac'])
  if (ours === undefined) return undefined
  if (against === undefined) return { value: ours.value, text: `${ours.value} ${ours.unit}`, exact: ours.exact }
  const theirs = best(measurements, scenario, metric, against)
  if (theirs === undefined) return undefined
  const value = ours.value / theirs.value
  return { value, text: `${value.toFixed(2)} × ${theirs.side}`, exact: ours.exact && theirs.exact }
}
