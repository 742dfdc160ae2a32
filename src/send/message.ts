/**
 * Task calls as messages of Celery's protocol 2, and back. Writes all its headers and properties; reads protocol 1 too.
 * https://docs.celeryq.dev/en/stable/internals/protocol.html
 */
import { hostname } from 'node:os'
import type { Message, OutgoingMessage, Properties } from '../broker/broker.ts'
import { CeleriacError } from '../errors.ts'
import { decodeJson, encodeJson, withZone } from '../json.ts'
import { argsRepr, kwargsRepr } from './repr.ts'
import type { CeleriacHeader, Embed } from './wire.ts'

/** One call, complete: everything a message says. Times are absolute, in epoch ms. */
export interface TaskCall {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly embed: Embed
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  readonly groupIndex: number | null
  readonly retries: number
  readonly etaMs: number | null
  readonly expiresMs: number | null
  readonly ignoreResult: boolean
  readonly timeLimitS: number | null
  readonly softTimeLimitS: number | null
  readonly priority: number
  readonly replyTo: string | null
  readonly shadow: string | null
  /** The caller's own headers, merged flat into the message's. */
  readonly headers: Readonly<Record<string, unknown>> | null
  readonly celeriac: CeleriacHeader
}

/** A call as a worker reads it. */
export interface TaskMessage extends Omit<TaskCall, 'queue' | 'headers' | 'ignoreResult'> {
  /** Null leaves it to the task. */
  readonly ignoreResult: boolean | null
  /** All headers, as they came. */
  readonly headers: Readonly<Record<string, unknown>>
}

export const emptyEmbed: Embed = { callbacks: null, errbacks: null, chain: null, chord: null }

const emptyEmbedJson = JSON.stringify(emptyEmbed)
const origin = `gen${process.pid}@${hostname()}`
const jsonType = 'application/json'

/** @throws CeleriacError `PAYLOAD_INVALID` for arguments JSON cannot carry */
export function encodeTask(call: TaskCall, nowMs: number): OutgoingMessage {
  const { etaMs, expiresMs, embed } = call
  const embedJson = embed === emptyEmbed ? emptyEmbedJson : encodeJson(embed)
  // First of all, because it refuses what the reprs below could not print either.
  const body = `[${encodeJson(call.args)},${encodeJson(call.kwargs)},${embedJson}]`
  const headers = {
    lang: 'js',
    task: call.task,
    id: call.id,
    shadow: call.shadow,
    eta: etaMs === null ? null : isoDate(etaMs),
    expires: expiresMs === null ? null : isoDate(expiresMs),
    group: call.groupId,
    group_index: call.groupIndex,
    retries: call.retries,
    timelimit: [call.timeLimitS, call.softTimeLimitS],
    root_id: call.rootId,
    parent_id: call.parentId,
    argsrepr: argsRepr(call.args),
    kwargsrepr: kwargsRepr(call.kwargs),
    origin,
    ignore_result: call.ignoreResult,
    replaced_task_nesting: 0,
    stamped_headers: null,
    stamps: {},
    celeriac: call.celeriac,
    ...call.headers,
  }
  return {
    queue: call.queue,
    headers,
    properties: propertiesOf(call, nowMs),
    body,
    delayMs: etaMs === null ? 0 : Math.max(0, etaMs - nowMs),
  }
}

function propertiesOf(call: TaskCall, nowMs: number): Properties {
  return {
    contentType: jsonType,
    contentEncoding: 'utf-8',
    correlationId: call.id,
    priority: call.priority,
    ...(call.replyTo !== null && { replyTo: call.replyTo }),
    ...(call.expiresMs !== null && { expirationMs: Math.max(0, call.expiresMs - nowMs) }),
  }
}

/** Names that may stand in `acceptContent` for a content type. */
const contentTypes: Readonly<Record<string, string>> = {
  json: jsonType,
  yaml: 'application/x-yaml',
  msgpack: 'application/x-msgpack',
  pickle: 'application/x-python-serialize',
}

