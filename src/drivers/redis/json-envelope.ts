/** JSON in kombu's envelope: control messages, their replies, and events. */
import { randomUUID } from 'node:crypto'
import type { BusHeaders } from '../../broker/bus.ts'
import { jsonType } from '../../broker/celery-route.ts'
import { decodeEnvelope } from './envelope.ts'

export interface JsonMessage {
  readonly exchange: string
  readonly routingKey: string
  readonly deliveryMode: 1 | 2
  readonly headers: BusHeaders
  readonly json: string
}

/** With all that Python insists on: without `properties`, their tag or their addresses its consumers end. */
export function encodeJsonMessage({ exchange, routingKey, deliveryMode, headers, json }: JsonMessage): string {
  const about = JSON.stringify({
    'content-encoding': 'utf-8',
    'content-type': jsonType,
    headers,
    properties: {
      delivery_mode: deliveryMode,
      delivery_info: { exchange, routing_key: routingKey },
      priority: 0,
      body_encoding: 'base64',
      delivery_tag: randomUUID(),
    },
  })
  // Much the longest part, in which nothing is to be escaped.
  return `{"body":"${Buffer.from(json).toString('base64')}",${about.slice(1)}`
}

/** @returns undefined for what is no envelope, or has something else than JSON in it */
export function decodeJsonMessage(text: string): Pick<JsonMessage, 'headers' | 'json'> | undefined {
  const { headers, properties, body } = decodeEnvelope(text).message
  if (properties.contentType !== jsonType || typeof body !== 'string') return undefined
  return { headers: Array.isArray(headers) ? {} : (headers as BusHeaders), json: body }
}
