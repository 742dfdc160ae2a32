/** What a worker does with tasks, as events. */
import type { EventDispatcher } from '../events/dispatcher.ts'
import { nameAndMessage, tracebackOf } from '../result/stored-error.ts'
import { isoDate, type TaskMessage } from '../send/message.ts'
import { argsRepr, errorRepr, kwargsRepr, valueRepr } from '../send/repr.ts'
import type { Attempt } from '../work/attempt.ts'
import type { WorkerObserver } from '../work/observer.ts'
import type { Outcome } from '../work/outcome.ts'

/** While nobody wants them, a task costs no more than the question. */
export function taskEvents(events: EventDispatcher): WorkerObserver {
  return {
    onReceived({ message, queue }) {
      if (events.sendsTaskEvents) events.sendTask('task-received', receivedFields(message, queue))
    },
    onStarted({ message, together }) {
      if (!events.sendsTaskEvents) return
      events.sendTask('task-started', { uuid: message.id, ...(together !== undefined && { together }) })
    },
    onEnded(_delivery, message, attempt, outcome, runMs) {
      if (events.sendsTaskEvents && message !== undefined) tellEnd(events, message, attempt, outcome, runMs)
    },
  }
}

function receivedFields(message: TaskMessage, queue: string) {
  const { id: uuid, task: name, rootId: root_id, parentId: parent_id, retries, etaMs, expiresMs, headers } = message
  return {
    uuid,
    name,
    // The sender's own texts may hide what is not for everybody's eyes.
    args: typeof headers.argsrepr === 'string' ? headers.argsrepr : argsRepr(message.args),
    kwargs: typeof headers.kwargsrepr === 'string' ? headers.kwargsrepr : kwargsRepr(message.kwargs),
    root_id,
    parent_id,
    retries,
    eta: etaMs === null ? null : isoDate(etaMs),
    expires: expiresMs === null ? null : isoDate(expiresMs),
    queue,
    ready_at: message.celeriac.sent === undefined ? null : message.celeriac.sent / 1_000,
  }
}

function tellEnd(
  events: EventDispatcher,
  { id: uuid }: TaskMessage,
  attempt: Attempt | undefined,
  outcome: Outcome,
  runMs: number,
): void {
  switch (outcome.kind) {
    case 'success':
      return events.sendTask('task-succeeded', { uuid, result: valueRepr(outcome.value), runtime: runMs / 1_000 })
    case 'retry':
      return events.sendTask('task-retried', { uuid, ...failed(outcome.error) })
    case 'failure':
    case 'poison':
      return events.sendTask('task-failed', { uuid, ...failed(outcome.error) })
    case 'lost':
      return events.sendTask('task-rejected', { uuid, requeue: true })
    case 'expired':
      return events.sendTask('task-revoked', { uuid, terminated: false, signum: null, expired: true })
    case 'revoked': {
      const { terminated, signum } = outcome
      return events.sendTask('task-revoked', { uuid, terminated, signum, expired: false })
    }
    case 'ignored':
    case 'replaced':
      return
    case 'interrupted':
    case 'asleep':
    case 'early':
      if (attempt !== undefined) events.sendTask('task-rejected', { uuid, requeue: true })
  }
}

function failed(error: unknown): { exception: string; traceback: string | null } {
  const { name, message } = nameAndMessage(error)
  return { exception: errorRepr(name, message), traceback: tracebackOf(error) }
}
