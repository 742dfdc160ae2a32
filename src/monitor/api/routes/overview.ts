/** The fleet as a whole: where it stands, how it went over time, who may do what, who did what. */
import { z } from 'zod'
import { redacted } from '../../../redacted.ts'
import { deadSuffix } from '../../../send/dead-letters.ts'
import { packageVersion } from '../../../version.ts'
import type { ApiParts } from '../parts.ts'
import { spanOf } from '../parts.ts'
import { type Route, route } from '../route.ts'
import { AuditEntry, Before, Broker, type CountsPoint, Limit, Overview, Series, Span, TaskCounts } from '../shapes.ts'
import { countsView, slotsOf } from '../views.ts'

const tag = 'overview'

export function overviewRoutes(parts: ApiParts): Route[] {
  const { store, clock } = parts
  return [
    route(
      { method: 'get', path: '/overview', tag, summary: 'Where the fleet stands', role: 'viewer', reply: Overview },
      () => overviewOf(parts),
    ),
    route(
      {
        ...{ method: 'get', path: '/series', tag, summary: 'What happened over time', role: 'viewer' },
        query: Span.extend({ task: z.string().optional(), queue: z.string().optional() }),
        reply: Series,
      },
      ({ query }) => {
        const { fromMs, toMs, stepMs } = spanOf(query, clock.now())
        const { task = null, queue = null } = query
        const points: z.infer<typeof CountsPoint>[] = store.series
          .points(stepMs, fromMs, toMs, { task, queue })
          .map(({ at, ...counts }) => ({ at, ...countsView(counts) }))
        return { stepMs, from: fromMs, to: toMs, points }
      },
    ),
    route(
      {
        ...{ method: 'get', path: '/task-names', tag, summary: 'Each task in each queue, over a time', role: 'viewer' },
        query: Span,
        reply: z.object({ from: z.number(), to: z.number(), tasks: z.array(TaskCounts), names: z.array(z.string()) }),
      },
      ({ query }) => {
        const { fromMs, toMs, stepMs } = spanOf(query, clock.now())
        const tasks = store.series
          .byTask(stepMs, fromMs, toMs)
          .map(({ task, queue, ...counts }) => ({ task, queue, ...countsView(counts) }))
        return { from: fromMs, to: toMs, tasks, names: store.query.names() }
      },
    ),
    route({ method: 'get', path: '/broker', tag, summary: 'What is monitored', role: 'viewer', reply: Broker }, () =>
      brokerOf(parts),
    ),
    route(
      {
        ...{ method: 'get', path: '/audit', tag, summary: 'Who changed what, the latest first', role: 'operator' },
        query: z.strictObject({ limit: Limit, before: Before }),
        reply: z.object({ entries: z.array(AuditEntry), next: z.number().nullable() }),
      },
      ({ query }) => store.audit.page(query.limit, query.before ?? null),
    ),
  ]
}

export function overviewOf({ app, store, collector, redaction, clock }: ApiParts): z.infer<typeof Overview> {
  const workers = collector.workers.all()
  const alive = workers.filter(({ isAlive }) => isAlive)
  const queues = collector.queues.all()
  const live = queues.filter(({ queue }) => !queue.endsWith(deadSuffix))
  const sum = (numbers: readonly number[]): number => numbers.reduce((total, n) => total + n, 0)
  const ages = live.flatMap(({ oldestMs }) => (oldestMs === null ? [] : [oldestMs]))
  return {
    at: clock.now(),
    version: packageVersion(),
    broker: redacted(app.config.broker),
    rates: { ...collector.workers.rates },
    states: { ...store.states.get() },
    workers: {
      alive: alive.length,
      gone: workers.length - alive.length,
      active: sum(alive.map(({ active }) => active ?? 0)),
      slots: sum(alive.map((worker) => slotsOf(worker) ?? 0)),
    },
    queues: {
      ready: sum(live.map(({ ready }) => ready)),
      delayed: sum(live.map(({ delayed }) => delayed)),
      inFlight: sum(live.map(({ inFlight }) => inFlight)),
      oldestMs: ages.length === 0 ? null : Math.max(...ages),
    },
    deadLetters: sum(queues.filter(({ queue }) => queue.endsWith(deadSuffix)).map(({ ready }) => ready)),
    events: collector.counts,
    troubles: collector.troubles.map((trouble) => redaction.text(trouble)),
  }
}

/** Also of one that is away: that it is, is worth to be seen. */
async function brokerOf({ app, redaction, clock }: ApiParts): Promise<z.infer<typeof Broker>> {
  const known = {
    url: redacted(app.config.broker),
    version: packageVersion(),
    // Infinity is no JSON.
    capabilities: JSON.parse(JSON.stringify(app.broker.capabilities)) as Record<string, unknown>,
  }
  const askedAtMs = clock.monotonic()
  try {
    const { version: serverVersion, ...server } = await app.broker.server()
    return {
      ...known,
      ...server,
      facts: { ...server.facts },
      serverVersion,
      latencyMs: clock.monotonic() - askedAtMs,
      error: null,
    }
  } catch (error) {
    const unknown = {
      memoryBytes: null,
      memoryLimitBytes: null,
      connections: null,
      fileBytes: null,
      serverVersion: null,
    }
    return {
      ...known,
      ...unknown,
      product: '',
      latencyMs: null,
      facts: {},
      error: redaction.text((error as Error).message),
    }
  }
}
