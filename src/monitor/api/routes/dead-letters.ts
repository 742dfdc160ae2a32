/** Dead letters: alike ones together, sent back to their queues at a rate, with other arguments, or dropped. */
import { z } from 'zod'
import { CeleriacError } from '../../../errors.ts'
import type { DeadLetter as Letter } from '../../../send/dead-letters.ts'
import { fingerprintOf } from '../../actions/fingerprint.ts'
import { maxListedLetters, type Work } from '../../actions/jobs.ts'
import type { Redaction } from '../../redaction.ts'
import { hidden } from '../../redaction.ts'
import type { ApiParts } from '../parts.ts'
import { type Route, route } from '../route.ts'
import { BulkDiscard, BulkRedrive, DeadLetter, DeadLetterGroup, QueueName, Started, TaskId } from '../shapes.ts'
import { jobView } from '../views.ts'

const tag = 'dead letters'
const mostListed = 500

export function deadLetterRoutes({ app, jobs, redaction }: ApiParts): Route[] {
  const list = (queue: string | undefined, limit: number): Promise<Letter[]> =>
    app.deadLetters.list({ limit, ...(queue !== undefined && { queue }) })
  const start = async (work: Work, dryRun: boolean, user: string): Promise<z.infer<typeof Started>> => {
    if (Object.values('letters' in work ? work.letters : {}).every((value) => value === undefined) && !dryRun) {
      throw new CeleriacError('CONFIG_INVALID', '`letters` must say which: a queue, a task, a group or ids')
    }
    if (dryRun) return { count: await jobs.count(work), job: null }
    const job = await jobs.start(work, user)
    return { count: job.total, job: jobView(job) }
  }
  return [
    route(
      {
        ...{ method: 'get', path: '/dead-letters/groups', tag, role: 'viewer' },
        summary: 'Dead letters by error and place, the largest group first; of the first 10,000',
        query: z.strictObject({ queue: QueueName.optional() }),
        reply: z.array(DeadLetterGroup),
      },
      async ({ query }) => groupsOf(await list(query.queue, maxListedLetters), redaction),
    ),
    route(
      {
        ...{ method: 'get', path: '/dead-letters', tag, summary: 'Dead letters, the oldest first', role: 'viewer' },
        query: z.strictObject({
          queue: QueueName.optional(),
          fingerprint: z.string().optional(),
          limit: z.coerce.number().int().min(1).max(mostListed).default(100),
        }),
        reply: z.array(DeadLetter),
      },
      async ({ query: { queue, fingerprint, limit } }) => {
        const letters = await list(queue, fingerprint === undefined ? limit : maxListedLetters)
        return letters
          .map((letter) => letterView(letter, redaction))
          .filter((letter) => fingerprint === undefined || letter.fingerprint === fingerprint)
          .slice(0, limit)
      },
    ),
    route(
      {
        ...{ method: 'get', path: '/dead-letters/:id', tag, summary: 'One of them', role: 'viewer' },
        params: z.object({ id: TaskId }),
        query: z.strictObject({ queue: QueueName.optional() }),
        reply: DeadLetter,
      },
      async ({ params, query }) => letterView(await app.deadLetters.show(params.id, query.queue), redaction),
    ),
    route(
      {
        ...{ method: 'post', path: '/dead-letters/redrive', tag, role: 'operator' },
        summary: 'Sends them back to their queues, the rest of their pipelines with them',
        body: BulkRedrive,
        reply: Started,
      },
      ({ body: { letters, edit, perSecond, dryRun }, user }) =>
        start({ action: 'redrive', letters, edit, perSecond }, dryRun, user.name),
    ),
    route(
      {
        ...{ method: 'post', path: '/dead-letters/discard', tag, summary: 'Drops them for good', role: 'admin' },
        body: BulkDiscard,
        reply: Started,
      },
      ({ body: { letters, dryRun }, user }) =>
        start({ action: 'discard', letters, perSecond: null }, dryRun, user.name),
    ),
  ]
}

function letterView({ message: _message, ...letter }: Letter, redaction: Redaction): z.infer<typeof DeadLetter> {
  const isHidden = letter.task !== null && redaction.hidesTask(letter.task)
  const { fingerprint, place } = fingerprintOf(letter)
  const safe = (value: unknown): unknown => (isHidden ? hidden : redaction.value(value ?? null))
  return {
    ...letter,
    attempts: letter.attempts.map((attempt) => ({ ...attempt, error: redaction.text(attempt.error) })),
    next: [...letter.next],
    error: letter.error && {
      type: letter.error.type,
      message: redaction.text(letter.error.message),
      traceback: letter.error.traceback === null ? null : redaction.text(letter.error.traceback),
    },
    args: safe(letter.args),
    kwargs: safe(letter.kwargs),
    ...{ fingerprint, place },
  }
}

function groupsOf(letters: readonly Letter[], redaction: Redaction): z.infer<typeof DeadLetterGroup>[] {
  const groups = new Map<string, z.infer<typeof DeadLetterGroup>>()
  for (const letter of letters) {
    const { fingerprint, place } = fingerprintOf(letter)
    const { queue, task, reason, error, at } = letter
    const key = `${fingerprint} ${queue}`
    const group = groups.get(key)
    const message = error === null ? null : redaction.text(error.message)
    if (group === undefined) {
      const type = error?.type ?? null
      groups.set(key, { fingerprint, task, queue, reason, type, message, place, count: 1, first: at, latest: at })
      continue
    }
    group.count += 1
    if (at < group.first) group.first = at
    if (at < group.latest) continue
    group.latest = at
    group.message = message
  }
  return [...groups.values()].sort((a, b) => b.count - a.count)
}
