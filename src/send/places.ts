/** Where the tasks of a frozen signature stand: who sends each of them, and whom it sends; also of what is never sent. */
import type { WireSignature } from './wire.ts'
import { membersOf, resolveChord, startsOf, stepsOf } from './wire-shape.ts'

/** A plain task and its place. */
export interface Place {
  readonly signature: WireSignature
  readonly parentId: string | null
  readonly children: readonly string[]
}

/** @param next ids of the tasks that start when it has ended */
export function placesOf(signature: WireSignature, parentId: string | null, next: readonly string[] = []): Place[] {
  switch (signature.subtask_type) {
    case 'chain':
      return placesOfSteps(stepsOf(signature, []), parentId, next)
    case 'group':
      return membersOf(signature).flatMap((member) => placesOf(member, parentId, next))
    case 'chord': {
      const { members, body } = resolveChord(signature, [])
      // The body is a child of whoever starts the chord, as in Celery.
      return [...members.flatMap((member) => placesOf(member, parentId)), ...placesOfBody(body, parentId, next)]
    }
    default:
      return [{ signature, parentId, children: next }]
  }
}

/** @param steps in their order */
export function placesOfSteps(
  steps: readonly WireSignature[],
  parentId: string | null,
  next: readonly string[] = [],
): Place[] {
  let before = parentId
  return steps.flatMap((step, index) => {
    const following = steps[index + 1]
    const places = placesOf(step, before, following === undefined ? next : startsOf(following))
    before = places.at(-1)?.signature.options.task_id ?? before
    return places
  })
}

/** A body, and the steps that follow it. */
function placesOfBody(body: WireSignature, parentId: string | null, next: readonly string[]): Place[] {
  const { chain, ...options } = body.options
  return placesOfSteps([{ ...body, options }, ...[...(chain ?? [])].reverse()], parentId, next)
}

/** The same for a body that will not be sent. */
export function placesOfUnsent(body: WireSignature): Place[] {
  return placesOfBody(body, null, [])
}

/** Those of its tasks whose end a join waits for that it is a member of. */
export function reportersOf(signature: WireSignature): WireSignature[] {
  switch (signature.subtask_type) {
    case 'chain': {
      const last = stepsOf(signature, signature.options.chain ?? []).at(-1)
      return last === undefined ? [] : reportersOf(last)
    }
    case 'group': {
      const last = signature.options.chain?.[0]
      return last === undefined ? membersOf(signature).flatMap(reportersOf) : reportersOf(last)
    }
    case 'chord':
      return reportersOf(resolveChord(signature, []).body)
    default: {
      const last = signature.options.chain?.[0]
      const own = signature.options.chord ? [signature] : []
      return last === undefined ? own : [...own, ...reportersOf(last)]
    }
  }
}

/** Tasks of a body with error callbacks that are told of a failure before any of it has run. */
export function firstOf(signature: WireSignature): WireSignature[] {
  switch (signature.subtask_type) {
    case 'chain':
      return stepsOf(signature, []).slice(0, 1).flatMap(firstOf)
    case 'group':
      return membersOf(signature).flatMap(firstOf)
    case 'chord':
      return firstOf(resolveChord(signature, []).body)
    default:
      return [signature]
  }
}
