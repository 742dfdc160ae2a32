/** What a rule looks at: a number for each queue, task, worker or schedule. */
import type { z } from 'zod'
import type { Clock } from '../../clock.ts'
import { shortTime } from '../../duration.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import type { AlertRule, alertKinds } from '../api/shapes.ts'
import type { Collector } from '../collect/collector.ts'
import { matchesGlob } from '../glob.ts'
import type { MonitorStore } from '../store/store.ts'

export type AlertKind = (typeof alertKinds)[number]
export type Rule = z.infer<typeof AlertRule>

export interface Measured {
  readonly collector: Collector
  readonly store: MonitorStore
  readonly clock: Clock
}

const ratesMs = 5 * 60_000
const stepMs = 10_000
/** With fewer ends a share of failures says nothing. */
const fewestEnded = 5
const maxTargets = 500

export function measure({ kind, target }: Pick<Rule, 'kind' | 'target'>, parts: Measured): Map<string, number> {
  const measured = measures[kind](parts).filter(([name]) => matchesGlob(name, target))
  return new Map(measured.sort(([, a], [, b]) => b - a).slice(0, maxTargets))
}

const measures: Record<AlertKind, (parts: Measured) => [name: string, value: number][]> = {
  depth: (parts) => live(parts).map(({ queue, ready }) => [queue, ready]),
  oldest: (parts) => live(parts).map(({ queue, oldestMs }) => [queue, oldestMs ?? 0]),
  'dead-letters': ({ collector }) =>
    collector.queues
      .all()
      .filter(({ queue }) => queue.endsWith(deadSuffix))
      .map(({ queue, ready }) => [queue.slice(0, -deadSuffix.length), ready]),
  'error-rate': ({ store, clock }) => {
    const nowMs = clock.now()
    const sums = new Map<string, { failed: number; ended: number }>()
    for (const { task, succeeded, failed } of store.series.byTask(stepMs, nowMs - ratesMs, nowMs + 1)) {
      if (task === null) continue
      const sum = sums.get(task) ?? { failed: 0, ended: 0 }
      sums.set(task, { failed: sum.failed + failed, ended: sum.ended + succeeded + failed })
    }
    return [...sums].map(([task, { failed, ended }]) => [task, ended < fewestEnded ? 0 : failed / ended])
  },
  'silent-worker': ({ collector, clock }) =>
    collector.workers
      .all()
      .map(({ hostname, isAlive, heardAt }) => [hostname, isAlive || heardAt === null ? 0 : clock.now() - heardAt]),
  'missed-beat': ({ collector, clock }) =>
    collector.schedules
      .all()
      .filter(({ isPaused }) => !isPaused)
      .map(({ name, nextAt }) => [name, nextAt === null ? 0 : Math.max(0, clock.now() - nextAt.getTime())]),
  memory: ({ collector }) =>
    collector.workers.all().flatMap(({ hostname, isAlive, stats }): [string, number][] => {
      const { heap_used: used, heap_limit: limit } = stats?.process ?? {}
      return !isAlive || used === undefined || limit === undefined ? [] : [[hostname, used / limit]]
    }),
}

function live({ collector }: Measured) {
  return collector.queues.all().filter(({ queue }) => !queue.endsWith(deadSuffix))
}

/** `picking: 1204 messages waiting (from 1000 on)`. */
export function describe({ kind, threshold }: Rule, target: string, value: number): string {
  const percent = (share: number): string => `${Math.round(share * 100)} %`
  const some = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? '' : 's'}`
  switch (kind) {
    case 'depth':
      return `${target}: ${some(value, 'message')} waiting (from ${threshold} on)`
    case 'oldest':
      return `${target}: the first message waits for ${shortTime(value)} (from ${shortTime(threshold)} on)`
    case 'dead-letters':
      return `${target}: ${some(value, 'dead letter')} (from ${threshold} on)`
    case 'error-rate':
      return `${target}: ${percent(value)} fail (from ${percent(threshold)} on)`
    case 'silent-worker':
      return `${target}: not heard for ${shortTime(value)} (from ${shortTime(threshold)} on)`
    case 'missed-beat':
      return `${target}: due ${shortTime(value)} ago and not sent (from ${shortTime(threshold)} on)`
    case 'memory':
      return `${target}: ${percent(value)} of its memory is used (from ${percent(threshold)} on)`
  }
}
