/** What routes work with. */
import type { Celeriac } from '../../app.ts'
import type { Clock } from '../../clock.ts'
import type { Jobs } from '../actions/jobs.ts'
import type { TaskActions } from '../actions/tasks.ts'
import type { Alerts } from '../alerts/alerts.ts'
import type { Collector } from '../collect/collector.ts'
import type { Redaction } from '../redaction.ts'
import type { AlertStore } from '../store/alert-store.ts'
import { type Resolution, resolutionFor } from '../store/series.ts'
import type { MonitorStore } from '../store/store.ts'
import type { Live } from './live.ts'

export interface ApiParts {
  readonly app: Celeriac
  readonly store: MonitorStore
  readonly collector: Collector
  readonly actions: TaskActions
  readonly jobs: Jobs
  readonly redaction: Redaction
  readonly alerts: Alerts
  readonly alertStore: AlertStore
  /** What is told to those who listen. */
  readonly live: Live
  readonly clock: Clock
  readonly inspectTimeoutMs: number
  /** Nobody may change anything. */
  readonly isReadOnly: boolean
}

/** What a worker that is told something may take to answer, in s. Its answer ends the wait. */
export const answerWithinS = 5
const hourMs = 3_600_000
/** Rates in lists are those of the last minute. */
export const rateWindowMs = 60_000

/** A span of time as it was asked for: the last hour, unless something is said. */
export function spanOf(
  { from, to }: { from?: number | undefined; to?: number | undefined },
  nowMs: number,
): Resolution & { readonly fromMs: number; readonly toMs: number } {
  const toMs = to ?? nowMs + 1
  const fromMs = Math.min(from ?? toMs - hourMs, toMs)
  return { fromMs, toMs, ...resolutionFor(fromMs, toMs, nowMs) }
}
