/**
 * Flower's HTTP API: its paths, parameters and replies, so that what was written against it goes on working. Replies are
 * JSON; errors are plain texts. Described in Flower's reference (https://flower.readthedocs.io/en/latest/api.html).
 */
import { z } from 'zod'
import { Signature } from '../../canvas/signature.ts'
import { isErrorReply, isOkReply, type OkReply, type Replies } from '../../control/replies.ts'
import { CeleriacError } from '../../errors.ts'
import type { AsyncResult } from '../../result/async-result.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import { definedOnly } from '../api/defined-only.ts'
import { type ApiParts, answerWithinS } from '../api/parts.ts'
import { NotFound } from '../api/route.ts'
import type { Role } from '../auth/users.ts'
import type { KnownWorker } from '../collect/workers.ts'
import type { StoredTask } from '../store/task-store.ts'

export interface FlowerCall {
  /** What stands in the path for `:name`. */
  readonly name: string
  /** Of the query, or of a form. */
  argument(name: string): string | undefined
  /** Of a body of JSON. */
  readonly body: unknown
}

export interface FlowerRoute {
  readonly method: 'get' | 'post'
  readonly path: string
  readonly role: Role
  readonly handle: (call: FlowerCall) => unknown
}

/** A worker has refused. */
export class WorkerRefusal extends Error {}

const count = z.coerce.number().int().min(1).max(1_000)
const Apply = z.looseObject({
  args: z.array(z.unknown()).max(1_000).default([]),
  kwargs: z.record(z.string(), z.unknown()).default({}),
  task_id: z.string().min(1).max(255).optional(),
  queue: z.string().min(1).max(255).optional(),
  routing_key: z.string().min(1).max(255).optional(),
  countdown: z.coerce.number().min(0).optional(),
  eta: z.coerce.date().optional(),
  expires: z.union([z.coerce.number().min(0), z.coerce.date()]).optional(),
  priority: z.coerce.number().int().min(0).max(255).optional(),
})
const mostTasks = 10_000
const sortable = ['name', 'state', 'received', 'started'] as const
const applyTimeoutS = 60

