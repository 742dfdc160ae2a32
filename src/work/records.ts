/** What the result store is told of tasks that ran, and of those that never will. */
import type { Delivery } from '../broker/broker.ts'
import type { Clock } from '../clock.ts'
import type { ResultRecord } from '../result/result-store.ts'
import type { TaskState } from '../result/states.ts'
import { isoDate, type TaskMessage } from '../send/message.ts'
import type { Place } from '../send/places.ts'
import type { Attempt } from './attempt.ts'

export interface RecordParts {
  readonly clock: Clock
  readonly worker: string
}

/** What a record needs of an attempt. */
export type Recorded = Pick<Attempt, 'message' | 'delivery' | 'fence' | 'startedAt'>

export function recordOf(
  { message, delivery, fence, startedAt }: Recorded & { readonly delivery: Pick<Delivery, 'queue'> },
  status: TaskState,
  result: unknown,
  traceback: string | null,
  children: readonly string[],
  { clock, worker }: RecordParts,
): ResultRecord {
  const ended = status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED'
  const nowMs = clock.now()
  return {
    taskId: message.id,
    status,
    result,
    traceback,
    children,
    dateDone: ended ? isoDate(nowMs) : null,
    parentId: message.parentId,
    rootId: message.rootId,
    groupId: message.groupId,
    name: message.task,
    queue: delivery.queue,
    worker,
    retries: message.retries,
    replyTo: message.replyTo,
    sentAt: message.celeriac.sent ?? null,
    startedAt,
    doneAt: ended ? nowMs : null,
    fence,
  }
}

/**
 * Of tasks that will not be sent now: they end as what they waited for, so that nobody waits for them. A redrive begins
 * them anew.
 */
export function unsentRecords(
  places: readonly Place[],
  { rootId, replyTo }: Pick<TaskMessage, 'rootId' | 'replyTo'>,
  status: 'FAILURE' | 'REVOKED',
  error: unknown,
  clock: Clock,
): ResultRecord[] {
  const nowMs = clock.now()
  const ended = { status, result: error, traceback: null, dateDone: isoDate(nowMs), doneAt: nowMs }
  const unsent = { worker: null, retries: 0, sentAt: null, startedAt: null }
  return places.flatMap(({ signature: { task, options }, parentId, children }): ResultRecord[] => {
    if (options.task_id === undefined || options.ignore_result === true) return []
    const own = { taskId: options.task_id, name: task, queue: options.queue ?? null }
    const place = { parentId, rootId, groupId: options.group_id ?? null, replyTo: options.reply_to ?? replyTo }
    // One that takes the place of a task which had been tried must not be older than that.
    return [{ ...ended, ...unsent, ...own, ...place, children, fence: options.celeriac?.fence ?? 0 }]
  })
}
