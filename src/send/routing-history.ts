import type { Message } from '../broker/broker.ts'

/** Headers that RabbitMQ adds when it dead-letters. Whoever publishes a message again must not send them along. */
const routingHistory: ReadonlySet<string> = new Set([
  'x-death',
  ...['first', 'last'].flatMap((which) => ['exchange', 'queue', 'reason'].map((what) => `x-${which}-death-${what}`)),
])

/** The headers for a message that is published again: RabbitMQ would take it for one that goes round in a circle. */
export function withoutRoutingHistory(headers: Message['headers']): Message['headers'] {
  for (const name of routingHistory) {
    if (name in headers) return Object.fromEntries(Object.entries(headers).filter(([key]) => !routingHistory.has(key)))
  }
  return headers
}
