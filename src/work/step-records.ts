/**
 * Durable steps in the result store: each is a record of its own beside that of its task, written by the same rule, so an
 * older attempt never replaces what a newer one has kept. They go when the task has succeeded; those of one that was given
 * up stay until results expire, so that a redrive goes on behind them.
 */
import { CeleriacError } from '../errors.ts'
import { decodeJson, fromJsonValue, toJsonValue } from '../json.ts'
import type { Kept } from '../pool/steps.ts'
import type { ResultStore } from '../result/result-store.ts'
import type { Attempt } from './attempt.ts'
import { type RecordParts, recordOf } from './records.ts'

export interface StepRecordParts extends RecordParts {
  readonly results: ResultStore | undefined
}

/** What travelled with the message over a sleep comes first: the store may have let it go. */
export async function loadStep(attempt: Attempt, name: string, parts: StepRecordParts): Promise<Kept | undefined> {
  const { steps } = attempt.message.celeriac
  const carried = steps === undefined ? undefined : (decodeJson(steps) as Readonly<Record<string, Kept>>)
  if (carried !== undefined && Object.hasOwn(carried, name)) return carried[name]
  const [record] = await storeOf(attempt, parts).load([stepId(attempt, name)])
  return record?.status === 'SUCCESS' ? (fromJsonValue(record.result) as Kept) : undefined
}

export async function keepStep(attempt: Attempt, name: string, kept: Kept, parts: StepRecordParts): Promise<void> {
  const record = recordOf(attempt, 'SUCCESS', toJsonValue(kept), null, [], parts)
  const own = { taskId: stepId(attempt, name), name: `${attempt.message.task}: ${name}` }
  const nobody = { parentId: attempt.message.id, groupId: null, replyTo: null }
  await storeOf(attempt, parts).save([{ ...record, ...own, ...nobody }])
}

/** What stays expires by itself. */
export async function dropSteps(attempt: Attempt, { results }: StepRecordParts): Promise<void> {
  await results?.forget((attempt.steps ?? []).map((name) => stepId(attempt, name))).catch(() => undefined)
}

function stepId({ message }: Attempt, name: string): string {
  return `${message.id}:step:${name}`
}

/** One that others can read: the next run may be in another process. */
function storeOf({ message }: Attempt, { results }: StepRecordParts): ResultStore {
  if (results?.joins === true) return results
  const problem =
    `task '${message.task}' has durable steps, and nothing to keep them in: ` +
    (results === undefined ? 'set `results` of the application' : 'results that are sent to their caller are of no use')
  throw new CeleriacError('RESULTS_DISABLED', `${problem}, e.g. results: 'redis://127.0.0.1:6379/1'`)
}
