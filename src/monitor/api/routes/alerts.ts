/** Alerts: what fires, the rules, and where it is told. */
import { randomUUID } from 'node:crypto'
import { z } from 'zod'
import { type Channel, channelView } from '../../alerts/channels.ts'
import type { ApiParts } from '../parts.ts'
import { NotFound, type Route, route } from '../route.ts'
import {
  Alert,
  AlertChannel,
  AlertEvent,
  AlertRule,
  Before,
  Limit,
  NewAlertChannel,
  NewAlertRule,
  TaskId,
} from '../shapes.ts'

const tag = 'alerts'
const ById = z.object({ id: TaskId })
const Removed = z.object({ id: z.string() })

export function alertRoutes({ alerts, alertStore: store }: ApiParts): Route[] {
  const channelOf = (id: string): Channel => {
    const channel = alerts.channels().find((known) => known.id === id)
    if (channel === undefined) throw new NotFound(`there is no channel '${id}'`)
    return channel
  }
  const ruleOf = (id: string): z.infer<typeof AlertRule> => {
    const rule = alerts.rules().find((known) => known.id === id)
    if (rule === undefined) throw new NotFound(`there is no rule '${id}'`)
    return rule
  }
  const saveRule = (id: string, data: z.infer<typeof NewAlertRule>): z.infer<typeof AlertRule> => {
    for (const channel of data.channels) channelOf(channel)
    store.save('alert_rules', id, data)
    alerts.forget(id)
    return ruleOf(id)
  }
  const saveChannel = (id: string, data: z.infer<typeof NewAlertChannel>): z.infer<typeof AlertChannel> => {
    store.save('alert_channels', id, { ...data, lastSentAt: null, lastError: null })
    return channelView(channelOf(id))
  }
  return [
    route(
      {
        method: 'get',
        path: '/alerts',
        tag,
        summary: 'What fires, and what is about to',
        role: 'viewer',
        reply: z.array(Alert),
      },
      () => alerts.current(),
    ),
    route(
      {
        ...{
          method: 'get',
          path: '/alerts/history',
          tag,
          summary: 'What became of them, the latest first',
          role: 'viewer',
        },
        query: z.strictObject({ limit: Limit, before: Before }),
        reply: z.object({ entries: z.array(AlertEvent), next: z.number().nullable() }),
      },
      ({ query }) => store.history(query.limit, query.before ?? null),
    ),
    route(
      { method: 'get', path: '/alerts/rules', tag, summary: 'The rules', role: 'viewer', reply: z.array(AlertRule) },
      () => alerts.rules(),
    ),
    route(
      {
        method: 'post',
        path: '/alerts/rules',
        tag,
        summary: 'A new rule',
        role: 'operator',
        body: NewAlertRule,
        reply: AlertRule,
      },
      ({ body }) => saveRule(randomUUID(), body),
    ),
    route(
      {
        ...{
          method: 'put',
          path: '/alerts/rules/:id',
          tag,
          summary: 'Changes a rule, which begins anew',
          role: 'operator',
        },
        params: ById,
        body: NewAlertRule,
        reply: AlertRule,
      },
      ({ params, body }) => saveRule(ruleOf(params.id).id, body),
    ),
    route(
      {
        method: 'delete',
        path: '/alerts/rules/:id',
        tag,
        summary: 'Removes it',
        role: 'operator',
        params: ById,
        reply: Removed,
      },
      ({ params: { id } }) => {
        store.remove('alert_rules', ruleOf(id).id)
        alerts.forget(id)
        return { id }
      },
    ),
    route(
      {
        method: 'get',
        path: '/alerts/channels',
        tag,
        summary: 'Where alerts go',
        role: 'viewer',
        reply: z.array(AlertChannel),
      },
      () => alerts.channels().map(channelView),
    ),
    route(
      {
        ...{ method: 'post', path: '/alerts/channels', tag, summary: 'A new one', role: 'admin' },
        body: NewAlertChannel,
        reply: AlertChannel,
      },
      ({ body }) => saveChannel(randomUUID(), body),
    ),
    route(
      {
        ...{ method: 'put', path: '/alerts/channels/:id', tag, summary: 'Changes it', role: 'admin', params: ById },
        body: NewAlertChannel,
        reply: AlertChannel,
      },
      ({ params, body }) => saveChannel(channelOf(params.id).id, body),
    ),
    route(
      {
        method: 'delete',
        path: '/alerts/channels/:id',
        tag,
        summary: 'Removes it',
        role: 'admin',
        params: ById,
        reply: Removed,
      },
      ({ params: { id } }) => {
        store.remove('alert_channels', channelOf(id).id)
        return { id }
      },
    ),
    route(
      {
        ...{ method: 'post', path: '/alerts/channels/:id/test', tag, role: 'operator', params: ById },
        summary: 'Sends a message there, to see whether it arrives',
        reply: AlertChannel,
      },
      async ({ params: { id } }) => {
        await alerts.test(channelOf(id))
        return channelView(channelOf(id))
      },
    ),
  ]
}
