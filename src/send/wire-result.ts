/** What the sender of a composed signature gets to hold: the result of its end, each result knowing the one before it. */
import { AsyncResult, type ResultSource } from '../result/async-result.ts'
import { GroupResult, groupResult } from '../result/group-result.ts'
import { accumulateTask } from '../task/builtins.ts'
import type { WireSignature } from './wire.ts'
import { stepsOf, tailOf } from './wire-shape.ts'
import { chordParts } from './wire-signature.ts'

type AnyResult = AsyncResult | GroupResult

/** @param sourceOf of a task's own result, by its id */
export function resultOfWire(
  signature: WireSignature,
  sourceOf: (id: string) => ResultSource,
  source: ResultSource,
  before: AnyResult | undefined,
): AnyResult {
  switch (signature.subtask_type) {
    case 'chain': {
      let result = before
      for (const step of stepsOf(signature, [])) result = resultOfWire(step, sourceOf, source, result)
      return result as AnyResult
    }
    case 'chord': {
      const { header, headerOptions, body } = chordParts(signature)
      const groupId = headerOptions.task_id ?? ''
      const members = groupResult({ groupId, members: header.map(tailOf) }, source, before)
      return resultOfWire(body, sourceOf, source, members)
    }
    case 'group':
      return groupOf(signature, source, before)
    default: {
      const id = signature.options.task_id as string
      const result = new AsyncResult(id, sourceOf(id), before)
      // A group of nothing at the end of a chain: see `wire-shape.ts`.
      const isNothing = signature.task === accumulateTask && signature.immutable
      return isNothing ? new GroupResult(id, signature.args.map(emptyResult), source, result, [id]) : result
    }
  }
}

function groupOf(signature: WireSignature, source: ResultSource, before: AnyResult | undefined): GroupResult {
  const tail = tailOf(signature)
  return groupResult(typeof tail === 'string' ? { groupId: tail, members: [] } : tail, source, before)
}

/** Of a list that holds nothing but such lists. */
function emptyResult(list: unknown): GroupResult {
  return new GroupResult('', (list as unknown[]).map(emptyResult), undefined)
}
