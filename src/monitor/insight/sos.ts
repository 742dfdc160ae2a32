/**
 * What is wrong now, and what helps: the list that somebody goes through when everything is on fire. Every check says
 * what it found in words and numbers; what can be done at a button's push is told as a request to this API.
 */
import type { z } from 'zod'
import { shortTime } from '../../duration.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import type { ApiParts } from '../api/parts.ts'
import type { Finding, Sos } from '../api/shapes.ts'
import type { KnownQueue } from '../collect/queues.ts'
import type { KnownWorker } from '../collect/workers.ts'
import type { GaugeKind, TaskCountsRow } from '../store/series-store.ts'
import { type Point, trendOf } from './trend.ts'

type FindingView = z.infer<typeof Finding>
type Level = z.infer<typeof Sos>['level']

/** Where the facts come from. */
export type SosParts = Pick<ApiParts, 'collector' | 'store' | 'clock'>

/** What the checks look at. */
interface Facts {
  readonly parts: SosParts
  readonly nowMs: number
  readonly workers: readonly KnownWorker[]
  /** Without those of dead letters. */
  readonly queues: readonly KnownQueue[]
  readonly dead: readonly KnownQueue[]
  /** Of the last five minutes. */
  readonly counts: readonly TaskCountsRow[]
  readonly points: (kind: GaugeKind, subject: string, metric: string) => Point[]
}

interface Check {
  readonly kind: string
  readonly title: string
  readonly look: (facts: Facts) => readonly FindingView[]
}

const minuteMs = 60_000
const countsMs = 5 * minuteMs
const stepMs = 10_000
/** Trends are taken over so long. */
const trendMs = 30 * minuteMs
const shortestTrendMs = 10 * minuteMs
const megabyte = 1024 ** 2
/** A schedule whose time is over for longer has no beat. */
const beatLateMs = 30_000
const recentTasks = 500

const checks: readonly Check[] = [
  { kind: 'worker-silent', title: 'Workers that went without a word', look: silentWorkers },
  { kind: 'worker-memory', title: 'Memory of workers against their limits', look: fullMemory },
  { kind: 'worker-leak', title: 'Memory that only grows', look: leaks },
  { kind: 'worker-cpu', title: 'Workers whose processor is used up', look: busyProcessors },
  { kind: 'loop-lag', title: 'Event loops that are held up', look: heldLoops },
  { kind: 'queue-unserved', title: 'Queues that nobody takes from', look: unserved },
  { kind: 'queue-paused', title: 'Queues that are held', look: paused },
  { kind: 'queue-stuck', title: 'Consumers that take nothing', look: stuck },
  { kind: 'queue-growing', title: 'Queues that grow', look: growing },
  { kind: 'retry-storm', title: 'Tasks that are tried again and again', look: retryStorms },
  { kind: 'error-rate', title: 'Tasks that fail', look: failures },
  { kind: 'hot-key', title: 'The same call over and over', look: hotKeys },
  { kind: 'dead-letters', title: 'Dead letters that become more', look: deadLetters },
  { kind: 'missed-beat', title: 'Schedules that are late', look: lateSchedules },
  { kind: 'monitor', title: 'What the monitor cannot do', look: troubles },
]
const levels: readonly Level[] = ['ok', 'info', 'warn', 'critical']

export function sosOf(parts: SosParts): z.infer<typeof Sos> {
  const { collector, store, clock } = parts
  const nowMs = clock.now()
  const all = collector.queues.all()
  const facts: Facts = {
    parts,
    nowMs,
    workers: collector.workers.all(),
    queues: all.filter(({ queue }) => !queue.endsWith(deadSuffix)),
    dead: all.filter(({ queue }) => queue.endsWith(deadSuffix)),
    counts: store.series.byTask(stepMs, nowMs - countsMs, nowMs + 1),
    points: (kind, subject, metric) =>
      store.series.gaugePoints(kind, subject, stepMs, nowMs - trendMs, nowMs + 1).flatMap(({ at, last }) => {
        const value = last[metric]
        return value === undefined ? [] : [{ at, value }]
      }),
  }
  const found = checks.map(({ look }) => look(facts))
  const worst = (findings: readonly FindingView[]): Level =>
    findings.reduce<Level>((level, finding) => (rank(finding.level) > rank(level) ? finding.level : level), 'ok')
  const findings = found.flat().sort((a, b) => rank(b.level) - rank(a.level))
  return {
    at: nowMs,
    level: worst(findings),
    checked: checks.map(({ kind, title }, index) => ({ kind, title, level: worst(found[index] ?? []) })),
    findings,
  }
}

