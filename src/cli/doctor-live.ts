/** `celeriac doctor --live`: watches the fleet for a moment, and tells what the monitor's SOS would. */
import type { Celeriac } from '../app.ts'
import { sleep, systemClock } from '../clock.ts'
import type { Finding } from './finding.ts'
import { plural } from './output.ts'

/** Rates want two looks at least, and workers are asked once in between. */
const settings = {
  enableEvents: true,
  peeks: false,
  inspectEveryMs: 3_000,
  inspectTimeoutMs: 1_000,
  queuesEveryMs: 1_000,
}
const levels = { critical: 'error', warn: 'warn', info: 'warn' } as const
const nothing = (): void => undefined
const silent = { debug: nothing, info: nothing, warn: nothing, error: nothing }

/** @param app open */
export async function aboutFleet(app: Celeriac, watchMs: number): Promise<Finding[]> {
  const [{ Collector }, { Redaction }, { MonitorStore }, { inMemory }, { sosOf }] = await Promise.all([
    import('../monitor/collect/collector.ts'),
    import('../monitor/redaction.ts'),
    import('../monitor/store/store.ts'),
    import('../monitor/store/database.ts'),
    import('../monitor/insight/sos.ts'),
  ])
  const clock = systemClock
  const store = new MonitorStore({
    path: inMemory,
    clock,
    maxTasks: 100_000,
    maxAgeMs: 3_600_000,
    maxBytes: 256 * 1024 ** 2,
  })
  const redaction = new Redaction({ names: [], tasks: [] })
  const collector = new Collector({ app, store, redaction, clock, logger: silent, settings })
  try {
    await collector.start()
    await sleep(clock, watchMs)
    collector.flush()
    const { checked, findings } = sosOf({ collector, store, clock })
    const told = findings.map(({ level, about, message, command }) => ({
      ...{ level: levels[level], about: about.kind, message, advice: command },
    }))
    const alive = collector.workers.all().filter(({ isAlive }) => isAlive).length
    const seen = `${plural(checked.length, 'live check')} of ${plural(alive, 'worker')} and ${plural(collector.queues.all().length, 'queue')}`
    return [{ level: 'ok', about: 'fleet', message: `${seen} were made`, advice: null }, ...told]
  } finally {
    await collector.stop()
    store.close()
  }
}
