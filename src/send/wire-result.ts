/** What the sender of a composed signature gets to hold: the result of its end, each result knowing the one before it. */
import { AsyncResult, type ResultSource } from '../result/async-result.ts'
import { GroupResult, groupResult } from '../result/group-result.ts'
import { flat } from '../result/tree.ts'
import { accumulateTask } from '../task/builtins.ts'
import type { WireSignature } from './wire.ts'
import { stepsOf, tailOf } from './wire-shape.ts'
import { chordParts } from './wire-signature.ts'

type AnyResult = AsyncResult | GroupResult

/** @param sourceOf where the results of tasks are read from together, by their ids */
export function resultOfWire(
  signature: WireSignature,
  sourceOf: (ids: readonly string[]) => ResultSource,
  before: AnyResult | undefined,
): AnyResult {
  switch (signature.subtask_type) {
    case 'chain': {
      let result = before
      for (const step of stepsOf(signature, [])) result = resultOfWire(step, sourceOf, result)
      return result as AnyResult
    }
    case 'chord': {
      const { header, headerOptions, body } = chordParts(signature)
      const groupId = headerOptions.task_id ?? ''
      const members = header.map(tailOf)
      return resultOfWire(body, sourceOf, groupResult({ groupId, members }, sourceOf(flat(members)), before))
    }
    case 'group':
      return groupOf(signature, sourceOf, before)
    default: {
      const id = signature.options.task_id as string
      const result = new AsyncResult(id, sourceOf([id]), before)
      // A group of nothing at the end of a chain: see `wire-shape.ts`.
      const isNothing = signature.task === accumulateTask && signature.immutable
      return isNothing ? new GroupResult(id, signature.args.map(emptyResult), sourceOf([id]), result, [id]) : result
    }
  }
}

function groupOf(
  signature: WireSignature,
  sourceOf: (ids: readonly string[]) => ResultSource,
  before: AnyResult | undefined,
): GroupResult {
  const tail = tailOf(signature)
  const group = typeof tail === 'string' ? { groupId: tail, members: [] } : tail
  return groupResult(group, sourceOf(flat(group.members)), before)
}

/** Of a list that holds nothing but such lists. */
function emptyResult(list: unknown): GroupResult {
  return new GroupResult('', (list as unknown[]).map(emptyResult), undefined)
}