function rank(level: Level): number {
  return levels.indexOf(level)
}

function silentWorkers({ workers, nowMs }: Facts): FindingView[] {
  const dayMs = 24 * 60 * minuteMs
  return workers
    .filter(({ isAlive, heardAt }) => !isAlive && heardAt !== null && nowMs - heardAt < dayMs)
    .map(({ hostname, heardAt }) => ({
      ...{ level: 'warn' as const, kind: 'worker-silent', about: { kind: 'worker' as const, name: hostname } },
      message: `${hostname} was heard last ${shortTime(nowMs - (heardAt ?? nowMs))} ago, and did not say goodbye: it was killed, or has lost the broker. What it had comes back to the queues`,
      command: `celeriac inspect ping -d ${hostname}`,
      remedy: null,
    }))
}

function fullMemory({ workers }: Facts): FindingView[] {
  return workers.flatMap(({ hostname, isAlive, memoryBytes, stats }) => {
    const limit = stats?.process?.heap_limit
    const used = stats?.process?.heap_used
    if (!isAlive || limit === undefined || used === undefined || used / limit < 0.7) return []
    return [
      {
        ...{ level: used / limit >= 0.9 ? ('critical' as const) : ('warn' as const), kind: 'worker-memory' },
        about: { kind: 'worker' as const, name: hostname },
        message: `${hostname} uses ${megabytes(used)} of the ${megabytes(limit)} that Node may use for objects (${megabytes(memoryBytes ?? used)} in all); beyond, it ends`,
        command: `celeriac control shutdown -d ${hostname}`,
        remedy: shutdownOf(hostname),
      },
    ]
  })
}

/** It is a leak only if the line fits: a sawtooth of garbage that is collected rises as well, for a while. */
function leaks({ workers, points }: Facts): FindingView[] {
  return workers.flatMap(({ hostname, isAlive }) => {
    const trend = isAlive ? trendOf(points('worker', hostname, 'memoryBytes')) : undefined
    if (trend === undefined || trend.spanMs < shortestTrendMs || trend.fit < 0.7) return []
    const grown = (trend.perHour * trend.spanMs) / (60 * minuteMs)
    if (grown < 30 * megabyte || grown < 0.2 * (trend.last - grown)) return []
    return [
      {
        ...{ level: 'warn' as const, kind: 'worker-leak', about: { kind: 'worker' as const, name: hostname } },
        message: `the memory of ${hostname} has grown by ${megabytes(grown)} in ${shortTime(trend.spanMs)}, steadily: ${megabytes(trend.perHour)} an hour`,
        command: 'celeriac worker --max-memory-per-child 200MB',
        remedy: shutdownOf(hostname),
      },
    ]
  })
}

function busyProcessors({ workers }: Facts): FindingView[] {
  return workers.flatMap(({ hostname, isAlive, cpu }) =>
    !isAlive || cpu === null || cpu < 0.95
      ? []
      : [
          {
            ...{ level: 'warn' as const, kind: 'worker-cpu', about: { kind: 'worker' as const, name: hostname } },
            message: `the process of ${hostname} uses ${Math.round(cpu * 100)} % of a processor: its event loop can do no more`,
            command: 'celeriac worker -P processes',
            remedy: null,
          },
        ],
  )
}

function heldLoops({ workers }: Facts): FindingView[] {
  return workers.flatMap(({ hostname, isAlive, loopLagMs }) =>
    !isAlive || loopLagMs === null || loopLagMs < 200
      ? []
      : [
          {
            ...{ level: loopLagMs > 2_000 ? ('critical' as const) : ('warn' as const), kind: 'loop-lag' },
            about: { kind: 'worker' as const, name: hostname },
            message: `the event loop of ${hostname} is held up for ${shortTime(loopLagMs)}: a task computes without a pause`,
            command: `celeriac inspect active -d ${hostname}`,
            remedy: null,
          },
        ],
  )
}

