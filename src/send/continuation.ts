/**
 * What follows the end of a task, read from its own message: the next step of its chain and its callbacks after a
 * success, its error callbacks and the fate of the remaining steps after a failure. Sends nothing.
 * (Celery: `celery/app/trace.py`, `celery/backends/base.py`.)
 */
import { CeleriacError } from '../errors.ts'
import { expand, type Started } from './composite.ts'
import { derivedIds, type NewId } from './derived-id.ts'
import type { TaskMessage } from './message.ts'
import { type Place, placesOfSteps, reportersOf } from './places.ts'
import type { WireSignature } from './wire.ts'
import { frozen, startsOf, uplifted } from './wire-shape.ts'

/** Sent after a success with `value`: callbacks first, then the next step. */
export function afterSuccess(message: TaskMessage, value: unknown): Started {
  const { callbacks, chain } = message.embed
  // A second run after a crash sends the same ones under the same ids.
  const newId = derivedIds(message.id)
  const started = callbacks === null ? nothing() : together(callbacks, [value], newId)
  const next = chain?.at(-1)
  if (chain === null || next === undefined) return started
  const step = expand({ signature: next, partialArgs: [value], chain: chain.slice(0, -1) }, newId)
  return both(started, step)
}

/** Error callbacks take the id of the failed task, the one form that crosses languages. */
export function afterFailure(id: string, errbacks: readonly WireSignature[] | null): Started {
  return errbacks === null ? nothing() : together(errbacks, [id], derivedIds(`${id}/failure`))
}

/** Groups and chains each for themselves; plain tasks, if there are several, as one group. */
function together(signatures: readonly WireSignature[], partialArgs: readonly unknown[], newId: NewId): Started {
  const plain = signatures.filter(({ subtask_type: type }) => type === null)
  const composed = signatures.filter(({ subtask_type: type }) => type !== null)
  const groupId = plain.length > 1 ? newId() : undefined
  const members = plain.map((signature, index) =>
    groupId === undefined
      ? signature
      : { ...signature, options: { group_id: groupId, group_index: index, ...signature.options } },
  )
  return [...composed, ...members]
    .map((signature) => expand({ signature, partialArgs, chain: null }, newId))
    .reduce(both, nothing())
}

function nothing(): Started {
  return { tasks: [], groups: [] }
}

function both(one: Started, other: Started): Started {
  return { tasks: [...one.tasks, ...other.tasks], groups: [...one.groups, ...other.groups] }
}

/**
 * Looks at what is left of a chain, in its order; tasks that lack an id get the one they would be sent under. What cannot
 * be read is taken for the end: it must not keep the task before it from ending.
 */
function ofRemaining<T>(
  id: string,
  chain: readonly WireSignature[] | null,
  look: (steps: WireSignature[]) => T[],
): T[] {
  if (chain === null || chain.length === 0) return []
  const newId = derivedIds(id)
  try {
    return look(uplifted([...chain].reverse().map((step) => frozen(step, newId))))
  } catch (error) {
    if (error instanceof CeleriacError && error.code === 'MESSAGE_INVALID') return []
    throw error
  }
}

/** The tasks that will not run now, in their order. @param id of the task whose message holds the chain */
export function remainingPlaces(id: string, chain: readonly WireSignature[] | null): Place[] {
  return ofRemaining(id, chain, (steps) => placesOfSteps(steps, id))
}

/** Those of them whose end a join waits for. */
export function remainingReporters(id: string, chain: readonly WireSignature[] | null): WireSignature[] {
  return ofRemaining(id, chain, (steps) => steps.flatMap(reportersOf))
}

/** Ids of the tasks that start next. */
export function nextStarts(id: string, chain: readonly WireSignature[] | null): string[] {
  return ofRemaining(id, chain, (steps) => steps.slice(0, 1).flatMap(startsOf))
}
