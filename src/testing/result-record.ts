import type { ResultRecord } from '../result/result-store.ts'

/** A record in which nothing is known but what is given. */
export function resultRecord(known: Partial<ResultRecord> & Pick<ResultRecord, 'taskId'>): ResultRecord {
  return {
    status: 'PENDING',
    result: null,
    traceback: null,
    children: [],
    dateDone: null,
    parentId: null,
    rootId: null,
    groupId: null,
    name: null,
    queue: null,
    worker: null,
    retries: 0,
    replyTo: null,
    sentAt: null,
    startedAt: null,
    doneAt: null,
    fence: 0,
    ...known,
  }
}