function unserved({ queues }: Facts): FindingView[] {
  return queues
    .filter(({ ready, consumers, paused: isPaused }) => ready > 0 && consumers === 0 && !isPaused)
    .map(({ queue, ready, oldestMs }) => ({
      ...{ level: 'critical' as const, kind: 'queue-unserved', about: { kind: 'queue' as const, name: queue } },
      message: `${ready} wait in ${queue}${ageOf(oldestMs)}, and no worker takes from it`,
      command: `celeriac worker -Q ${queue}`,
      remedy: null,
    }))
}

function paused({ queues }: Facts): FindingView[] {
  return queues
    .filter(({ ready, paused: isPaused }) => isPaused && ready > 0)
    .map(({ queue, ready, oldestMs }) => ({
      ...{ level: 'info' as const, kind: 'queue-paused', about: { kind: 'queue' as const, name: queue } },
      message: `${queue} is held, and ${ready} wait in it${ageOf(oldestMs)}`,
      command: `celeriac queue resume ${queue}`,
      remedy: {
        label: 'Resume',
        method: 'post' as const,
        path: `/queues/${encodeURIComponent(queue)}/resume`,
        body: {},
      },
    }))
}

function stuck({ queues, counts, points }: Facts): FindingView[] {
  return queues
    .filter(({ queue, ready, consumers, paused: isPaused }) => {
      if (ready === 0 || consumers === 0 || isPaused) return false
      const started = counts.filter((row) => row.queue === queue).reduce((sum, row) => sum + row.started, 0)
      const seen = points('queue', queue, 'ready').slice(-6)
      return started === 0 && seen.length === 6 && seen.every(({ value }) => value >= ready && value > 0)
    })
    .map(({ queue, ready, consumers, oldestMs }) => ({
      ...{ level: 'critical' as const, kind: 'queue-stuck', about: { kind: 'queue' as const, name: queue } },
      message: `${ready} wait in ${queue}${ageOf(oldestMs)}, ${consumers} consume it, and nothing was started in five minutes`,
      command: 'celeriac inspect active',
      remedy: null,
    }))
}

function growing({ queues, points }: Facts): FindingView[] {
  return queues.flatMap(({ queue, ready, oldestMs }) => {
    const trend = trendOf(points('queue', queue, 'ready'))
    if (trend === undefined || trend.spanMs < 2 * minuteMs || ready < 50) return []
    const grown = (trend.perHour * trend.spanMs) / (60 * minuteMs)
    if (trend.fit < 0.5 || grown < 0.25 * ready) return []
    return [
      {
        ...{ level: 'warn' as const, kind: 'queue-growing', about: { kind: 'queue' as const, name: queue } },
        message: `${queue} has grown by ${Math.round(grown)} in ${shortTime(trend.spanMs)} to ${ready}${ageOf(oldestMs)}: more comes than its workers do`,
        command: `celeriac worker -Q ${queue}`,
        remedy: null,
      },
    ]
  })
}

function retryStorms({ counts }: Facts): FindingView[] {
  return byTask(counts).flatMap(({ task, started, retried }) =>
    retried < 20 || retried < 0.3 * started
      ? []
      : [
          {
            ...{ level: 'warn' as const, kind: 'retry-storm', about: { kind: 'task' as const, name: task } },
            message: `${retried} of ${started} runs of ${task} in five minutes ended in a retry: what it needs seems to be away`,
            command: `celeriac control rate_limit ${task} 1/s`,
            remedy: null,
          },
        ],
  )
}

function failures({ counts }: Facts): FindingView[] {
  return byTask(counts).flatMap(({ task, succeeded, failed }) => {
    const ended = succeeded + failed
    if (failed < 5 || failed < 0.1 * ended) return []
    return [
      {
        ...{ level: failed >= 0.5 * ended ? ('critical' as const) : ('warn' as const), kind: 'error-rate' },
        about: { kind: 'task' as const, name: task },
        message: `${failed} of ${ended} ${task} in five minutes have failed (${Math.round((failed / ended) * 100)} %)`,
        command: 'celeriac dlq list',
        remedy: null,
      },
    ]
  })
}

