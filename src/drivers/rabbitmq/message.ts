/**
 * Messages as AMQP carries them, with Celery's properties (shared with Python: content type and encoding, delivery
 * mode, priority, correlation id, reply-to, expiration), and what of ours travels along in `x-celeriac-` headers, which
 * nobody above this driver sees.
 */
import { isUtf8 } from 'node:buffer'
import type { ConsumeMessage, Options } from 'amqplib'
import type { Message, OutgoingMessage, Properties } from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import { withZone } from '../../json.ts'
import { type DelayRoute, delayPrefix, delayRoute, maxDelayMs, outwardMs } from './delays.ts'
import type { ExchangeForm } from './exchanges.ts'

/** One publish, ready to be written, as often as it takes. */
export interface Outbound {
  readonly exchange: string
  readonly routingKey: string
  readonly content: Buffer
  readonly options: Options.Publish
  /** The queue that must be there first; undefined for what goes to other exchanges. */
  readonly queue: string | undefined
  readonly delay: DelayRoute | undefined
  /** Of the exchange, where that fans out and must be there first. */
  readonly form: ExchangeForm | undefined
}

/** Consumers lost with this message so far. */
const lossesHeader = 'x-celeriac-losses'
/** When a delay is over: epoch ms, on the publisher's clock. */
const dueHeader = 'x-celeriac-due'
/** The expiration of a delayed message. As a property it would end the delay. */
const expirationHeader = 'x-celeriac-expiration'
/** Quorum queues count by themselves how often a message came back. */
const deliveryCountHeader = 'x-delivery-count'

/** What RabbitMQ adds on the way. Republished, they would make its detection of cycles drop the message. */
const brokerHeaders = [
  'x-death',
  'x-first-death-exchange',
  'x-first-death-queue',
  'x-first-death-reason',
  'x-last-death-exchange',
  'x-last-death-queue',
  'x-last-death-reason',
  deliveryCountHeader,
]

/** From the reckoning of a delay to its encoding it takes less, in ms. */
const agoMs = 1_000

/** The property `type` of bodies that the content encoding tells the wrong thing about. */
const bodyTypes = { text: 'celeriac.text', bytes: 'celeriac.bytes' } as const

/** amqplib writes a table into a buffer of this size. */
export const maxHeaderBytes = 64 * 1024
/** RabbitMQ's own default: 128 MiB before version 4 (16 MiB since), which `largest` tells. */
export const maxMessageBytes = 128 * 1024 * 1024

/** The largest message that a server of this version takes unless configured otherwise, in bytes. */
export function largestFor(serverVersion: string): number {
  return Number.parseInt(serverVersion, 10) >= 4 ? 16 * 1024 * 1024 : maxMessageBytes
}

export interface EncodeOptions {
  /** Largest headers and body together, in bytes. */
  readonly largest: number
  readonly nowMs: number
  /** Consumers lost with it so far. @default 0 */
  readonly losses?: number
}

/** @throws CeleriacError `PAYLOAD_TOO_LARGE`, `PAYLOAD_INVALID`, `UNSUPPORTED` for a delay that is too long */
export function encodeMessage(message: OutgoingMessage, { largest, nowMs, losses = 0 }: EncodeOptions): Outbound {
  const { queue, properties, body, delayMs = 0 } = message
  if (delayMs > maxDelayMs) {
    throw new CeleriacError('UNSUPPORTED', `RabbitMQ keeps messages back for ${maxDelayMs} ms at most, got ${delayMs}`)
  }
  const isText = typeof body === 'string'
  const content = isText ? Buffer.from(body) : Buffer.from(body)
  refuseTooLarge(message, content.length, largest)
  const delay = delayMs > 0 ? delayRoute(queue, firstDelayMs(message, nowMs)) : undefined
  const isTextByEncoding = properties.contentEncoding !== 'binary'
  return {
    exchange: delay?.exchange ?? '',
    routingKey: delay?.routingKey ?? queue,
    content,
    queue,
    delay,
    form: undefined,
    options: {
      persistent: true,
      mandatory: true,
      contentType: properties.contentType,
      contentEncoding: properties.contentEncoding,
      headers: headersOf(message, losses, nowMs),
      timestamp: Math.floor(nowMs / 1_000),
      ...(properties.correlationId !== undefined && { correlationId: properties.correlationId }),
      ...(properties.replyTo !== undefined && { replyTo: properties.replyTo }),
      ...(properties.priority !== undefined && {
        priority: Math.max(0, Math.min(255, Math.trunc(properties.priority))),
      }),
      ...(properties.expirationMs !== undefined &&
        delay === undefined && { expiration: String(properties.expirationMs) }),
      ...(isText !== isTextByEncoding && { type: isText ? bodyTypes.text : bodyTypes.bytes }),
    },
  }
}

