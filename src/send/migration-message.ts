/** A message on its way from one broker to another: what is sent on, and how it is known again if it comes back. */
import { hash } from 'node:crypto'
import type { BrokerCapabilities, Delivery, Message, OutgoingMessage } from '../broker/broker.ts'
import { withZone } from '../json.ts'
import type { Entry } from './migration-ledger.ts'

/** Bytes of the hash that are kept. With 16, chance makes no two messages alike. */
const fingerprintBytes = 16

/** Why a message cannot be moved, or the message for the target. */
export type Parcel = { readonly message: OutgoingMessage; readonly bytes: number } | { readonly refusal: string }

/**
 * The message as the target is to hold it, with what is left of its delay. A delay beyond what the target keeps is cut
 * if the message itself says when it is due: workers park it again. Otherwise the message has to stay.
 *
 * @param elapsedMs since the delivery was fetched
 * @param nowMs epoch ms
 */
export function parcelOf(delivery: Delivery, elapsedMs: number, nowMs: number, target: BrokerCapabilities): Parcel {
  const { queue, message } = delivery
  const { headers, properties, body } = message
  const bytes = sizeOf(headers, body)
  if (bytes > target.maxMessageBytes) {
    return { refusal: `it has ${bytes} bytes, and the target takes at most ${target.maxMessageBytes}` }
  }
  const leftMs = delivery.delayMs > 0 ? Math.max(0, delivery.delayMs - elapsedMs) : 0
  if (leftMs > target.maxDelayMs && !(etaOf(message) >= nowMs + target.maxDelayMs)) {
    return {
      refusal: `it is due in ${Math.round(leftMs)} ms, and the target delays by at most ${target.maxDelayMs} ms`,
    }
  }
  const delayMs = Math.min(leftMs, target.maxDelayMs)
  return { message: { queue, headers, properties, body, ...(delayMs > 0 && { delayMs }) }, bytes }
}

/**
 * A source whose settlements are not atomic may lose its count, or double a message when its consumer is lost: there the
 * task id makes it known. A message without one has only the count.
 */
export function entryOf(delivery: Delivery, { atomicSettle }: BrokerCapabilities): Entry {
  const { id } = delivery.message.headers
  const isUnsure = !atomicSettle && typeof id === 'string' && id !== ''
  return [fingerprintOf(delivery), isUnsure ? 0 : delivery.deliveryCount]
}

/** The same for every delivery of one message, however often it is delivered. */
function fingerprintOf({ queue, message }: Pick<Delivery, 'queue' | 'message'>): string {
  const headers = Object.entries(message.headers).sort(([a], [b]) => (a < b ? -1 : 1))
  const head = Buffer.from(`${JSON.stringify([queue, headers], plainBigInts)}\n`)
  const body = typeof message.body === 'string' ? Buffer.from(message.body) : message.body
  const digest = hash('sha256', Buffer.concat([head, body]), 'buffer')
  return digest.subarray(0, fingerprintBytes).toString('base64url')
}

function sizeOf(headers: Message['headers'], body: Message['body']): number {
  return (
    JSON.stringify(headers, plainBigInts).length + (typeof body === 'string' ? Buffer.byteLength(body) : body.length)
  )
}

/** When Celery's header says that the task is due, epoch ms; NaN without one. */
function etaOf({ headers: { eta } }: Message): number {
  return typeof eta === 'string' ? Date.parse(withZone(eta)) : Number.NaN
}

function plainBigInts(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? String(value) : value
}
