/** Who asks by a control message, and where the replies go: `reply_to` and `ticket` in its body (`kombu/pidbox.py`). */

export interface Asker {
  /** On `replyExchange`: names who asks. */
  readonly routingKey: string
  /** Tells the replies to one request from those to another; replies carry it as a header. */
  readonly ticket: string
}

/** Direct. Each asker has a queue bound to it, named after the key and the exchange. */
export const replyExchange = 'reply.celery.pidbox'

/** The queue of the asker with this key. */
export function replyQueue(routingKey: string): string {
  return `${routingKey}.${replyExchange}`
}

/** A control message, in JSON, that asks for replies. */
export function withAsker(json: string, { routingKey, ticket }: Asker): string {
  const replyTo = { exchange: replyExchange, routing_key: routingKey }
  return JSON.stringify({ ...JSON.parse(json), ticket, reply_to: replyTo })
}

/** @returns undefined for a message that wants no reply, or wants it by another exchange */
export function askerOf(payload: object): Asker | undefined {
  const { reply_to: replyTo, ticket } = payload as { reply_to?: unknown; ticket?: unknown }
  if (typeof replyTo !== 'object' || replyTo === null || typeof ticket !== 'string') return undefined
  const { exchange, routing_key: routingKey } = replyTo as { exchange?: unknown; routing_key?: unknown }
  return exchange === replyExchange && typeof routingKey === 'string' ? { routingKey, ticket } : undefined
}
