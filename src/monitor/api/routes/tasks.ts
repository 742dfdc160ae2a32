/** Tasks: found, looked at, run again, revoked, sent. */
import { z } from 'zod'
import { Signature } from '../../../canvas/signature.ts'
import type { Work } from '../../actions/jobs.ts'
import type { StoredTask } from '../../store/task-store.ts'
import { definedOnly } from '../defined-only.ts'
import type { ApiParts } from '../parts.ts'
import { NotFound, type Route, route } from '../route.ts'
import {
  Before,
  BulkTasks,
  Job,
  Limit,
  Retried,
  Retry,
  Revoke,
  Send,
  Started,
  TaskDetail,
  TaskFilter,
  TaskId,
  TaskPage,
  TaskTree,
} from '../shapes.ts'
import { attemptsOf, jobView, taskSummary, treeOf } from '../views.ts'

const tag = 'tasks'
const ById = z.object({ id: TaskId })
/** States in which there is something left to revoke. */
const unended = ['PENDING', 'RECEIVED', 'STARTED', 'RETRY', 'REJECTED']
const mostInTree = 2_000

export function taskRoutes(parts: ApiParts): Route[] {
  const { app, store, actions, jobs } = parts
  const taskOf = (id: string): StoredTask => {
    const task = store.tasks.get(id)
    if (task === undefined) throw new NotFound(`nothing is known of a task '${id}'`)
    return task
  }
  return [
    route(
      {
        ...{ method: 'get', path: '/tasks', tag, summary: 'Tasks that fit, the latest first', role: 'viewer' },
        query: TaskFilter.extend({ limit: Limit, before: Before }),
        reply: TaskPage,
      },
      ({ query: { limit, before, ...filter } }) => {
        const { tasks, next } = store.query.page(definedOnly(filter), limit, before ?? null)
        return { tasks: tasks.map(taskSummary), next }
      },
    ),
    route(
      {
        ...{ method: 'get', path: '/tasks/count', tag, summary: 'How many fit, at most 100,000', role: 'viewer' },
        query: TaskFilter,
        reply: z.object({ count: z.number() }),
      },
      ({ query }) => ({ count: store.query.count(definedOnly(query)) }),
    ),
    route(
      {
        ...{ method: 'get', path: '/tasks/:id', tag, summary: 'All that is known of a task', role: 'viewer' },
        params: ById,
        reply: TaskDetail,
      },
      ({ params }) => {
        const task = taskOf(params.id)
        const events = store.tasks.events(params.id)
        const { traceback, eta, expires, client } = task
        return {
          ...taskSummary(task),
          ...{ traceback, eta, expires, client },
          events: events.map(({ type, at, hostname: worker, data }) => ({ type, at, worker, data })),
          attempts: attemptsOf(events),
          retryable: actions.argumentsOf(task)?.from ?? 'no',
        }
      },
    ),
    route(
      {
        ...{ method: 'get', path: '/tasks/:id/tree', tag, summary: 'The tasks it belongs to', role: 'viewer' },
        params: ById,
        reply: TaskTree,
      },
      ({ params }) => {
        const task = taskOf(params.id)
        const root = store.tasks.get(task.rootId ?? task.uuid) ?? task
        return treeOf(root, store.tasks.ofRoot(root.uuid, mostInTree))
      },
    ),
    route(
      {
        ...{ method: 'post', path: '/tasks', tag, summary: 'Sends a task by its name', role: 'operator' },
        body: Send,
        reply: z.object({ id: z.string() }),
      },
      async ({ body: { name, args, kwargs, countdownS, queue, priority } }) => {
        const bare = app.remote(name).s()
        const options = definedOnly({ queue, priority, countdown: countdownS })
        const sent = await new Signature<[], unknown>({ ...bare.parts, args, kwargs }, bare.sender).applyAsync(options)
        return { id: sent.id }
      },
    ),
    route(
      {
        ...{ method: 'post', path: '/tasks/:id/retry', tag, role: 'operator' },
        summary: 'Runs it again: redrives its dead letter, or sends it anew with its true arguments or those given',
        params: ById,
        body: Retry,
        reply: Retried,
      },
      ({ params, body }) => actions.retry(taskOf(params.id), body),
    ),
    route(
      {
        ...{ method: 'post', path: '/tasks/:id/revoke', tag, role: 'operator' },
        summary: 'It is not to be run, nor, with `terminate`, to go on',
        params: ById,
        body: Revoke,
        reply: z.object({ id: z.string() }),
      },
      async ({ params, body }) => {
        await actions.revoke([params.id], body)
        return { id: params.id }
      },
    ),
    route(
      {
        ...{ method: 'post', path: '/tasks/bulk', tag, role: 'operator' },
        summary: 'Does something to all tasks that fit; with `dryRun` it counts them',
        body: BulkTasks,
        reply: Started,
      },
      async ({ body: { action, filter, perSecond, dryRun }, user }) => {
        const asked = definedOnly(filter)
        const chosen = action === 'retry' || asked.state !== undefined ? asked : { ...asked, state: unended }
        const work: Work = { action, filter: chosen, perSecond }
        if (dryRun) return { count: await jobs.count(work), job: null }
        const job = await jobs.start(work, user.name)
        return { count: job.total, job: jobView(job) }
      },
    ),
    route(
      {
        method: 'get',
        path: '/jobs',
        tag,
        summary: 'Actions on many, the latest first',
        role: 'viewer',
        reply: z.array(Job),
      },
      () => jobs.all().map(jobView),
    ),
    route(
      {
        method: 'get',
        path: '/jobs/:id',
        tag,
        summary: 'How far one has come',
        role: 'viewer',
        params: ById,
        reply: Job,
      },
      ({ params }) => {
        const job = jobs.get(params.id)
        if (job === undefined) throw new NotFound(`there is no job '${params.id}'`)
        return jobView(job)
      },
    ),
    route(
      {
        method: 'post',
        path: '/jobs/:id/cancel',
        tag,
        summary: 'Ends one where it is',
        role: 'operator',
        params: ById,
        reply: Job,
      },
      async ({ params }) => {
        const job = await jobs.cancel(params.id)
        if (job === undefined) throw new NotFound(`there is no job '${params.id}'`)
        return jobView(job)
      },
    ),
  ]
}
