/**
 * The shape of composed signatures, as Celery builds them (`celery/canvas.py`): what the steps of a chain are, which groups
 * are headers of chords, what a composite was told and which of its parts that concerns. Changes nothing, sends nothing.
 *
 * Differences from Celery: a group of one member stays a group, so that what follows gets a list of one; and a chain that
 * ends in a group without members ends in a task that gives an empty list.
 */
import type { GroupMember } from '../result/result-store.ts'
import { accumulateTask } from '../task/builtins.ts'
import type { NewId } from './derived-id.ts'
import type { WireOptions, WireSignature } from './wire.ts'
import { chordParts, partsOf } from './wire-signature.ts'

/** A chord, resolved: what it was told has come to its header and its body. */
export interface WireChord {
  readonly groupId: string
  /** Of the header: each as it is to be sent, with its place. */
  readonly members: readonly WireSignature[]
  /** The same in the lists that the body gets. */
  readonly structure: readonly GroupMember[]
  /** Parts that the join waits for. */
  readonly size: number
  readonly body: WireSignature
}

/** Gives every task and every group in it an id, where it has none. */
export function frozen(signature: WireSignature, newId: NewId): WireSignature {
  const { options, kwargs } = signature
  switch (signature.subtask_type) {
    case 'chain': {
      const tasks = partsOf(signature).map((step) => frozen(step, newId))
      return { ...signature, kwargs: { ...kwargs, tasks } }
    }
    case 'group': {
      const tasks = partsOf(signature).map((member) => frozen(member, newId))
      return { ...signature, kwargs: { ...kwargs, tasks }, options: withId(options, newId) }
    }
    case 'chord': {
      const { header, headerOptions, body } = chordParts(signature)
      const groupId = headerOptions.task_id ?? options.task_id ?? newId()
      const tasks = header.map((member) => frozen(member, newId))
      const group = groupOf(tasks, { ...headerOptions, task_id: groupId })
      return { ...signature, kwargs: { ...kwargs, header: group, body: bodyAfter(frozen(body, newId), tasks) } }
    }
    default:
      return { ...signature, options: withId(options, newId) }
  }
}

function withId(options: WireOptions, newId: NewId): WireOptions {
  return typeof options.task_id === 'string' ? options : { ...options, task_id: newId() }
}

export function groupOf(tasks: readonly WireSignature[], options: WireOptions): WireSignature {
  return { task: 'celery.group', args: [], kwargs: { tasks }, options, subtask_type: 'group', immutable: false }
}

/**
 * The steps of a frozen chain with those that follow it (`after`, the next one last), in their order. Chains within it are
 * opened, and a group with a step behind it is the header of a chord.
 */
export function stepsOf(signature: WireSignature, after: readonly WireSignature[]): WireSignature[] {
  return uplifted([...opened(signature), ...[...after].reverse()])
}

/** What the chain was told goes to its first or its last step; error callbacks to all. */
function opened(signature: WireSignature): WireSignature[] {
  const steps = partsOf(signature).flatMap((step) => (step.subtask_type === 'chain' ? opened(step) : [step]))
  const { task_id, link, link_error, group_id, group_index, chord, chain: _after, ...forFirst } = signature.options
  const last = steps.length - 1
  return steps.map((step, index) => {
    let options = step.options
    if (index === 0) options = { ...options, ...forFirst }
    if (index === last) {
      options = told(options, given({ group_id, group_index, chord, link }))
      // The id of a chord is that of its header.
      if (task_id !== undefined && step.subtask_type === null) options = { ...options, task_id }
    }
    const args =
      index === 0 && signature.args.length > 0 && !step.immutable ? [...signature.args, ...step.args] : step.args
    return { ...step, args, options: told(options, given({ link_error })) }
  })
}

export function uplifted(steps: readonly WireSignature[]): WireSignature[] {
  const done: WireSignature[] = []
  for (const step of [...steps].reverse()) {
    const next = done[0]
    if (step.subtask_type !== 'group') done.unshift(step)
    else if (next !== undefined) done.splice(0, 1, chordOf(step, next))
    else done.unshift(steps.length > 1 && countOf(step) === 0 ? nothingAfter(step, steps) : step)
  }
  return done
}

function chordOf(header: WireSignature, body: WireSignature): WireSignature {
  const kwargs = { header, body, kwargs: {} }
  return { task: 'celery.chord', args: [], kwargs, options: {}, subtask_type: 'chord', immutable: false }
}

/** A body that is a group of nothing becomes a task, which ends when it should. */
export function bodyAfter(body: WireSignature, header: readonly WireSignature[]): WireSignature {
  if (body.subtask_type === 'group') return countOf(body) === 0 ? nothingAfter(body, header) : body
  const [only, ...others] = body.subtask_type === 'chain' ? partsOf(body) : []
  if (only === undefined || others.length > 0) return body
  return { ...body, kwargs: { ...body.kwargs, tasks: [bodyAfter(only, header)] } }
}

/** A task that gives an empty list, or one of such lists, where a worker for the other steps finds it. */
function nothingAfter(group: WireSignature, steps: readonly WireSignature[]): WireSignature {
  const queue = queueIn(steps)
  const forTask = { ...group.options, ...(queue !== undefined && { queue }) }
  const lists = partsOf(group).map(emptyLists)
  return { task: accumulateTask, args: lists, kwargs: {}, options: forTask, subtask_type: null, immutable: true }
}

