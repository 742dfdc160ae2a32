/** Celery's task states, and which of them are final. A task may store states of its own (`PROGRESS`) between them. */
export type TaskState = 'PENDING' | 'RECEIVED' | 'STARTED' | 'RETRY' | 'SUCCESS' | 'FAILURE' | 'REVOKED' | (string & {})

const ready: ReadonlySet<string> = new Set(['SUCCESS', 'FAILURE', 'REVOKED'])

/** Whether the task has ended. A dead letter that is redriven begins again from there. */
export function isReady(state: TaskState): boolean {
  return ready.has(state)
}