export function flowerRoutes(parts: ApiParts): FlowerRoute[] {
  const { app, store, collector, actions, redaction } = parts
  const { control } = app
  const told = (name: string) => ({ destination: [name], timeout: answerWithinS, reply: true }) as const
  const workerOf = (name: string): KnownWorker => {
    const worker = collector.workers.get(name)
    if (worker === undefined) throw new NotFound(`Unknown worker '${name}'`)
    return worker
  }
  const taskOf = (id: string): StoredTask => {
    const task = store.tasks.get(id)
    if (task === undefined) throw new NotFound(`Unknown task '${id}'`)
    return task
  }
  const worker = (path: string, tell: (name: string, call: FlowerCall) => Promise<string>): FlowerRoute => ({
    ...{ method: 'post', path: `/worker/${path}/:name`, role: 'operator' },
    handle: async (call) => {
      workerOf(call.name)
      return { message: await tell(call.name, call) }
    },
  })
  const send = async ({ name, body }: FlowerCall) => {
    const { args, kwargs, task_id: taskId, queue, routing_key: routingKey, ...options } = Apply.parse(body ?? {})
    const bare = app.remote(name).s()
    const { countdown, eta, expires, priority } = options
    return new Signature<[], unknown>({ ...bare.parts, args, kwargs }, bare.sender).applyAsync(
      definedOnly({ taskId, queue: queue ?? routingKey, countdown, eta, expires, priority }),
    )
  }
  return [
    { method: 'get', path: '/workers', role: 'viewer', handle: (call) => workersOf(parts, call) },
    {
      ...{ method: 'post', path: '/worker/shutdown/:name', role: 'admin' },
      handle: async ({ name }) => {
        workerOf(name)
        await control.shutdown({ destination: [name] })
        return { message: 'Shutting down!' }
      },
    },
    worker('pool/restart', async (name) => {
      said(await control.poolRestart(told(name)), name)
      return `Restarting '${name}' worker's pool`
    }),
    worker('pool/grow', async (name, { argument }) => {
      const n = count.parse(argument('n') ?? 1)
      said(await control.poolGrow(n, told(name)), name)
      return `Growing '${name}' worker's pool by ${n}`
    }),
    worker('pool/shrink', async (name, { argument }) => {
      const n = count.parse(argument('n') ?? 1)
      said(await control.poolShrink(n, told(name)), name)
      return `Shrinking '${name}' worker's pool by ${n}`
    }),
    worker('pool/autoscale', async (name, { argument }) => {
      const [min, max] = [z.coerce.number().int().min(0).parse(argument('min')), count.parse(argument('max'))]
      return said(await control.autoscale(max, min, told(name)), name)
    }),
    worker('queue/add-consumer', async (name, { argument }) =>
      said(await control.addConsumer(required(argument, 'queue'), told(name)), name),
    ),
    worker('queue/cancel-consumer', async (name, { argument }) =>
      said(await control.cancelConsumer(required(argument, 'queue'), told(name)), name),
    ),
    { method: 'get', path: '/tasks', role: 'viewer', handle: (call) => tasksOf(parts, call) },
    {
      ...{ method: 'get', path: '/task/types', role: 'viewer' },
      handle: () => ({ 'task-types': store.query.names() }),
    },
    {
      ...{ method: 'get', path: '/queues/length', role: 'viewer' },
      handle: () => ({
        active_queues: collector.queues
          .all()
          .filter(({ queue }) => !queue.endsWith(deadSuffix))
          .map(({ queue, ready }) => ({ name: queue, messages: ready })),
      }),
    },
    {
      method: 'get',
      path: '/task/info/:name',
      role: 'viewer',
      handle: ({ name }) => flowerTask(taskOf(name), parts),
    },
    {
      ...{ method: 'post', path: '/task/apply/:name', role: 'operator' },
      handle: async (call) => {
        const result = await send(call)
        await untilEnded(result, applyTimeoutS)
        return resultOf(parts, result.id)
      },
    },
    ...['async-apply', 'send-task'].map(
      (path): FlowerRoute => ({
        ...{ method: 'post', path: `/task/${path}/:name`, role: 'operator' },
        handle: async (call) => ({ 'task-id': (await send(call)).id, state: 'PENDING' }),
      }),
    ),
    {
      ...{ method: 'get', path: '/task/result/:name', role: 'viewer' },
      handle: async ({ name, argument }) => {
        const wait = argument('timeout')
        if (wait !== undefined) {
          await untilEnded(app.result(name), z.coerce.number().positive().max(applyTimeoutS).parse(wait))
        }
        return resultOf(parts, name)
      },
    },
    {
      ...{ method: 'post', path: '/task/abort/:name', role: 'operator' },
      handle: async ({ name }) => {
        await actions.revoke([name], { terminate: true })
        return { message: `Aborted '${name}'` }
      },
    },
    {
      ...{ method: 'post', path: '/task/revoke/:name', role: 'operator' },
      handle: async ({ name, argument }) => {
        const terminate = /^(1|true|yes|on)$/i.test(argument('terminate') ?? '')
        const signal = z
          .string()
          .regex(/^SIG[A-Z0-9]{2,10}$/)
          .parse(argument('signal') ?? 'SIGTERM')
        await actions.revoke([name], { terminate, signal })
        return { message: `Revoked '${name}'` }
      },
    },
    {
      ...{ method: 'post', path: '/task/timeout/:name', role: 'operator' },
      handle: async ({ name, argument }) => {
        const limit = (key: string): number | null => {
          const given = argument(key)
          return given === undefined ? null : z.coerce.number().positive().parse(given)
        }
        const node = required(argument, 'workername')
        workerOf(node)
        const replies = await control.timeLimit(name, { soft: limit('soft'), hard: limit('hard'), ...told(node) })
        return { message: said(replies, node) }
      },
    },
    {
      ...{ method: 'post', path: '/task/rate-limit/:name', role: 'operator' },
      handle: async ({ name, argument }) => {
        const node = required(argument, 'workername')
        workerOf(node)
        const rate = required(argument, 'ratelimit')
        return { message: said(await control.rateLimit(name, rate === '0' ? null : rate, told(node)), node) }
      },
    },
  ]

  /** What the worker answered. @throws WorkerRefusal */
  function said(replies: Replies<OkReply>, name: string): string {
    const reply = replies[name]
    if (isOkReply(reply)) return reply.ok
    throw new WorkerRefusal(isErrorReply(reply) ? reply.error : `'${name}' does not answer`)
  }

  function required(argument: FlowerCall['argument'], name: string): string {
    const value = argument(name)
    if (value === undefined || value === '')
      throw new CeleriacError('INPUT_INVALID', `the parameter '${name}' is missing`)
    return redaction.text(value).slice(0, 255)
  }
}

