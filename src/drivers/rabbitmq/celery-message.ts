/** JSON as Celery sends it over its fan-out exchanges: control messages, their replies, and events. */
import type { ConsumeMessage } from 'amqplib'
import type { BusHeaders } from '../../broker/bus.ts'
import { fromCeleryJson, jsonType } from '../../broker/celery-route.ts'
import { celeryForms } from './exchanges.ts'
import type { Outbound } from './message.ts'

export interface JsonMessage {
  readonly exchange: keyof typeof celeryForms
  readonly routingKey: string
  readonly deliveryMode: 1 | 2
  readonly headers: BusHeaders
  readonly json: string
}

/** Nobody has to be there to hear it. */
export function encodeJsonMessage({ exchange, routingKey, deliveryMode, headers, json }: JsonMessage): Outbound {
  return {
    exchange,
    routingKey,
    content: Buffer.from(json),
    options: { contentType: jsonType, contentEncoding: 'utf-8', deliveryMode, priority: 0, headers },
    queue: undefined,
    delay: undefined,
    form: celeryForms[exchange],
  }
}

/** Anew for each listener. @returns undefined for what is no JSON, and what Celery would not have written there */
export function decodeJsonMessage({
  fields,
  properties,
  content,
}: ConsumeMessage): { readonly payload: object; readonly headers: BusHeaders } | undefined {
  if (properties.contentType !== jsonType) return undefined
  const payload = fromCeleryJson(content.toString('utf8'), fields.exchange)
  return payload === undefined ? undefined : { payload, headers: { ...properties.headers } }
}
