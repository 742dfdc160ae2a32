/**
 * Celery's two topics as its exchanges (`kombu/pidbox.py`, `celery/events/event.py`), and the JSON they carry: the same
 * on every broker that Celery knows.
 */
import { CeleriacError } from '../errors.ts'
import { parseJson } from '../json.ts'
import { controlTopic, eventTopic, topicMatches } from './bus.ts'

/** A place on one of the exchanges. */
export interface CeleryRoute {
  readonly exchange: typeof controlTopic | typeof eventTopic
  /** Empty for control. Where it is listened to, it may end in `#`. */
  readonly routingKey: string
}

/** The only content type that control messages, replies and events have. */
export const jsonType = 'application/json'

const control: CeleryRoute = { exchange: controlTopic, routingKey: '' }

/** Where a topic is published that is Celery's; undefined for every other topic. */
export function celeryRoute(topic: string): CeleryRoute | undefined {
  if (topic === controlTopic) return control
  if (!topic.startsWith(`${eventTopic}.`)) return undefined
  return { exchange: eventTopic, routingKey: topic.slice(eventTopic.length + 1) }
}

/** What of Celery's a subscription's topic covers. */
export function celeryRoutes(subscribed: string): CeleryRoute[] {
  if (subscribed === '#') return [control, { exchange: eventTopic, routingKey: '#' }]
  const route = celeryRoute(subscribed)
  if (route !== undefined) return [route]
  return topicMatches(subscribed, controlTopic) ? [control] : []
}

/** The topic of what came by an exchange. */
export function topicOfRoute(exchange: string, routingKey: string): string {
  return exchange === controlTopic ? controlTopic : `${exchange}.${routingKey}`
}

/** 2 is for messages that outlive the server. kombu writes it on what it controls workers by, though nothing keeps it. */
export function deliveryModeOf({ exchange }: CeleryRoute): 1 | 2 {
  return exchange === controlTopic ? 2 : 1
}

/**
 * What Python can read. A control message that is no object makes its workers deaf to remote control; an event without
 * a type ends them.
 *
 * @throws CeleriacError `PAYLOAD_INVALID`
 */
export function toCeleryJson(payload: unknown, exchange: string): string {
  const json = jsonOf(payload, exchange)
  if (exchange === eventTopic ? areEvents(payload) : json.startsWith('{')) return json
  const wanted = exchange === eventTopic ? 'an event or a list of events, each with a `type`' : 'an object'
  throw new CeleriacError('PAYLOAD_INVALID', `what goes to ${exchange} must be ${wanted}, got ${json.slice(0, 80)}`)
}

function areEvents(payload: unknown): boolean {
  const events: readonly unknown[] = Array.isArray(payload) ? payload : [payload]
  return events.every((event) => typeof (event as { type?: unknown } | null | undefined)?.type === 'string')
}

/** @returns undefined for what is no JSON, and what Celery would not have written there */
export function fromCeleryJson(text: string, exchange: string): object | undefined {
  const value = parse(text)
  if (typeof value !== 'object' || value === null) return undefined
  return Array.isArray(value) && exchange !== eventTopic ? undefined : value
}

function jsonOf(payload: unknown, exchange: string): string {
  try {
    return String(JSON.stringify(payload))
  } catch (cause) {
    const message = `the payload for ${exchange} cannot be written as JSON: ${(cause as Error).message}`
    throw new CeleriacError('PAYLOAD_INVALID', message, { cause })
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    // Python writes NaN where JSON has none.
  }
  try {
    return parseJson(text)
  } catch {
    return undefined
  }
}