/** What Flower's page of workers loads: `/workers?json=1`. */
export function workersTable({ collector }: ApiParts): { readonly data: readonly Record<string, unknown>[] } {
  const data = collector.workers.all().map(({ hostname, isAlive, pid, freq, active, processed, loadavg, ...rest }) => {
    const { software, system, heardAt, counts } = rest
    const [ident = null, version = null] = software?.split(' ') ?? []
    return {
      ...{ hostname, pid, freq, active, processed, loadavg, status: isAlive, sw_ident: ident, sw_ver: version },
      sw_sys: system,
      heartbeats: heardAt === null ? [] : [heardAt / 1_000],
      ...Object.fromEntries(Object.entries(counts).map(([name, count]) => [`task-${name}`, count])),
    }
  })
  return { data }
}

/** Also with `?status=1`, which asks for who is there alone. */
async function workersOf({ app, collector, redaction, clock, inspectTimeoutMs }: ApiParts, { argument }: FlowerCall) {
  const only = argument('workername')
  const workers = collector.workers.all().filter(({ hostname }) => only === undefined || hostname === only)
  if (only !== undefined && workers.length === 0) throw new NotFound(`Unknown worker '${only}'`)
  if (isSet(argument('status'))) return Object.fromEntries(workers.map(({ hostname, isAlive }) => [hostname, isAlive]))
  const names = workers.filter(({ isAlive }) => isAlive).map(({ hostname }) => hostname)
  if (names.length === 0) return {}
  const asked = app.control.inspect({ destination: names, timeout: inspectTimeoutMs / 1_000 })
  const [stats, active, registered, reserved, scheduled, revoked, queues, conf] = await Promise.all([
    asked.stats(),
    asked.active({ safe: true }),
    asked.registered(),
    asked.reserved(),
    asked.scheduled(),
    asked.revoked(),
    asked.activeQueues(),
    asked.conf(),
  ])
  const requests = (reply: unknown): unknown =>
    Array.isArray(reply) ? reply.map((request) => redaction.request(request)) : reply
  return Object.fromEntries(
    names.map((name) => [
      name,
      {
        stats: stats[name],
        active: requests(active[name]),
        registered: registered[name],
        reserved: requests(reserved[name]),
        scheduled: requests(scheduled[name]),
        revoked: revoked[name],
        active_queues: queues[name],
        conf: redaction.value(conf[name]),
        timestamp: clock.now() / 1_000,
      },
    ]),
  )
}

