/** The periodic tasks of the application: when they are due, what became of them; run now, held, removed. */
import { z } from 'zod'
import type { ScheduleInfo } from '../../../beat/schedules.ts'
import { hidden, type Redaction } from '../../redaction.ts'
import type { ApiParts } from '../parts.ts'
import { type Route, route } from '../route.ts'
import { Schedule } from '../shapes.ts'

const tag = 'schedules'
const ByName = z.object({ name: z.string().min(1).max(250) })

export function scheduleRoutes({ app, redaction }: ApiParts): Route[] {
  const hold = (verb: 'pause' | 'resume', summary: string): Route =>
    route(
      {
        ...{ method: 'post', path: `/schedules/:name/${verb}`, tag, summary, role: 'operator' },
        params: ByName,
        reply: Schedule,
      },
      async ({ params: { name } }) => {
        await app.schedules[verb](name)
        return scheduleView(await app.schedules.get(name), redaction)
      },
    )
  return [
    route(
      {
        ...{ method: 'get', path: '/schedules', tag, summary: 'Every entry, by name', role: 'viewer' },
        reply: z.array(Schedule),
      },
      async () => (await app.schedules.list()).map((info) => scheduleView(info, redaction)),
    ),
    route(
      {
        ...{ method: 'get', path: '/schedules/:name', tag, summary: 'One of them', role: 'viewer' },
        params: ByName,
        reply: Schedule,
      },
      async ({ params }) => scheduleView(await app.schedules.get(params.name), redaction),
    ),
    route(
      {
        ...{ method: 'post', path: '/schedules/:name/run', tag, role: 'operator' },
        summary: 'Sends its call now, once more; its times stay as they are',
        params: ByName,
        reply: z.object({ id: z.string() }),
      },
      async ({ params }) => ({ id: (await app.schedules.run(params.name)).id }),
    ),
    hold('pause', 'Sends nothing for it, until it is resumed'),
    hold('resume', 'Lets it go on with its next time'),
    route(
      {
        ...{ method: 'delete', path: '/schedules/:name', tag, role: 'admin' },
        summary: 'Removes it. What the application declares comes back when a beat starts',
        params: ByName,
        reply: z.object({ name: z.string() }),
      },
      async ({ params: { name } }) => {
        await app.schedules.remove(name)
        return { name }
      },
    ),
  ]
}

function scheduleView(info: ScheduleInfo, redaction: Redaction): z.infer<typeof Schedule> {
  const { name, task, schedule, source, isPaused, lastId, sent, missed, skipped, lastError, catchUp, overlap } = info
  const isHidden = redaction.hidesTask(task)
  const at = (date: Date | null): number | null => date?.getTime() ?? null
  return {
    ...{ name, task, schedule, source, isPaused, lastId, sent, missed, skipped, catchUp, overlap },
    args: isHidden ? hidden : redaction.value(info.args),
    kwargs: isHidden ? hidden : redaction.value(info.kwargs),
    queue: info.options.queue ?? null,
    nextAt: at(info.nextAt),
    lastDueAt: at(info.lastDueAt),
    lastSentAt: at(info.lastSentAt),
    lastError: lastError === null ? null : redaction.text(lastError),
  }
}