/** One call with the same arguments among the latest: somebody sends it in a loop, or it should be unique. */
function hotKeys({ parts, nowMs }: Facts): FindingView[] {
  const { tasks } = parts.store.query.page({ from: nowMs - countsMs }, recentTasks)
  const counts = new Map<string, { readonly name: string; readonly args: string; n: number }>()
  for (const { name, args, kwargs } of tasks) {
    if (name === null || args === null || (args === '()' && kwargs === '{}')) continue
    const key = JSON.stringify([name, args, kwargs])
    const entry = counts.get(key) ?? { name, args: kwargs === '{}' || kwargs === null ? args : kwargs, n: 0 }
    entry.n += 1
    counts.set(key, entry)
  }
  return [...counts.values()]
    .filter(({ n }) => n >= 50 && n >= 0.2 * tasks.length)
    .map(({ name, args, n }) => ({
      ...{ level: 'warn' as const, kind: 'hot-key', about: { kind: 'task' as const, name } },
      message: `${n} of the last ${tasks.length} calls are ${name} with the same arguments, ${args.slice(0, 80)}: is it sent in a loop? The option \`unique\` lets only one in`,
      command: null,
      remedy: null,
    }))
}

function deadLetters({ dead, points }: Facts): FindingView[] {
  return dead.flatMap(({ queue, ready }) => {
    const [first] = points('queue', queue, 'ready')
    const grown = ready - (first?.value ?? ready)
    if (grown <= 0) return []
    const name = queue.slice(0, -deadSuffix.length)
    return [
      {
        ...{ level: 'warn' as const, kind: 'dead-letters', about: { kind: 'queue' as const, name } },
        message: `${grown} tasks of ${name} were given up in the last half hour; ${ready} dead letters in all`,
        command: `celeriac dlq list --queue ${name}`,
        remedy: null,
      },
    ]
  })
}

function lateSchedules({ parts, nowMs }: Facts): FindingView[] {
  return parts.collector.schedules
    .all()
    .filter(({ nextAt, isPaused }) => !isPaused && nextAt !== null && nowMs - nextAt.getTime() > beatLateMs)
    .map(({ name, nextAt }) => ({
      ...{ level: 'critical' as const, kind: 'missed-beat', about: { kind: 'schedule' as const, name } },
      message: `${name} was due ${shortTime(nowMs - (nextAt?.getTime() ?? nowMs))} ago, and no beat has sent it`,
      command: 'celeriac beat -A app.ts',
      remedy: {
        label: 'Run now',
        method: 'post' as const,
        path: `/schedules/${encodeURIComponent(name)}/run`,
        body: {},
      },
    }))
}

function troubles({ parts }: Facts): FindingView[] {
  const { troubles: told, counts } = parts.collector
  const missed =
    counts.missed === 0
      ? []
      : [`${counts.missed} events came faster than they could be stored, or were refused by the disk`]
  return [...told, ...missed].map((message) => ({
    ...{ level: 'warn' as const, kind: 'monitor', about: { kind: 'monitor' as const, name: 'monitor' } },
    ...{ message, command: null, remedy: null },
  }))
}

function byTask(counts: readonly TaskCountsRow[]) {
  const sums = new Map<string, { task: string; started: number; succeeded: number; failed: number; retried: number }>()
  for (const { task, started, succeeded, failed, retried } of counts) {
    if (task === null) continue
    const sum = sums.get(task) ?? { task, started: 0, succeeded: 0, failed: 0, retried: 0 }
    sum.started += started
    sum.succeeded += succeeded
    sum.failed += failed
    sum.retried += retried
    sums.set(task, sum)
  }
  return [...sums.values()]
}

function shutdownOf(worker: string): FindingView['remedy'] {
  return { label: 'Shut down', method: 'post', path: `/workers/${encodeURIComponent(worker)}/shutdown`, body: {} }
}

function ageOf(oldestMs: number | null): string {
  return oldestMs === null ? '' : `, the first for ${shortTime(oldestMs)}`
}

function megabytes(bytes: number): string {
  return `${Math.round(bytes / megabyte)} MB`
}
