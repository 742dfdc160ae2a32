/** What `celeriac bench` prints for people: numbers of the flows and the stages, the bottleneck, what to do about it. */
import type { Advice } from '../bench/advice.ts'
import { type Arrivals, lengthOf } from '../bench/arrivals.ts'
import type { Limit } from '../bench/capacity.ts'
import type { BenchReport, StageReport } from '../bench/report.ts'
import type { Point } from '../bench/series.ts'
import type { TimesSummary } from '../bench/times.ts'
import { shortTime } from '../duration.ts'
import { count } from './migrate-progress.ts'
import { type Column, plural, table, wrap } from './output.ts'
import type { Paint } from './terminal.ts'
import { clip, visible } from './text-width.ts'

/** Lines of text are no longer than this, however wide the terminal is. */
const textWidth = 100
/** A chart has so many columns, if there is room. */
const chartWidth = { least: 6, most: 30 }
/** What the other columns take when a chart stands beside them, roughly. */
const besideChart = 70
const longestName = 24
const blocks = '▁▂▃▄▅▆▇█'
/** A sender that is later than this has not kept the rate, in ms. */
const lateMs = 50
/** Clocks that are further apart than this spoil what is measured from one host to another. */
const aheadMs = 50
/** Below this share of measured runs it is said. */
const wellMeasured = 0.99
const failuresShown = 3

export function benchReport(report: BenchReport, columns: number, paint: Paint): string {
  const width = Math.min(columns, textWidth)
  const { flow, arrivals, elapsedMs, isStopped, stages } = report
  const say = (text: string, indent = 2): string => wrap(visible(text), width, indent)
  const stopped = isStopped ? ', stopped before its end' : ''
  return [
    paint('bold', say(`${flow}: ${describeArrivals(arrivals)}${stopped}; through in ${shortTime(elapsedMs)}`)),
    ...flowLines(report).map((text) => `  ${say(text)}`),
    '',
    table(stages, timeColumns, columns, paint),
    '',
    table(stages, loadColumns(columns), columns, paint),
    '',
    ...remarks(report).map((text) => paint('yellow', say(`! ${text}`))),
    paint(report.isReached ? 'red' : 'green', say(verdict(report))),
    ...report.advice.map((advice) => say(`→ ${adviceText(advice)}`)),
  ].join('\n')
}

/** `3,000 flows at 50/s for 1 min` */
export function describeArrivals(arrivals: Arrivals): string {
  const time = shortTime(lengthOf(arrivals))
  switch (arrivals.kind) {
    case 'rate':
      return `${perSecond(arrivals.perSecond)} for ${time}`
    case 'ramp':
      return `from ${perSecond(arrivals.fromPerSecond)} to ${perSecond(arrivals.toPerSecond)} in ${time}`
    case 'drain':
      return `${count(arrivals.count)} at once`
  }
}

function flowLines({ flows, perSecond: mean, busiestPerSecond, latency, arrivals }: BenchReport): string[] {
  const counts = [
    `${count(flows.sent)} sent`,
    `${count(flows.completed)} completed`,
    ...(['failed', 'refused', 'unfinished', 'lost'] as const).flatMap((what) =>
      flows[what] === 0 ? [] : [`${count(flows[what])} ${what}`],
    ),
  ]
  const busiest = busiestPerSecond === null ? '' : `, ${perSecond(busiestPerSecond)} in the busiest 5 s`
  const since = arrivals.kind === 'drain' ? 'from the start' : 'from when they were due'
  const { p50Ms, p95Ms, p99Ms, maxMs } = latency
  const times = [`p50 ${time(p50Ms)}`, `p95 ${time(p95Ms)}`, `p99 ${time(p99Ms)}`, `max ${time(maxMs)}`]
  return [`${counts.join(', ')}: ${perSecond(mean)}${busiest}`, `end to end, ${since}: ${times.join(', ')}`]
}

const timeColumns: readonly Column<StageReport>[] = [
  { title: 'STAGE', of: ({ task }) => nameOf(task) },
  { title: 'PER S', of: ({ perSecond: rate }) => decimal(rate), align: 'right' },
  ...percentileColumns('WAIT', ({ wait }) => wait),
  ...percentileColumns('RUN', ({ run }) => run),
]

function percentileColumns(title: string, of: (stage: StageReport) => TimesSummary): Column<StageReport>[] {
  return [
    { title: `${title} p50`, of: (stage) => time(of(stage).p50Ms), align: 'right' },
    { title: 'p95', of: (stage) => time(of(stage).p95Ms), align: 'right' },
    { title: 'p99', of: (stage) => time(of(stage).p99Ms), align: 'right' },
  ]
}

function loadColumns(columns: number): Column<StageReport>[] {
  const room = Math.min(chartWidth.most, Math.max(chartWidth.least, columns - besideChart))
  return [
    { title: 'STAGE', of: ({ task }) => nameOf(task) },
    { title: 'CALLS', of: ({ calls }) => count(calls), align: 'right' },
    { title: 'RETRIED', of: ({ retries }) => count(retries), align: 'right' },
    { title: 'FAILED', of: ({ failed }) => count(failed), align: 'right', paint: redIfAny },
    { title: 'BUSY SLOTS', of: ({ busySlots, slots }) => `${decimal(busySlots)} of ${slots ?? '?'}`, align: 'right' },
    { title: 'CPU', of: ({ cores }) => (cores === null ? '?' : decimal(cores)), align: 'right' },
    { title: 'QUEUED', of: ({ depth, deepest }) => `${chart(depth, room)} ${count(deepest)}` },
  ]
}