function emptyLists(group: WireSignature): unknown[] {
  return partsOf(group).map(emptyLists)
}

/** The queue of the first task among them that names one. */
export function queueIn(signatures: readonly WireSignature[]): string | undefined {
  for (const signature of signatures) {
    const queue = signature.subtask_type === null ? signature.options.queue : queueIn(innerOf(signature))
    if (typeof queue === 'string') return queue
  }
  return undefined
}

function innerOf(signature: WireSignature): WireSignature[] {
  if (signature.subtask_type !== 'chord') return partsOf(signature)
  const { header, body } = chordParts(signature)
  return [...header, body]
}

/** The members of a frozen group, each with what the group was told; groups within it where `isFlat`, as one. */
export function membersOf(signature: WireSignature): WireSignature[] {
  const { task_id: _id, chain: _after, root_id: _root, parent_id: _parent, ...forMembers } = signature.options
  return partsOf(signature).map((member) => ({ ...member, options: told(member.options, forMembers) }))
}

/** @param after steps behind it, the next one last */
export function resolveChord(signature: WireSignature, after: readonly WireSignature[]): WireChord {
  const { header, headerOptions, body: plainBody } = chordParts(signature)
  const { task_id: _groupId, chain: stored, ...forBody } = signature.options
  const groupId = headerOptions.task_id ?? signature.options.task_id ?? ''
  const chain = [...after, ...(stored ?? []), ...(plainBody.options.chain ?? [])]
  const body = {
    ...plainBody,
    options: {
      // So a body that waits tells what it waits for.
      ...(plainBody.subtask_type === null && { group_id: groupId }),
      ...told(plainBody.options, forBody),
      ...(chain.length > 0 && { chain }),
    },
  }
  const {
    task_id: _id,
    chord: _copy,
    chain: _after,
    group_id: _group,
    group_index: _place,
    ...forMembers
  } = headerOptions
  let index = 0
  const members = header.map((member) => {
    const place = { group_id: groupId, group_index: index, chord: body }
    index += sizeOf(member)
    return { ...member, options: Object.assign(told(member.options, forMembers), place) }
  })
  return { groupId, members, structure: header.map(tailOf), size: index, body }
}

/** How many parts the tasks that end it make of it, as a member of a header. */
export function sizeOf(signature: WireSignature): number {
  switch (signature.subtask_type) {
    case 'chain': {
      const last = stepsOf(signature, []).at(-1)
      return last === undefined ? 0 : sizeOf(last)
    }
    case 'group':
      return partsOf(signature).reduce((sum, member) => sum + sizeOf(member), 0)
    case 'chord':
      return sizeOf(chordParts(signature).body)
    default:
      return 1
  }
}

/** Tasks in it that run whatever comes: none only for groups of nothing. */
function countOf(group: WireSignature): number {
  return partsOf(group).reduce((sum, part) => sum + (part.subtask_type === 'group' ? countOf(part) : 1), 0)
}

/** The tasks whose results are its result. */
export function tailOf(signature: WireSignature): GroupMember {
  switch (signature.subtask_type) {
    case 'chain': {
      const last = stepsOf(signature, []).at(-1)
      return last === undefined ? { groupId: '', members: [] } : tailOf(last)
    }
    case 'group':
      return { groupId: signature.options.task_id ?? '', members: partsOf(signature).map(tailOf) }
    case 'chord': {
      const { body } = chordParts(signature)
      const last = body.options.chain?.[0]
      return tailOf(last ?? body)
    }
    default:
      return signature.options.task_id ?? ''
  }
}

/** Ids of the tasks that are sent when it starts, and of the body of what is a chord. */
export function startsOf(signature: WireSignature): string[] {
  switch (signature.subtask_type) {
    case 'chain': {
      const [first] = stepsOf(signature, [])
      return first === undefined ? [] : startsOf(first)
    }
    case 'group':
      return partsOf(signature).flatMap(startsOf)
    case 'chord': {
      const { header, body } = chordParts(signature)
      return [...header.flatMap(startsOf), ...startsOf(body)]
    }
    default:
      return signature.options.task_id === undefined ? [] : [signature.options.task_id]
  }
}

/** Options with further ones: callbacks and stamps are added, all else takes the place of what there was. */
export function told(options: WireOptions, more: WireOptions): WireOptions {
  const all: Record<string, unknown> = { ...options, ...more }
  for (const name of addedUp) {
    if (options[name] === undefined && more[name] === undefined) continue
    const list = joined(options[name], more[name])
    if (list.length > 0) all[name] = list
  }
  return all
}

const addedUp = ['link', 'link_error', 'stamped_headers'] as const

function joined(own: unknown, more: unknown): unknown[] {
  return [...new Set([own ?? [], more ?? []].flat())]
}

/** Without what is undefined. */
export function given(options: Readonly<Record<string, unknown>>): WireOptions {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}

/** The body for itself: what a failure in its header means is not for what it consists of. */
export function withoutFate(body: WireSignature): WireSignature {
  const { celeriac, ...options } = body.options
  if (celeriac?.onError === undefined) return body
  const { onError: _fate, ...rest } = celeriac
  return { ...body, options: { ...options, ...(Object.keys(rest).length > 0 && { celeriac: rest }) } }
}
