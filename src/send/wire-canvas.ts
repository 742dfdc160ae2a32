/** What users compose, as Celery's signatures: with ids, callbacks, stamps, and for each task the queue it would go to. */
import type { AnyCanvas, AnySignature, Told } from '../canvas/canvas.ts'
import { toMs } from '../duration.ts'
import { toJsonValue } from '../json.ts'
import { accumulateTask } from '../task/builtins.ts'
import type { CallOptions } from '../task/call-options.ts'
import type { NewId } from './derived-id.ts'
import { isoDate } from './message.ts'
import type { CeleriacOptions, WireOptions, WireSignature } from './wire.ts'
import { turnedPriority } from './wire-options.ts'
import { bodyAfter, groupOf, queueIn, tailOf } from './wire-shape.ts'

export interface WireParts {
  /** A plain call, routed and with its id. */
  readonly plain: (signature: AnySignature, id: string) => WireSignature
  readonly newId: NewId
  readonly unsetPriority: number
}

/**
 * @param options further ones of the call, over those that it was told
 * @param isFollowed whether a step or a body comes behind it, so that a group at its end is the header of a chord
 */
export function wireOf(canvas: AnyCanvas, options: CallOptions, parts: WireParts, isFollowed = false): WireSignature {
  const { taskId, ...own } = { ...canvas.told.options, ...options }
  const told = toldOf(canvas.told, parts)
  switch (canvas.kind) {
    case 'signature': {
      const plain = parts.plain(withOptions(canvas, { ...canvas.parts.options, ...own }), taskId ?? parts.newId())
      return { ...plain, options: { ...plain.options, ...told } }
    }
    case 'chain': {
      const last = canvas.steps.length - 1
      const tasks = canvas.steps.map((step, index) => {
        const forStep = { ...(index === 0 && own), ...(index === last && taskId !== undefined && { taskId }) }
        return wireOf(step, forStep, parts, isFollowed || index < last)
      })
      return composed('chain', { tasks: tasks.map((task) => stamped(task, canvas.told)) }, told)
    }
    case 'group': {
      const wires = canvas.members.map((member) => stamped(wireOf(member, own, parts, isFollowed), canvas.told))
      // Celery's workers count such members wrongly (5.2): they start them with a size of their own.
      const tasks = isFollowed ? wires.map((wire) => (endsInGroup(wire) ? gathered(wire, parts.newId) : wire)) : wires
      return { ...groupOf(tasks, { ...told, task_id: taskId ?? parts.newId() }) }
    }
    case 'chord': {
      const header = stamped(wireOf(canvas.header, own, parts, true), canvas.told)
      const forBody = taskId === undefined ? {} : { taskId }
      const wire = stamped(wireOf(canvas.body, forBody, parts, isFollowed), canvas.told)
      const body = bodyAfter(wire, [header])
      const onError = canvas.fate === 'fail' ? {} : { celeriac: { onError: canvas.fate } }
      return composed(
        'chord',
        { kwargs: {}, header, body: { ...body, options: { ...body.options, ...onError } } },
        told,
      )
    }
  }
}

/** Whether it is several tasks in the end, without being a group as such. */
function endsInGroup(wire: WireSignature): boolean {
  return wire.subtask_type !== 'group' && typeof tailOf(wire) !== 'string'
}

/** The fields alone, so that also what came from another process will do. */
function withOptions({ kind, parts, told }: AnySignature, options: CallOptions): AnySignature {
  return { kind, parts: { ...parts, options }, told } as AnySignature
}

function composed(type: 'chain' | 'chord', kwargs: WireSignature['kwargs'], options: WireOptions): WireSignature {
  return { task: `celery.${type}`, args: [], kwargs, options, subtask_type: type, immutable: false }
}

function toldOf({ links, errorLinks, stamps }: Told, parts: WireParts): WireOptions {
  return {
    ...(links.length > 0 && { link: links.map((link) => wireOf(link, {}, parts)) }),
    ...(errorLinks.length > 0 && { link_error: errorLinks.map((link) => wireOf(link, {}, parts)) }),
    ...stampOptions(stamps),
  }
}

function stampOptions(stamps: Told['stamps']): WireOptions {
  const names = Object.keys(stamps)
  return names.length === 0 ? {} : { ...(toJsonValue(stamps) as WireOptions), stamped_headers: names }
}

/** With the stamps of what it is a part of, under its own. */
function stamped(signature: WireSignature, { stamps }: Told): WireSignature {
  if (Object.keys(stamps).length === 0) return signature
  const { kwargs } = signature
  const within = (value: unknown): unknown => stamped(value as WireSignature, { stamps } as Told)
  const { tasks, header, body } = kwargs as { tasks?: unknown[]; header?: unknown; body?: unknown }
  const inner = {
    ...(tasks !== undefined && { tasks: tasks.map(within) }),
    ...(header !== undefined && { header: within(header), body: within(body) }),
  }
  const { options } = signature
  const names = [...new Set([...Object.keys(stamps), ...((options.stamped_headers as string[] | undefined) ?? [])])]
  return {
    ...signature,
    kwargs: signature.subtask_type === null ? kwargs : { ...kwargs, ...inner },
    options: { ...(toJsonValue(stamps) as WireOptions), ...options, stamped_headers: names },
  }
}

/** What was said of a plain call, but for what its route and its task say. */
export function plainOptions(options: CallOptions, unsetPriority: number): WireOptions {
  const { countdown, eta, expires, priority, serializer, compression } = options
  return {
    ...(priority !== undefined && { priority: turnedPriority(priority, unsetPriority) }),
    ...(countdown !== undefined && { countdown: toMs(countdown, 'countdown') / 1_000 }),
    ...(eta !== undefined && { eta: isoDate(eta.getTime()) }),
    ...(expires !== undefined && {
      expires: expires instanceof Date ? isoDate(expires.getTime()) : toMs(expires, 'expires') / 1_000,
    }),
    ...(serializer !== undefined && { serializer }),
    // Celery has no word for none.
    ...(compression !== undefined && compression !== 'none' && { compression }),
  }
}

/** A chain of it and a task that gives a list its values, for what ends in a group and must be one task. */
export function gathered(signature: WireSignature, newId: NewId): WireSignature {
  const queue = queueIn([signature])
  const gather: WireSignature = {
    task: accumulateTask,
    args: [],
    kwargs: { index: 0 },
    options: { task_id: newId(), ...(queue !== undefined && { queue }) },
    subtask_type: null,
    immutable: false,
  }
  return composed('chain', { tasks: [signature, gather] }, {})
}

/** The same with another id for its result, at which attempts were made before. */
export function withResultId(signature: WireSignature, id: string, celeriac: CeleriacOptions): WireSignature {
  const { kwargs, options } = signature
  switch (signature.subtask_type) {
    case null:
    // Of a group only where it has no members: the task that takes its place has its id.
    case 'group':
      return { ...signature, options: { ...options, task_id: id, celeriac: { ...options.celeriac, ...celeriac } } }
    case 'chord':
      return { ...signature, kwargs: { ...kwargs, body: withResultId(kwargs.body as WireSignature, id, celeriac) } }
    default: {
      const tasks = kwargs.tasks as WireSignature[]
      const last = tasks.at(-1)
      return last === undefined
        ? signature
        : { ...signature, kwargs: { ...kwargs, tasks: [...tasks.slice(0, -1), withResultId(last, id, celeriac)] } }
    }
  }
}