function redIfAny({ failed }: StageReport, text: string, paint: Paint): string {
  return failed > 0 ? paint('red', text) : text
}

/** A line of blocks: the highest value of what a column stands for, or the one before where nothing was counted in it. */
export function chart(points: readonly Point[], columns: number): string {
  const endMs = Math.max(1, points.at(-1)?.atMs ?? 0)
  const highest = Math.max(1, ...points.map(({ value }) => value))
  let [at, value] = [0, 0]
  let line = ''
  for (let column = 1; column <= columns; column++) {
    const counted: number[] = []
    for (; at < points.length && ((points[at] as Point).atMs / endMs) * columns <= column; at++) {
      counted.push((points[at] as Point).value)
    }
    if (counted.length > 0) value = Math.max(...counted)
    line += blocks[Math.ceil((value / highest) * (blocks.length - 1))]
  }
  return line
}

/** What has to be known to read the numbers rightly. */
function remarks(report: BenchReport): string[] {
  const { flows, arrivals, late, failures, firstRefusal, measured, aheadMs: ahead, workers } = report
  const said: string[] = []
  if (arrivals.kind !== 'drain' && (late.p99Ms ?? 0) > lateMs) {
    said.push(
      `The sender could not keep the rate: one in a hundred left more than ${time(late.p99Ms)} too late. The times ` +
        'end to end count from when they were due, so they hold; the rate was lower than asked for.',
    )
  }
  if (flows.refused > 0)
    said.push(`${plural(flows.refused, 'flow was', 'flows were')} refused when sent: ${firstRefusal}`)
  for (const { error, example, count: times } of failures.slice(0, failuresShown)) {
    said.push(`${count(times)} failed with ${error}, such as: ${example}`)
  }
  if (flows.unfinished > 0) {
    said.push(
      `${count(flows.unfinished)} had no outcome in the end; in the times end to end they count with their age.`,
    )
  }
  if (flows.lost > 0) said.push(`${count(flows.lost)} have no outcome, and no queue holds them any more.`)
  if (measured !== null && measured < wellMeasured) {
    said.push(`Only ${Math.floor(measured * 100)} % of the runs were measured: events were lost, or workers send none.`)
  }
  if (ahead > aheadMs) {
    said.push(`A worker's clock is ${time(ahead)} ahead of this one: waits and times end to end are as wrong.`)
  }
  if (workers.length === 0) said.push('No worker answered, so slots and CPU are not known.')
  return said
}

function verdict({ bottleneck, isReached, stages }: BenchReport): string {
  if (bottleneck === null) {
    const deepest = [...stages].sort((a, b) => b.deepest - a.deepest)[0]
    const hint = deepest === undefined || deepest.deepest === 0 ? '' : ` Most waited for ${deepest.task}.`
    return `The bottleneck is not known: it follows from runs and slots, and too little was measured.${hint}`
  }
  const fact = limitText(bottleneck)
  return isReached ? `Bottleneck: ${fact}` : `Nothing was at its limit. First would be ${fact}`
}

function limitText(limit: Limit): string {
  const whose = limit.tasks.map(nameOf).join(' + ')
  const most = `${perSecond(limit.perSecond)} at most`
  switch (limit.kind) {
    case 'slots':
      return `${whose}: a flow takes ${time(limit.demandMs)} of its ${plural(limit.slots, 'slot')}, so ${most}.`
    case 'cpu': {
      const cores = `the ${plural(limit.cores, 'core')} that its ${plural(limit.workers, 'worker')} can use`
      return `${whose}, by CPU: a flow takes ${time(limit.demandMs)} of ${cores}, so ${most}.`
    }
    case 'host':
      return `this machine: a flow takes ${time(limit.demandMs)} of its ${plural(limit.cores, 'core')}, so ${most}.`
    case 'rule':
      return `${whose}, by its ${limit.text}: ${most}.`
  }
}

function adviceText(advice: Advice): string {
  const task = nameOf(advice.task)
  const { next } = advice
  const gain = `would carry ${perSecond(advice.perSecond)}${next === undefined ? '' : `; then ${limitName(next)} is next`}`
  switch (advice.kind) {
    case 'slots':
      return `${advice.to} slots for ${task} instead of ${advice.from} (workers, or -c) ${gain}.`
    case 'cores':
      return `${advice.to} workers of ${task} with a core each instead of ${advice.from}, or -P processes -c ${advice.to}, ${gain}.`
    case 'demand': {
      const what =
        advice.of === 'slots' ? `${task} in` : advice.of === 'cpu' ? `${task} with CPU of` : 'All stages with CPU of'
      return `${what} ${time(advice.toMs)} a flow instead of ${time(advice.fromMs)} (batching, caching) ${gain}.`
    }
    case 'rule':
      return `Without the ${advice.text} of ${task} it ${gain}.`
  }
}

function limitName({ kind, tasks }: Limit): string {
  const whose = tasks.map(nameOf).join(' + ')
  return { slots: whose, cpu: `the CPU of ${whose}`, host: 'this machine', rule: `the limit set for ${whose}` }[kind]
}

function nameOf(task: string): string {
  return clip(visible(task), longestName)
}

/** `0.4 ms`, `12 ms`, `1.25 s`; `-` where there is none. */
function time(ms: number | null): string {
  if (ms === null) return '-'
  return ms < 10 ? `${Number(ms.toFixed(1))} ms` : shortTime(ms)
}

function perSecond(rate: number): string {
  return `${decimal(rate)}/s`
}

function decimal(value: number): string {
  return value >= 100 ? count(value) : String(Number(value.toFixed(1)))
}
