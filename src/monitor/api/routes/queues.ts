/** Queues: how full they are, what waits in them, held and emptied. */
import { z } from 'zod'
import { CeleriacError } from '../../../errors.ts'
import type { KnownQueue } from '../../collect/queues.ts'
import { type ApiParts, rateWindowMs, spanOf } from '../parts.ts'
import { NotFound, type Route, route } from '../route.ts'
import { Queue, QueueDetail, QueueName, Span, WaitingMessage } from '../shapes.ts'
import { countsView, queueView } from '../views.ts'

const tag = 'queues'
const ByName = z.object({ name: QueueName })
const mostMessages = 100

export function queueRoutes(parts: ApiParts): Route[] {
  const { app, store, collector, clock, redaction } = parts
  const queueOf = (name: string): KnownQueue => {
    const queue = collector.queues.get(name)
    if (queue === undefined) throw new NotFound(`there is no queue '${name}'`)
    return queue
  }
  const viewOf = (name: string): z.infer<typeof Queue> | undefined =>
    queuesOf(parts).find((queue) => queue.name === name)
  const hold = (verb: 'pause' | 'resume', summary: string): Route =>
    route(
      { method: 'post', path: `/queues/:name/${verb}`, tag, summary, role: 'operator', params: ByName, reply: Queue },
      async ({ params: { name } }) => {
        queueOf(name)
        const before = viewOf(name)
        await app.broker[verb](name)
        await collector.queues.look()
        // One that is empty and has no consumers may be gone from the broker's list.
        return viewOf(name) ?? { ...before, paused: verb === 'pause' }
      },
    )
  return [
    route({ method: 'get', path: '/queues', tag, summary: 'Every queue', role: 'viewer', reply: z.array(Queue) }, () =>
      queuesOf(parts),
    ),
    route(
      {
        ...{ method: 'get', path: '/queues/:name', tag, summary: 'A queue, over time', role: 'viewer' },
        params: ByName,
        query: Span,
        reply: QueueDetail,
      },
      ({ params: { name }, query }) => {
        queueOf(name)
        const { fromMs, toMs, stepMs } = spanOf(query, clock.now())
        return {
          ...viewOf(name),
          stepMs,
          history: store.series.gaugePoints('queue', name, stepMs, fromMs, toMs),
          tasks: store.series
            .byTask(stepMs, fromMs, toMs, { queue: name })
            .map(({ task, queue, ...counts }) => ({ task, queue, ...countsView(counts) })),
        }
      },
    ),
    route(
      {
        ...{ method: 'get', path: '/queues/:name/messages', tag, role: 'operator' },
        summary: 'Messages that wait, the next one first. On RabbitMQ a look marks them as redelivered',
        params: ByName,
        query: z.strictObject({ limit: z.coerce.number().int().min(1).max(mostMessages).default(20) }),
        reply: z.array(WaitingMessage),
      },
      async ({ params: { name }, query }) => {
        queueOf(name)
        const messages = await app.broker.peek(name, query.limit)
        return messages.map(({ headers, properties, body, state, at, deliveryCount }) => {
          const task = typeof headers.task === 'string' ? headers.task : null
          const isHidden = task !== null && redaction.hidesTask(task)
          const [args, kwargs] = isHidden ? [] : argumentsOf(() => app.content.readAny({ headers, properties, body }))
          return {
            id: typeof headers.id === 'string' ? headers.id : null,
            ...{ task, state, at, deliveryCount },
            args: redaction.value(args) ?? null,
            kwargs: redaction.value(kwargs) ?? null,
          }
        })
      },
    ),
    hold('pause', 'Gives nobody messages of it, until it is resumed'),
    hold('resume', 'Lets it go on'),
    route(
      {
        ...{ method: 'post', path: '/queues/:name/purge', tag, summary: 'Drops all that waits in it', role: 'admin' },
        params: ByName,
        body: z.strictObject({ confirm: z.string().describe("The queue's name, typed") }),
        reply: z.object({ purged: z.number() }),
      },
      async ({ params: { name }, body }) => {
        queueOf(name)
        if (body.confirm !== name) {
          throw new CeleriacError('CONFIG_INVALID', `to drop what waits in '${name}', give its name as \`confirm\``)
        }
        const purged = await app.broker.purge(name)
        await collector.queues.look()
        return { purged }
      },
    ),
  ]
}

/** All of them, with their rates. */
export function queuesOf({ store, collector, clock }: ApiParts): z.infer<typeof Queue>[] {
  const nowMs = clock.now()
  const workers = collector.workers.all()
  const ended = new Map<string, number>()
  for (const row of store.series.byTask(10_000, nowMs - rateWindowMs, nowMs + 1)) {
    if (row.queue === null) continue
    ended.set(row.queue, (ended.get(row.queue) ?? 0) + row.succeeded + row.failed + row.retried + row.rejected)
  }
  return collector.queues.all().map((queue) => {
    const count = ended.get(queue.queue)
    return queueView(queue, count === undefined ? null : (count * 1_000) / rateWindowMs, workers)
  })
}

/** Nothing where the body cannot be read. */
function argumentsOf(read: () => unknown): unknown[] {
  try {
    const body = read()
    if (Array.isArray(body)) return body.slice(0, 2)
    const { args, kwargs } = (body ?? {}) as { args?: unknown; kwargs?: unknown }
    return [args, kwargs]
  } catch {
    return []
  }
}