/** Whoever receives a message before the ETA that it carries, Python's workers too, waits for the rest of the time. */
function firstDelayMs({ headers, delayMs = 0 }: OutgoingMessage, nowMs: number): number {
  const etaMs = typeof headers.eta === 'string' ? Date.parse(withZone(headers.eta)) : Number.NaN
  // The delay was reckoned from the ETA a moment ago.
  return etaMs - nowMs > delayMs - agoMs ? outwardMs(delayMs) : delayMs
}

function headersOf({ headers, properties, delayMs = 0 }: OutgoingMessage, losses: number, nowMs: number): object {
  const isTouched = losses > 0 || delayMs > 0 || 'x-death' in headers || deliveryCountHeader in headers
  if (!isTouched) return headers
  const own: Record<string, unknown> = { ...headers }
  for (const name of brokerHeaders) delete own[name]
  if (losses > 0) own[lossesHeader] = losses
  if (delayMs > 0) {
    own[dueHeader] = Math.ceil(nowMs + delayMs)
    if (properties.expirationMs !== undefined) own[expirationHeader] = properties.expirationMs
  }
  return own
}

function refuseTooLarge({ queue, headers }: OutgoingMessage, bodyBytes: number, largest: number): void {
  // Headers are bounded by themselves, so they matter only to bodies close to the limit.
  if (bodyBytes <= largest - maxHeaderBytes) return
  const bytes = bodyBytes + Buffer.byteLength(JSON.stringify(headers))
  if (bytes > largest) {
    const message = `a message for ${queue} may have ${largest} bytes, headers included, got ${bytes}`
    throw new CeleriacError('PAYLOAD_TOO_LARGE', message)
  }
}

/** A message as it arrived. */
export interface Received {
  readonly message: Message
  /** Consumers lost with it before this delivery, as far as it says so itself. */
  readonly losses: number
  /** Epoch ms, where it was delayed. */
  readonly dueMs: number | undefined
}

/** Ours is taken out of the headers. Reads anything: what is no task message is for others to refuse. */
export function decodeMessage(raw: Pick<ConsumeMessage, 'content' | 'properties' | 'fields'>): Received {
  const { properties } = raw
  const headers = (properties.headers ?? {}) as Record<string, unknown>
  const losses = numberIn(headers, lossesHeader) ?? 0
  const returns = numberIn(headers, deliveryCountHeader) ?? 0
  const dueMs = numberIn(headers, dueHeader)
  const expirationMs = numberIn(headers, expirationHeader)
  for (const name of [lossesHeader, deliveryCountHeader, dueHeader, expirationHeader]) {
    if (name in headers) delete headers[name]
  }
  if (raw.fields.exchange.startsWith(delayPrefix)) for (const name of brokerHeaders) delete headers[name]
  return {
    message: { headers, properties: propertiesOf(properties, expirationMs), body: bodyOf(raw) },
    losses: losses + returns,
    dueMs,
  }
}

/** Whether the queue counts returns by itself, as quorum queues do. Classic ones only mark that there was one. */
export function countsReturns(raw: Pick<ConsumeMessage, 'properties'>): boolean {
  return raw.properties.headers !== undefined && deliveryCountHeader in raw.properties.headers
}

/** The same without the count that the queue itself kept. */
export function withoutReturns<T extends Pick<ConsumeMessage, 'properties'>>(raw: T): T {
  delete raw.properties.headers?.[deliveryCountHeader]
  return raw
}

function propertiesOf(raw: ConsumeMessage['properties'], delayedExpirationMs: number | undefined): Properties {
  const { correlationId, replyTo, priority } = raw as { correlationId?: unknown; replyTo?: unknown; priority?: unknown }
  const expirationMs = delayedExpirationMs ?? (raw.expiration === undefined ? undefined : Number(raw.expiration))
  return {
    contentType: textOf(raw.contentType),
    contentEncoding: textOf(raw.contentEncoding),
    ...(typeof correlationId === 'string' && { correlationId }),
    ...(typeof replyTo === 'string' && { replyTo }),
    ...(typeof priority === 'number' && { priority }),
    ...(expirationMs !== undefined && Number.isFinite(expirationMs) && { expirationMs }),
  }
}

function bodyOf({ content, properties }: Pick<ConsumeMessage, 'content' | 'properties'>): string | Uint8Array {
  const { type, contentEncoding } = properties as { type?: unknown; contentEncoding?: unknown }
  const isText =
    type === bodyTypes.text || (type !== bodyTypes.bytes && contentEncoding !== 'binary' && isUtf8(content))
  // A copy: the content is a part of what came off the socket, and would keep all of it in memory.
  return isText ? content.toString('utf8') : new Uint8Array(content)
}

function textOf(value: unknown): string {
  return typeof value === 'string' ? value : ''
}

function numberIn(headers: Record<string, unknown>, name: string): number | undefined {
  const value = headers[name]
  return typeof value === 'number' ? value : undefined
}
