/** Messages in kombu's envelope, one JSON object. */
import { isUtf8 } from 'node:buffer'
import { randomUUID } from 'node:crypto'
import type { Message, OutgoingMessage, Properties } from '../../broker/broker.ts'
import { parseJson } from '../../json.ts'
import { priorityFromWire, wirePriority } from './keys.ts'

/** Writes envelopes. What neighbours have in common, which is most of it, is written once. */
export class EnvelopeWriter {
  #like: { readonly queue: string; readonly properties: Properties; readonly isText: boolean; readonly nowMs: number }
  #head = ''
  #middle = ''

  constructor() {
    this.#like = { queue: '', properties: { contentType: '', contentEncoding: '' }, isText: true, nowMs: Number.NaN }
  }

  /** Envelope of a message, with a tag of its own. `nowMs` is kept as the time of its publishing. */
  write({ queue, headers, properties, body }: OutgoingMessage, nowMs: number): string {
    const isText = typeof body === 'string'
    const like = this.#like
    if (
      like.queue !== queue ||
      like.nowMs !== nowMs ||
      like.isText !== isText ||
      !areAlike(like.properties, properties)
    ) {
      this.#like = { queue, properties, isText, nowMs }
      this.#head = headOf(queue, properties, isText, nowMs)
      this.#middle =
        `},"content-type":${quoted(properties.contentType)},` +
        `"content-encoding":${quoted(properties.contentEncoding)},"headers":`
    }
    return (
      `${this.#head}${quoted(properties.correlationId)},"delivery_tag":"${randomUUID()}"` +
      `${this.#middle}${JSON.stringify(headers)},"body":"${base64(body)}"}`
    )
  }
}

/** All properties but those of one message alone, which follow. */
function headOf(queue: string, properties: Properties, isText: boolean, nowMs: number): string {
  const { contentEncoding, replyTo, expirationMs } = properties
  const kind = isText === impliesText(contentEncoding) ? '' : `,"body_kind":"${isText ? 'text' : 'bytes'}"`
  const expiration = expirationMs === undefined ? '' : `,"expiration":"${Math.round(expirationMs)}"`
  return (
    `{"properties":{"published":${nowMs},"reply_to":${quoted(replyTo)},"delivery_mode":2,` +
    `"delivery_info":{"exchange":"","routing_key":${quoted(queue)}},"priority":${wirePriority(properties)},` +
    `"body_encoding":"base64"${kind}${expiration},"correlation_id":`
  )
}

/** In all but the correlation id. */
function areAlike(one: Properties, other: Properties): boolean {
  return (
    one.contentType === other.contentType &&
    one.contentEncoding === other.contentEncoding &&
    one.replyTo === other.replyTo &&
    one.priority === other.priority &&
    one.expirationMs === other.expirationMs
  )
}

/** What an envelope says. */
export interface Envelope {
  readonly message: Message
  /** Consumers that were lost with it. */
  readonly losses: number
  /** Epoch ms; undefined where a stranger published it. */
  readonly publishedAt: number | undefined
}

interface Wire {
  readonly properties?: {
    readonly published?: unknown
    readonly correlation_id?: unknown
    readonly reply_to?: unknown
    readonly delivery_info?: { readonly redelivered?: unknown } | null
    readonly priority?: unknown
    readonly body_encoding?: unknown
    readonly body_kind?: unknown
    readonly expiration?: unknown
  }
  readonly headers?: unknown
  readonly 'content-type'?: unknown
  readonly 'content-encoding'?: unknown
  readonly body?: unknown
  readonly 'celeriac-losses'?: unknown
}

type Writable<T> = { -readonly [K in keyof T]: T[K] }

/** Never throws: what is no envelope becomes a message of no type, whose body is all there was. */
export function decodeEnvelope(text: string): Envelope {
  let wire: Wire
  try {
    wire = JSON.parse(text) as Wire
  } catch {
    // Python writes NaN where JSON has none.
    const lenient = tryToParse(text)
    if (lenient === undefined) return unreadable(text)
    wire = lenient
  }
  const properties = wire?.properties
  if (typeof properties !== 'object' || properties === null) return unreadable(text)
  const { published, delivery_info: info } = properties
  const losses = wire['celeriac-losses']
  return {
    message: messageOf(wire, properties),
    losses: typeof losses === 'number' ? losses : info?.redelivered === true ? 1 : 0,
    publishedAt: typeof published === 'number' ? published : undefined,
  }
}

function tryToParse(text: string): Wire | undefined {
  try {
    return parseJson(text) as Wire
  } catch {
    return undefined
  }
}

function messageOf(wire: Wire, properties: NonNullable<Wire['properties']>): Message {
  const contentEncoding = textOr(wire['content-encoding'], 'utf-8')
  const { headers } = wire
  const { correlation_id: correlationId, reply_to: replyTo, expiration } = properties
  const priority = priorityFromWire(properties.priority)
  const expirationMs = typeof expiration === 'string' && expiration !== '' ? Number(expiration) : Number.NaN
  // One by one: on the hot path, spreading costs three times as much as parsing.
  const decoded: Writable<Properties> = { contentType: textOr(wire['content-type'], ''), contentEncoding }
  if (typeof correlationId === 'string' && correlationId !== '') decoded.correlationId = correlationId
  if (typeof replyTo === 'string' && replyTo !== '') decoded.replyTo = replyTo
  if (priority !== undefined) decoded.priority = priority
  if (!Number.isNaN(expirationMs)) decoded.expirationMs = expirationMs
  return {
    headers: typeof headers === 'object' && headers !== null ? (headers as Message['headers']) : {},
    properties: decoded,
    body: bodyOf(wire.body, properties, contentEncoding),
  }
}

function bodyOf(
  body: unknown,
  properties: NonNullable<Wire['properties']>,
  contentEncoding: string,
): string | Uint8Array {
  if (typeof body !== 'string') return JSON.stringify(body ?? null)
  if (properties.body_encoding !== 'base64') return body
  const bytes = Buffer.from(body, 'base64')
  const { body_kind: kind } = properties
  // Python leaves the encoding of compressed JSON at utf-8.
  const isText = kind === undefined ? impliesText(contentEncoding) && isUtf8(bytes) : kind === 'text'
  return isText ? bytes.toString('utf8') : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function unreadable(text: string): Envelope {
  const properties = { contentType: '', contentEncoding: 'utf-8' }
  return { message: { headers: {}, properties, body: text }, losses: 0, publishedAt: undefined }
}

/** kombu's name for bytes that are no text. */
function impliesText(contentEncoding: string): boolean {
  return contentEncoding !== 'binary'
}

function base64(body: string | Uint8Array): string {
  const bytes =
    typeof body === 'string' ? Buffer.from(body) : Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  return bytes.toString('base64')
}

function quoted(text: string | undefined): string {
  return text === undefined ? '""' : JSON.stringify(text)
}

function textOr(value: unknown, otherwise: string): string {
  return typeof value === 'string' ? value : otherwise
}
