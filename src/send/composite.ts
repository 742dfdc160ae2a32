/**
 * Starts composed signatures that stand behind a task, as its callback or as a step of its chain: of a `celery.chain`
 * the first step goes out and carries the others, of a `celery.group` every member (`celery/canvas.py`).
 */
import { randomUUID } from 'node:crypto'
import { CeleriacError } from '../errors.ts'
import type { WireOptions, WireSignature } from './wire.ts'
import { partsOf } from './wire-signature.ts'

/** A signature about to be sent, with what its position gives it. */
export interface Successor {
  readonly signature: WireSignature
  /** Put before the signature's own arguments, unless it is immutable. */
  readonly partialArgs: readonly unknown[]
  /** Steps that follow it, the next one last; null where it is no step of a chain. */
  readonly chain: readonly WireSignature[] | null
}

/** The plain tasks to be sent for a successor. @throws CeleriacError `UNSUPPORTED` for a chord */
export function expand(successor: Successor): Successor[] {
  switch (successor.signature.subtask_type) {
    case null:
      return [successor]
    case 'chain':
      return expandChain(successor)
    case 'group':
      return expandGroup(successor)
    default:
      throw unsupported(`a ${successor.signature.subtask_type}`)
  }
}

/** The steps of the chain come before those that follow it. What the chain was told goes to its first or last step. */
function expandChain({ signature, partialArgs, chain }: Successor): Successor[] {
  const { task_id, link, link_error, group_id, group_index, chord, chain: stored, ...forFirst } = signature.options
  const forLast = given({ task_id, group_id, group_index, chord })
  const parts = flatten(signature, 'chain')
  const steps = parts.map((step, index): WireSignature => {
    const isLast = index === parts.length - 1
    const options = {
      ...step.options,
      ...(index === 0 && forFirst),
      ...(isLast && { ...forLast, ...given({ link: joined(step.options.link, link) }) }),
      ...given({ link_error: joined(step.options.link_error, link_error) }),
    }
    return { ...step, options: { ...options, task_id: options.task_id ?? randomUUID() } }
  })
  const after = [...(chain ?? stored ?? []), ...steps.reverse()]
  const first = after.pop()
  if (first === undefined) return []
  if ([first, ...after.slice(1)].some(({ subtask_type: type }) => type === 'group') && after.length > 0) {
    throw unsupported('a group with a step behind it, which is a chord,')
  }
  const own = signature.immutable ? signature.args : [...partialArgs, ...signature.args]
  return expand({ signature: first, partialArgs: own, chain: after })
}

/** Every member by itself; their common id and their places are all that makes them a group. */
function expandGroup({ signature, partialArgs, chain }: Successor): Successor[] {
  if (chain !== null && chain.length > 0) throw unsupported('a group with a step behind it, which is a chord,')
  const { task_id: groupId = randomUUID(), ...forMembers } = signature.options
  const own = [...partialArgs, ...signature.args]
  return flatten(signature, 'group').flatMap((member, index) => {
    const options = {
      ...member.options,
      ...forMembers,
      group_id: member.options.group_id ?? groupId,
      group_index: index,
    }
    return expand({ signature: { ...member, options }, partialArgs: own, chain: null })
  })
}

/** Its parts, those of a composite of the same kind in its place. */
function flatten(signature: WireSignature, type: string): WireSignature[] {
  return partsOf(signature).flatMap((part) => (part.subtask_type === type ? flatten(part, type) : [part]))
}

function joined(
  own: readonly WireSignature[] | undefined,
  more: readonly WireSignature[] | undefined,
): WireSignature[] | undefined {
  return own === undefined && more === undefined ? undefined : [...(own ?? []), ...(more ?? [])]
}

/** Without what is undefined. */
function given(options: Readonly<Record<string, unknown>>): WireOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

function unsupported(what: string): CeleriacError {
  return new CeleriacError('UNSUPPORTED', `${what} inside a message cannot be started here`)
}
