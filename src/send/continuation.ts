/**
 * What follows the end of a task, read from its own message: the next step of its chain and its callbacks after a
 * success, its error callbacks and the fate of the remaining steps after a failure. Sends nothing.
 * (Celery: `celery/app/trace.py`, `celery/backends/base.py`.)
 */
import { randomUUID } from 'node:crypto'
import { expand, type Successor } from './composite.ts'
import type { TaskMessage } from './message.ts'
import type { WireSignature } from './wire.ts'
import { chordParts, partsOf } from './wire-signature.ts'

/**
 * Sent after a success with `value`: callbacks first, then the next step.
 * @throws CeleriacError `UNSUPPORTED` for what cannot be started here
 */
export function afterSuccess(message: TaskMessage, value: unknown): Successor[] {
  const { callbacks, chain } = message.embed
  const successors = callbacks === null ? [] : together(callbacks, [value])
  const next = chain?.[chain.length - 1]
  if (chain !== null && next !== undefined) {
    successors.push(...expand({ signature: next, partialArgs: [value], chain: chain.slice(0, -1) }))
  }
  return successors
}

/** Error callbacks take the id of the failed task, the one form that crosses languages. @throws as `afterSuccess` */
export function afterFailure(message: TaskMessage): Successor[] {
  const { errbacks } = message.embed
  return errbacks === null ? [] : together(errbacks, [message.id])
}

/** Groups and chains each for themselves; plain tasks, if there are several, as one group. */
function together(signatures: readonly WireSignature[], partialArgs: readonly unknown[]): Successor[] {
  const plain = signatures.filter(({ subtask_type: type }) => type === null)
  const composed = signatures.filter(({ subtask_type: type }) => type !== null)
  const groupId = plain.length > 1 ? randomUUID() : undefined
  const members = plain.map((signature, index) =>
    groupId === undefined
      ? signature
      : { ...signature, options: { group_id: groupId, group_index: index, ...signature.options } },
  )
  return [...composed, ...members].flatMap((signature) => expand({ signature, partialArgs, chain: null }))
}

/** The tasks that will not run now, in their order; those of one stage would have run side by side. */
export function remainingStages(chain: readonly WireSignature[] | null): WireSignature[][] {
  return [...(chain ?? [])].reverse().flatMap(stagesOf)
}

function stagesOf(signature: WireSignature): WireSignature[][] {
  switch (signature.subtask_type) {
    case 'chain':
      return partsOf(signature).flatMap(stagesOf)
    case 'group':
      return [partsOf(signature).flatMap((member) => stagesOf(member).flat())]
    case 'chord': {
      const { header, body } = chordParts(signature)
      return [header.flatMap((member) => stagesOf(member).flat()), ...stagesOf(body)]
    }
    default:
      return [[signature]]
  }
}