function tasksOf(parts: ApiParts, { argument }: FlowerCall) {
  const number = (name: string, otherwise: number): number =>
    z.coerce
      .number()
      .int()
      .min(0)
      .max(mostTasks)
      .parse(argument(name) ?? otherwise)
  const list = (name: string): readonly string[] | undefined => {
    const value = argument(name)
    return value === undefined || value === '' || value === 'All' ? undefined : [value]
  }
  const time = (name: string): number | undefined => {
    const value = argument(name)
    return value === undefined || value === ''
      ? undefined
      : z.coerce
          .date()
          .parse(`${value.replace(' ', 'T')}Z`)
          .getTime()
  }
  const limit = number('limit', 1_000)
  const offset = number('offset', 0)
  const search = argument('search')
  const filter = definedOnly({
    worker: list('workername'),
    name: list('taskname'),
    state: list('state'),
    from: time('received_start'),
    to: time('received_end'),
    text: search === '' ? undefined : search,
  })
  const order = argument('sort_by')
  const [, descends, key] = /^(-?)(name|state|received|started)$/.exec(order ?? '-received') ?? []
  if (key === undefined)
    throw new CeleriacError('INPUT_INVALID', `sort_by takes ${sortable.join(', ')}, - before for the reverse`)
  // Whatever is first in another order may have come long ago.
  const enough = key === 'received' && descends === '-' ? limit + offset : mostTasks
  const { tasks } = parts.store.query.page(filter, Math.min(mostTasks, enough))
  const orderOf = ({ name, state, receivedAt, startedAt }: StoredTask): string | number =>
    ({ name: name ?? '', state, received: receivedAt ?? 0, started: startedAt ?? 0 })[key] ?? 0
  const sorted = [...tasks].sort((a, b) => (orderOf(a) < orderOf(b) ? -1 : orderOf(a) > orderOf(b) ? 1 : 0))
  if (descends === '-') sorted.reverse()
  return Object.fromEntries(sorted.slice(offset, offset + limit).map((task) => [task.uuid, flowerTask(task, parts)]))
}

function flowerTask(task: StoredTask, { store }: ApiParts): Record<string, unknown> {
  const { uuid, name, state, args, kwargs, eta, expires, retries, worker, result, exception, traceback, client } = task
  const { runtimeMs, updatedAt, rootId, parentId, sentAt, receivedAt, startedAt, queue } = task
  const seconds = (ms: number | null): number | null => (ms === null ? null : ms / 1_000)
  const events = store.tasks.events(uuid)
  const at = (type: string): number | null => seconds(events.findLast((event) => event.type === type)?.at ?? null)
  return {
    ...{ uuid, name, state, args, kwargs, eta, expires, retries, worker, result, exception, traceback, client },
    received: seconds(receivedAt),
    sent: seconds(sentAt),
    started: seconds(startedAt),
    rejected: at('task-rejected'),
    succeeded: at('task-succeeded'),
    failed: at('task-failed'),
    retried: at('task-retried'),
    revoked: at('task-revoked'),
    timestamp: seconds(updatedAt),
    runtime: seconds(runtimeMs),
    exchange: null,
    routing_key: queue,
    clock: events.at(-1)?.clock ?? 0,
    root: rootId,
    root_id: rootId,
    parent: parentId,
    parent_id: parentId,
    children: store.tasks
      .ofRoot(rootId ?? uuid, 500)
      .filter((other) => other.parentId === uuid)
      .map((child) => child.uuid),
  }
}

/** @throws CeleriacError `RESULTS_DISABLED`, `RESULT_UNKNOWN` */
async function resultOf({ app, redaction, store }: ApiParts, id: string): Promise<Record<string, unknown>> {
  const result = app.result(id)
  const state = await result.state()
  const answer = { 'task-id': id, state }
  if (state === 'SUCCESS') {
    const name = store.tasks.get(id)?.name
    const value = await result.get({ timeout: 5 })
    return { ...answer, result: name != null && redaction.hidesTask(name) ? null : redaction.value(value) }
  }
  if (state !== 'FAILURE') return answer
  const error = (await result.get({ timeout: 5 }).catch((thrown: unknown) => thrown)) as Error & {
    traceback?: string | null
  }
  return { ...answer, result: redaction.text(String(error.message)), traceback: redaction.text(error.traceback ?? '') }
}

/** However it ends, and for so long at most. */
async function untilEnded(result: AsyncResult, timeout: number): Promise<void> {
  const expected: readonly unknown[] = ['RESULT_TIMEOUT', 'TASK_FAILED', 'TASK_REVOKED']
  try {
    await result.get({ timeout })
  } catch (error) {
    if (!(error instanceof CeleriacError && expected.includes(error.code))) throw error
  }
}

function isSet(value: string | undefined): boolean {
  return value !== undefined && !/^(0|false|no|off|)$/i.test(value)
}
