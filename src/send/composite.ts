/**
 * Starts composed signatures: of a chain the first step goes out and carries the others, of a group every member, of a
 * chord every member of its header, each with the body in its hands (`celery/canvas.py`). The same for what is sent from
 * here and for what a worker finds behind a task.
 */
import type { GroupRecord } from '../result/result-store.ts'
import type { NewId } from './derived-id.ts'
import type { WireSignature } from './wire.ts'
import { frozen, given, membersOf, resolveChord, sizeOf, startsOf, stepsOf, tailOf, withoutFate } from './wire-shape.ts'

/** A signature about to be sent, with what its position gives it. */
export interface Successor {
  readonly signature: WireSignature
  /** Put before the signature's own arguments, unless it is immutable. */
  readonly partialArgs: readonly unknown[]
  /** Steps that follow it, the next one last; null where it is no step of a chain. */
  readonly chain: readonly WireSignature[] | null
}

/** A group that was started. */
export interface StartedGroup extends GroupRecord {
  /** Parts that its join waits for; null where nothing waits for it. */
  readonly size: number | null
}

export interface Started {
  /** Plain tasks, in the order in which they go out. */
  readonly tasks: Successor[]
  /** To be known before the tasks are sent. */
  readonly groups: StartedGroup[]
}

/** What is to be sent for a successor. */
export function expand(successor: Successor, newId: NewId): Started {
  const started: Started = { tasks: [], groups: [] }
  start({ ...successor, signature: frozen(successor.signature, newId) }, started)
  return started
}

function start(successor: Successor, started: Started): void {
  switch (successor.signature.subtask_type) {
    case 'chain':
      return startChain(successor, started)
    case 'group':
      return startGroup(successor, started)
    case 'chord':
      return startChord(successor, started)
    default:
      started.tasks.push(successor)
  }
}

function startChain({ signature, partialArgs, chain }: Successor, started: Started): void {
  const [first, ...rest] = stepsOf(signature, chain ?? signature.options.chain ?? [])
  if (first === undefined) return
  const own = signature.immutable ? [] : partialArgs
  start({ signature: first, partialArgs: own, chain: rest.reverse() }, started)
}

function startGroup({ signature, partialArgs, chain }: Successor, started: Started): void {
  const after = chain ?? signature.options.chain ?? []
  if (after.length > 0) return startChain({ signature: chainOf(signature), partialArgs, chain: after }, started)
  const { task_id: groupId = '', group_id, group_index, chord } = signature.options
  const own = [...partialArgs, ...signature.args]
  // Within a header its members are members of the chord, one after the other.
  const isJoined = chord !== undefined && chord !== null
  let index = isJoined ? (group_index ?? 0) : 0
  const members = membersOf(signature).map((member): WireSignature => {
    const place = { group_id: isJoined ? group_id : (member.options.group_id ?? groupId), group_index: index, chord }
    index += isJoined ? sizeOf(member) : 1
    return { ...member, options: { ...member.options, ...given(place) } }
  })
  if (!isJoined) {
    const [structure, starts] = [members.map(tailOf), members.flatMap(startsOf)]
    started.groups.push({
      groupId,
      members: structure,
      starts: unlessSame(starts, structure),
      bodyId: null,
      size: null,
    })
  }
  for (const member of members) start({ signature: member, partialArgs: own, chain: null }, started)
}

function startChord({ signature, partialArgs, chain }: Successor, started: Started): void {
  const { groupId, members, structure, size, body } = resolveChord(signature, chain ?? [])
  if (size === 0) {
    return start({ signature: withoutFate(body), partialArgs: [structure.map(emptyOf)], chain: null }, started)
  }
  const own = [...partialArgs, ...signature.args]
  const starts = unlessSame(members.flatMap(startsOf), structure)
  started.groups.push({ groupId, members: structure, starts, bodyId: startsOf(body)[0] ?? null, size })
  for (const member of members) start({ signature: member, partialArgs: own, chain: null }, started)
}

function chainOf(step: WireSignature): WireSignature {
  return {
    task: 'celery.chain',
    args: [],
    kwargs: { tasks: [step] },
    options: {},
    subtask_type: 'chain',
    immutable: false,
  }
}

function unlessSame(starts: readonly string[], members: GroupRecord['members']): readonly string[] | null {
  return starts.length === members.length && starts.every((id, index) => id === members[index]) ? null : starts
}

/** What a group of groups without members gives. */
function emptyOf(member: GroupRecord['members'][number]): unknown {
  return typeof member === 'string' ? null : member.members.map(emptyOf)
}
