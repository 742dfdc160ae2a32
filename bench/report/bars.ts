/** What Celeriac is to reach, against the same run's raw ceiling and BullMQ. The bars are for durability `group`. */
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
  /** Absent: judged by the figure itself. */
  readonly against?: 'raw' | 'bullmq'
  readonly atLeast?: number
  readonly atMost?: number
}

const definitions: readonly Definition[] = [
  {
    text: 'drain: at least 30 % of the raw ceiling',
    scenario: 'drain',
    metric: 'no-op tasks',
    against: 'raw',
    atLeast: 0.3,
  },
  { text: 'drain: at least twice BullMQ', scenario: 'drain', metric: 'no-op tasks', against: 'bullmq', atLeast: 2 },
  {
    text: 'bulk enqueue: at least 40 % of the raw ceiling',
    scenario: 'enqueue',
    metric: 'bulk',
    against: 'raw',
    atLeast: 0.4,
  },
  {
    text: 'idle latency in one process: p50 at most 0.5 ms',
    scenario: 'latency',
    metric: 'idle, one process: p50',
    atMost: 0.5,
  },
  {
    text: 'idle latency between processes: p50 at most 2 ms',
    scenario: 'latency',
    metric: 'idle, two processes: p50',
    atMost: 2,
  },
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
]

export function judge(measurements: readonly Measurement[]): Bar[] {
  return definitions.map(({ text, scenario, metric, against, atLeast, atMost }) => {
    const ours = best(measurements, scenario, metric, 'celeriac')
    const theirs = against === undefined ? undefined : best(measurements, scenario, metric, against)
    if (ours === undefined || (against !== undefined && theirs === undefined)) {
      return { text, verdict: 'not measured', got: '' }
    }
    const figure = theirs === undefined ? ours.value : ours.value / theirs.value
    const got = theirs === undefined ? `${ours.value} ${ours.unit}` : `${figure.toFixed(2)} × ${against}`
    if (!ours.exact || theirs?.exact === false) return { text, verdict: 'INVALID', got }
    const passes = figure >= (atLeast ?? Number.NEGATIVE_INFINITY) && figure <= (atMost ?? Number.POSITIVE_INFINITY)
    return { text, verdict: passes ? 'pass' : 'FAIL', got }
  })
}
