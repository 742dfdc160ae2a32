/** Messages of Celery's protocols 2 and 1, and of the mixture some bridges make of them, as calls. */
import type { Message } from '../broker/broker.ts'
import { withZone } from '../json.ts'
import type { Content } from './content.ts'
import { invalidMessage } from './invalid-message.ts'
import { emptyEmbed, type TaskMessage } from './message.ts'
import type { CeleriacHeader, Embed, WireSignature } from './wire.ts'
import { signatureOf } from './wire-signature.ts'

/** @throws CeleriacError `MESSAGE_INVALID` saying what is wrong and what its producer should change */
export function decodeTask(message: Message, content: Content): TaskMessage {
  const body = content.read(message)
  if (message.headers.task === undefined) return fromProtocol1(message, body)
  return isObject(body) && 'args' in body ? fromHybrid(message, body) : fromProtocol2(message, body)
}

/**
 * The call of a message that cannot be run, as far as its headers tell it: enough to say so to whoever waits for it.
 * Undefined where they name no task and no id.
 */
export function decodeHeaders(message: Message): TaskMessage | undefined {
  const { eta: _eta, expires: _expires, ...headers } = message.headers
  if (typeof headers.task !== 'string' || typeof headers.id !== 'string') return undefined
  return fromProtocol2({ ...message, headers }, [[], {}])
}

function fromProtocol2({ headers, properties }: Message, body: unknown): TaskMessage {
  const { task, id } = headers
  if (typeof task !== 'string') throw invalidMessage('its header `task` is not a text')
  if (typeof id !== 'string') throw invalidMessage('its header `id` is missing or not a text')
  if (!Array.isArray(body) || body.length < 2) throw invalidMessage('its body is not [args, kwargs, embed]')
  const [args, kwargs, embed] = body as unknown[]
  if (!Array.isArray(args)) throw invalidMessage('its args are not a list')
  if (!isObject(kwargs)) throw invalidMessage('its kwargs are not an object')
  const [timeLimitS, softTimeLimitS] = Array.isArray(headers.timelimit) ? headers.timelimit : []
  return {
    task,
    id,
    args,
    kwargs,
    embed: embedOf(embed),
    rootId: textOr(headers.root_id, id),
    parentId: textOr(headers.parent_id, null),
    groupId: textOr(headers.group, null),
    groupIndex: numberOr(headers.group_index, null),
    retries: numberOr(headers.retries, 0),
    etaMs: dateOf(headers.eta, 'eta'),
    expiresMs: dateOf(headers.expires, 'expires'),
    ignoreResult: typeof headers.ignore_result === 'boolean' ? headers.ignore_result : null,
    timeLimitS: numberOr(timeLimitS, null),
    softTimeLimitS: numberOr(softTimeLimitS, null),
    priority: properties.priority,
    replyTo: properties.replyTo ?? null,
    shadow: textOr(headers.shadow, null),
    headers,
    celeriac: isObject(headers.celeriac) ? (headers.celeriac as CeleriacHeader) : noCeleriacHeader,
  }
}

/** The one shared `emptyEmbed` where nothing follows the task, which is what most messages say. */
export function embedOf(embed: unknown): Embed {
  if (!isObject(embed)) return emptyEmbed
  const { callbacks, errbacks, chain, chord } = embed
  if (!callbacks && !errbacks && !chain && !chord) return emptyEmbed
  return {
    callbacks: signaturesOf(callbacks, 'callbacks'),
    errbacks: signaturesOf(errbacks, 'errbacks'),
    chain: signaturesOf(chain, 'chain'),
    chord: chord === undefined || chord === null ? null : signatureOf(chord, 'chord'),
  }
}

function signaturesOf(value: unknown, name: string): WireSignature[] | null {
  if (value === undefined || value === null) return null
  return (Array.isArray(value) ? value : [value]).map((item) => signatureOf(item, name))
}

/** Protocol 1: everything in the body, as Celery 3 sent it and some bridges still do. */
function fromProtocol1(message: Message, body: unknown): TaskMessage {
  if (!isObject(body) || typeof body.task !== 'string') {
    throw invalidMessage('it has no header `task` (protocol 2) and no `task` in its body (protocol 1)')
  }
  const headers = { ...message.headers, ...headersIn(body), group: body.taskset ?? body.group }
  return fromProtocol2({ ...message, headers }, bodyOf(body))
}

/** Headers of protocol 2 and a body of protocol 1, which says what the headers do not (`celery/worker/strategy.py`). */
function fromHybrid(message: Message, body: Record<string, unknown>): TaskMessage {
  const headers = { ...headersIn(body), ...message.headers }
  return fromProtocol2({ ...message, headers }, bodyOf(body))
}

function headersIn(body: Record<string, unknown>): Record<string, unknown> {
  const { task, id, root_id, parent_id, group, group_index, shadow, retries, eta, expires, timelimit } = body
  return { task, id, root_id, parent_id, group, group_index, shadow, retries, eta, expires, timelimit }
}

function bodyOf({ args, kwargs, callbacks, errbacks, chord }: Record<string, unknown>): unknown[] {
  return [args ?? [], kwargs ?? {}, { callbacks, errbacks, chain: null, chord }]
}

const noCeleriacHeader: CeleriacHeader = {}

function dateOf(value: unknown, header: string): number | null {
  if (value === null || value === undefined) return null
  const ms = typeof value === 'string' ? Date.parse(withZone(value)) : Number.NaN
  if (Number.isNaN(ms)) throw invalidMessage(`its header \`${header}\` is not an ISO 8601 date: ${printed(value)}`)
  return ms
}

function printed(value: unknown): string {
  return typeof value === 'string' ? JSON.stringify(value) : String(value)
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function textOr<T>(value: unknown, otherwise: T): string | T {
  return typeof value === 'string' ? value : otherwise
}

function numberOr<T>(value: unknown, otherwise: T): number | T {
  return typeof value === 'number' ? value : otherwise
}
