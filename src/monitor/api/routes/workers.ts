/** Workers: what they are and do, and what they can be told: all that Flower can tell them. */
import { z } from 'zod'
import { isErrorReply, isOkReply, type OkReply, type Replies } from '../../../control/replies.ts'
import type { Role } from '../../auth/users.ts'
import type { KnownWorker } from '../../collect/workers.ts'
import { type ApiParts, answerWithinS, spanOf } from '../parts.ts'
import { NotFound, type Route, route } from '../route.ts'
import { NodeName, QueueName, Span, Told, Worker, WorkerDetail } from '../shapes.ts'
import { workerView } from '../views.ts'

const tag = 'workers'
const ByName = z.object({ name: NodeName })
const Nothing = z.strictObject({})
const Count = z.strictObject({ n: z.int().min(1).max(1_000).default(1) })
const InQueue = z.strictObject({ queue: QueueName })
const TaskName = z.string().min(1).max(255)
const seconds = z.number().positive().max(31_536_000).nullable().default(null)

/** Whom a command is for, and that an answer is wanted. */
interface Options {
  readonly destination: readonly string[]
  readonly timeout: number
  readonly reply: true
}

export function workerRoutes(parts: ApiParts): Route[] {
  const { app, store, collector, clock } = parts
  const { control } = app
  const workerOf = (name: string): KnownWorker => {
    const worker = collector.workers.get(name)
    if (worker === undefined) throw new NotFound(`there is no worker '${name}'`)
    return worker
  }
  const command = <Body extends z.ZodType>(
    path: string,
    summary: string,
    body: Body,
    tell: (body: z.output<Body>, options: Options) => Promise<Replies<OkReply>>,
    role: Role = 'operator',
  ): Route =>
    route(
      { method: 'post', path: `/workers/:name/${path}`, tag, summary, role, params: ByName, body, reply: Told },
      async ({ params: { name }, body: given }) => {
        workerOf(name)
        const options = { destination: [name], timeout: answerWithinS, reply: true } as const
        return toldView(await tell(given as z.output<Body>, options))
      },
    )
  return [
    route(
      {
        method: 'get',
        path: '/workers',
        tag,
        summary: 'Every worker, those alive first',
        role: 'viewer',
        reply: z.array(Worker),
      },
      () => collector.workers.all().map(workerView),
    ),
    route(
      {
        ...{
          method: 'get',
          path: '/workers/:name',
          tag,
          summary: 'What a worker answers when it is asked',
          role: 'viewer',
        },
        params: ByName,
        query: Span,
        reply: WorkerDetail,
      },
      async ({ params: { name }, query }) => {
        const worker = workerOf(name)
        const { fromMs, toMs, stepMs } = spanOf(query, clock.now())
        return {
          ...workerView(worker),
          ...(await detailOf(parts, name)),
          stats: worker.stats,
          stepMs,
          history: store.series.gaugePoints('worker', name, stepMs, fromMs, toMs),
        }
      },
    ),
    command('grow', 'More slots', Count, ({ n }, options) => control.poolGrow(n, options)),
    command('shrink', 'Fewer slots', Count, ({ n }, options) => control.poolShrink(n, options)),
    command(
      'autoscale',
      'Bounds of a pool that scales itself',
      z.strictObject({ max: z.int().min(1).max(10_000), min: z.int().min(0).max(10_000) }),
      ({ max, min }, options) => control.autoscale(max, min, options),
    ),
    command('restart-pool', 'New processes', Nothing, (_body, options) => control.poolRestart(options)),
    command('add-consumer', 'One queue more', InQueue, ({ queue }, options) => control.addConsumer(queue, options)),
    command('cancel-consumer', 'A queue no longer', InQueue, ({ queue }, options) =>
      control.cancelConsumer(queue, options),
    ),
    command(
      'rate-limit',
      'How many of a task it starts: 10/s, 100/m, 1000/h; null lifts it',
      z.strictObject({ task: TaskName, rate: z.string().max(20).nullable() }),
      ({ task, rate }, options) => control.rateLimit(task, rate, options),
    ),
    command(
      'time-limit',
      'Time limits of a task in seconds, from its next run on',
      z.strictObject({ task: TaskName, soft: seconds, hard: seconds }),
      ({ task, soft, hard }, options) => control.timeLimit(task, { soft, hard, ...options }),
    ),
    command('enable-events', 'It tells what its tasks do', Nothing, (_body, options) => control.enableEvents(options)),
    command('disable-events', 'It no longer does', Nothing, (_body, options) => control.disableEvents(options)),
    route(
      {
        ...{ method: 'post', path: '/workers/:name/shutdown', tag, role: 'admin' },
        summary: 'It finishes what it runs, then ends. Nothing is answered to it',
        params: ByName,
        reply: Told,
      },
      async ({ params: { name } }) => {
        workerOf(name)
        await control.shutdown({ destination: [name] })
        return { replies: {}, done: true }
      },
    ),
  ]
}

/** What each of them said; done where all of them did it. */
export function toldView(replies: Replies<OkReply>): z.infer<typeof Told> {
  const said = Object.entries(replies).map(([node, reply]) => {
    const text = isOkReply(reply) ? reply.ok : isErrorReply(reply) ? reply.error : JSON.stringify(reply)
    return [node, text] as const
  })
  return { replies: Object.fromEntries(said), done: said.length > 0 && Object.values(replies).every(isOkReply) }
}

/** Asked now. Nothing where it does not answer in time. */
async function detailOf({ app, redaction, inspectTimeoutMs }: ApiParts, name: string) {
  const asked = app.control.inspect({ destination: [name], timeout: inspectTimeoutMs / 1_000 })
  const [conf, registered, active, reserved, scheduled, revoked] = await Promise.all([
    asked.conf(),
    asked.registered(),
    asked.active({ safe: true }),
    asked.reserved(),
    asked.scheduled(),
    asked.revoked(),
  ])
  const listOf = (replies: Replies<unknown>): unknown[] => {
    const reply = replies[name]
    return Array.isArray(reply) ? reply.slice(0, 1_000) : []
  }
  const safe = (requests: unknown[]): unknown[] => requests.map((request) => redaction.request(request))
  const settings = conf[name]
  return {
    conf: settings === undefined || isErrorReply(settings) ? null : redaction.value(settings),
    registered: listOf(registered).map(String),
    activeTasks: safe(listOf(active)),
    reservedTasks: safe(listOf(reserved)),
    scheduledTasks: safe(listOf(scheduled)),
    revokedIds: listOf(revoked).map(String),
  }
}
