/** The monitor, put together: what it gathers, keeps, does and serves, begun in order and ended in the opposite one. */
import { isIP } from 'node:net'
import type { Celeriac } from '../app.ts'
import { type Clock, systemClock } from '../clock.ts'
import { CeleriacError } from '../errors.ts'
import { type Logger, stderrLogger } from '../logger.ts'
import { Jobs } from './actions/jobs.ts'
import { TaskActions } from './actions/tasks.ts'
import { Alerts } from './alerts/alerts.ts'
import { Live } from './api/live.ts'
import type { ApiParts } from './api/parts.ts'
import { overviewOf } from './api/routes/overview.ts'
import { queuesOf } from './api/routes/queues.ts'
import { jobView, workerView } from './api/views.ts'
import { Guard, type ProxySettings } from './auth/guard.ts'
import type { KnownUser } from './auth/users.ts'
import { Collector, type CollectorSettings } from './collect/collector.ts'
import type { Counted } from './collect/intake.ts'
import { Journal } from './http/journal.ts'
import { RequestLimits } from './http/limits.ts'
import { Pages, pagesFolder } from './http/pages.ts'
import { close, listen, monitorServer, urlOf } from './http/server.ts'
import { Metrics } from './metrics/metrics.ts'
import { Redaction, type RedactionSettings } from './redaction.ts'
import { AlertStore } from './store/alert-store.ts'
import { JobStore } from './store/job-store.ts'
import { MonitorStore, type StoreLimits } from './store/store.ts'

export interface MonitorOptions extends Partial<StoreLimits>, Partial<CollectorSettings> {
  /** Opened where it is not open; it stays open. */
  readonly app: Celeriac
  /** The file of its memory, or `:memory:`. */
  readonly db: string
  /** @default 127.0.0.1 */
  readonly host?: string
  /** 0 takes any that is free. @default 5555 */
  readonly port?: number
  readonly users?: readonly KnownUser[] | undefined
  readonly proxy?: ProxySettings | undefined
  /** Names in URLs of this monitor, beside those of this machine. */
  readonly allowedHosts?: readonly string[]
  readonly isReadOnly?: boolean
  /** `/metrics` tells Flower's names too. @default false */
  readonly flowerMetrics?: boolean
  readonly redaction?: Partial<RedactionSettings>
  /** Folder of the built pages. @default those of this package */
  readonly pages?: string
  readonly logger?: Logger
  readonly clock?: Clock
}

export interface Monitor {
  /** Where it answers, with the port that was found free. */
  readonly url: string
  /** Answers nothing any more, stores what has come, and lets go of its file. A second call is harmless. */
  close(): Promise<void>
}

export const monitorDefaults = {
  port: 5_555,
  maxTasks: 1_000_000,
  maxAgeMs: 14 * 86_400_000,
  maxBytes: 4 * 1024 ** 3,
  enableEvents: true,
  peeks: true,
  inspectEveryMs: 5_000,
  inspectTimeoutMs: 1_000,
  queuesEveryMs: 2_000,
} as const

/** @throws CeleriacError `CONFIG_INVALID`, `STORAGE_BUSY` while another monitor has the file, or a broker's error */
export async function startMonitor(options: MonitorOptions): Promise<Monitor> {
  const { app, users, proxy, host = '127.0.0.1', port = monitorDefaults.port } = options
  const { logger = stderrLogger, clock = systemClock } = options
  refuseOpenDoor(options, host)
  const ends: (() => Promise<void> | void)[] = []
  const end = async (): Promise<void> => {
    for (const step of ends.splice(0).reverse()) await step()
  }
  try {
    const settings = { ...monitorDefaults, ...options }
    const { maxTasks, maxAgeMs, maxBytes, inspectTimeoutMs } = settings
    const store = new MonitorStore({ path: options.db, clock, maxTasks, maxAgeMs, maxBytes })
    ends.push(() => store.close())
    await app.open()
    const redaction = new Redaction({ names: [], tasks: [], ...options.redaction })
    const metrics = new Metrics(options.flowerMetrics ?? false)
    const onCounted = (counted: Counted): void => metrics.add(counted)
    const collector = new Collector({ app, store, redaction, clock, logger, settings, onCounted })
    const alertStore = new AlertStore(store.db, store.facts, clock)
    const alerts = new Alerts({ collector, store, alerts: alertStore, clock, logger })
    const live = new Live(clock)
    const actions = new TaskActions(app, store, collector.places)
    const jobs = new Jobs({
      ...{ app, store, actions, clock, jobs: new JobStore(store.db) },
      onChange: (job) => live.tellJob(jobView(job)),
    })
    const { isReadOnly = false } = options
    const parts: ApiParts = {
      app,
      store,
      collector,
      actions,
      jobs,
      redaction,
      alerts,
      alertStore,
      live,
      clock,
      inspectTimeoutMs,
      isReadOnly,
    }
    const guard = new Guard({ users, proxy, hosts: options.allowedHosts }, clock)
    const journal = new Journal(store.audit, redaction, clock)
    const pages = new Pages(options.pages ?? pagesFolder())
    const served = monitorServer({ parts, guard, journal, logger, metrics, limits: new RequestLimits(clock) }, pages)
    ends.push(() => collector.stop())
    await collector.start()
    live.start({
      collector,
      overview: () => overviewOf(parts),
      queues: () => queuesOf(parts),
      workers: () => collector.workers.all().map(workerView),
    })
    ends.push(() => live.stop())
    alerts.listen((alert, event) => live.tell('alert', { ...alert, event }))
    alerts.start()
    ends.push(() => alerts.stop())
    const server = await listen(served, host, port)
    ends.push(() => close(server))
    if (!isReadOnly) jobs.resume()
    ends.push(() => jobs.stop())
    return { url: urlOf(server), close: end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Whoever can reach it could do everything. */
function refuseOpenDoor({ users, proxy }: MonitorOptions, host: string): void {
  const isOwn = host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'))
  if (isOwn || users !== undefined || proxy !== undefined) return
  throw new CeleriacError(
    'CONFIG_INVALID',
    `others can reach ${host}, so users are needed: give --users FILE, made with \`celeriac monitor user FILE NAME --role admin\`, or --proxy-header`,
  )
}