/** @throws CeleriacError `MESSAGE_INVALID` saying what is wrong and what its producer should change */
export function decodeTask(message: Message, acceptContent: readonly string[]): TaskMessage {
  const { contentType } = message.properties
  if (!acceptContent.some((accepted) => (contentTypes[accepted] ?? accepted) === contentType)) {
    throw invalid(
      `its content type ${contentType} is not accepted here (acceptContent: ${acceptContent.join(', ')}); ` +
        "let its producer send JSON (in Python: task_serializer = 'json')",
    )
  }
  if (contentType !== jsonType) throw invalid(`its content type ${contentType} cannot be read by this version`)
  const { compression } = message.headers
  if (compression !== undefined && compression !== null) {
    throw invalid(`it is compressed (${String(compression)}); let its producer send it uncompressed`)
  }
  const text = typeof message.body === 'string' ? message.body : Buffer.from(message.body).toString('utf8')
  let body: unknown
  try {
    body = decodeJson(text)
  } catch (error) {
    throw invalid(`its body is ${(error as Error).message}`, error)
  }
  return message.headers.task === undefined ? fromProtocol1(message, body) : fromProtocol2(message, body)
}

function fromProtocol2({ headers, properties }: Message, body: unknown): TaskMessage {
  const { task, id } = headers
  if (typeof task !== 'string') throw invalid('its header `task` is not a text')
  if (typeof id !== 'string') throw invalid('its header `id` is missing or not a text')
  if (!Array.isArray(body) || body.length < 2) throw invalid('its body is not [args, kwargs, embed]')
  const [args, kwargs, embed] = body as unknown[]
  if (!Array.isArray(args)) throw invalid('its args are not a list')
  if (!isObject(kwargs)) throw invalid('its kwargs are not an object')
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
    priority: properties.priority ?? 0,
    replyTo: properties.replyTo ?? null,
    shadow: textOr(headers.shadow, null),
    headers,
    celeriac: isObject(headers.celeriac) ? (headers.celeriac as CeleriacHeader) : noCeleriacHeader,
  }
}

/** The one shared `emptyEmbed` where nothing follows the task, which is what most messages say. */
function embedOf(embed: unknown): Embed {
  if (!isObject(embed)) return emptyEmbed
  const { callbacks, errbacks, chain, chord } = embed as Partial<Embed>
  if (!callbacks && !errbacks && !chain && !chord) return emptyEmbed
  return { callbacks: callbacks ?? null, errbacks: errbacks ?? null, chain: chain ?? null, chord: chord ?? null }
}

/** Protocol 1: everything in the body, as Celery 3 sent it and some bridges still do. */
function fromProtocol1(message: Message, body: unknown): TaskMessage {
  if (!isObject(body) || typeof body.task !== 'string') {
    throw invalid('it has no header `task` (protocol 2) and no `task` in its body (protocol 1)')
  }
  const { task, id, args = [], kwargs = {}, callbacks = null, errbacks = null, chord = null, ...rest } = body
  const headers = {
    ...message.headers,
    task,
    id,
    retries: rest.retries,
    eta: rest.eta,
    expires: rest.expires,
    group: rest.taskset ?? rest.group,
    group_index: rest.group_index,
    timelimit: rest.timelimit,
  }
  return fromProtocol2({ ...message, headers }, [args, kwargs, { callbacks, errbacks, chain: null, chord }])
}

const noCeleriacHeader: CeleriacHeader = {}

/** `2026-11-22T16:16:50.753+00:00`: the form every supported Python reads. */
export function isoDate(ms: number): string {
  return new Date(ms).toISOString().replace('Z', '+00:00')
}

function dateOf(value: unknown, header: string): number | null {
  if (value === null || value === undefined) return null
  const ms = typeof value === 'string' ? Date.parse(withZone(value)) : Number.NaN
  if (Number.isNaN(ms)) throw invalid(`its header \`${header}\` is not an ISO 8601 date: ${JSON.stringify(value)}`)
  return ms
}

function invalid(what: string, cause?: unknown): CeleriacError {
  return new CeleriacError('MESSAGE_INVALID', `the message cannot be run: ${what}`, { cause })
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
