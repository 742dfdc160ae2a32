/** Reads signatures as others wrote them: what may be missing is filled in, what cannot be one is refused. */
import { invalidMessage } from './invalid-message.ts'
import type { WireOptions, WireSignature } from './wire.ts'

/** `place` = where it stands in the body. @throws CeleriacError `MESSAGE_INVALID` */
export function signatureOf(value: unknown, place: string): WireSignature {
  const { task, args, kwargs, options, subtask_type: type, immutable } = (value ?? {}) as Partial<WireSignature>
  if (typeof task !== 'string') throw invalidMessage(`its \`${place}\` holds something that is no signature`)
  return {
    task,
    args: Array.isArray(args) ? args : [],
    kwargs: isObject(kwargs) ? kwargs : {},
    options: isObject(options) ? options : {},
    subtask_type: typeof type === 'string' ? type : null,
    immutable: immutable === true,
  }
}

/** What a composite signature (`celery.chain`, `celery.group`) is made of, in its order. */
export function partsOf({ task, kwargs }: WireSignature): WireSignature[] {
  return listOf(kwargs.tasks, task)
}

/** The header and the body of a `celery.chord`; a header that is a list was told nothing. */
export function chordParts({ task, kwargs: { header, body } }: WireSignature): {
  header: WireSignature[]
  headerOptions: WireOptions
  body: WireSignature
} {
  if (Array.isArray(header)) return { header: listOf(header, task), headerOptions: {}, body: signatureOf(body, task) }
  const group = signatureOf(header, task)
  return { header: partsOf(group), headerOptions: group.options, body: signatureOf(body, task) }
}

function listOf(value: unknown, place: string): WireSignature[] {
  return Array.isArray(value) ? value.map((item) => signatureOf(item, place)) : []
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
