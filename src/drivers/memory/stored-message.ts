/** Messages as they lie in memory: serialized, so that nothing a sender or receiver does to its objects reaches them. */
import type { Message, OutgoingMessage, Properties } from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'

export const maxMessageBytes = 64 * 1024 * 1024

export interface StoredMessage {
  readonly headersJson: string
  readonly propertiesJson: string
  readonly body: string | Uint8Array
}

/** @throws CeleriacError `PAYLOAD_TOO_LARGE`, `PAYLOAD_INVALID` */
export function storeMessage({ queue, headers, properties, body }: OutgoingMessage): StoredMessage {
  const headersJson = toJson(headers, `the headers of a message for ${queue}`)
  const bytes = Buffer.byteLength(headersJson) + (typeof body === 'string' ? Buffer.byteLength(body) : body.byteLength)
  if (bytes > maxMessageBytes) {
    const message = `a message for ${queue} may have ${maxMessageBytes} bytes, headers included, got ${bytes}`
    throw new CeleriacError('PAYLOAD_TOO_LARGE', message)
  }
  return {
    headersJson,
    propertiesJson: toJson(properties, `the properties of a message for ${queue}`),
    body: copyBody(body),
  }
}

export function readMessage({ headersJson, propertiesJson, body }: StoredMessage): Message {
  return {
    headers: JSON.parse(headersJson) as Message['headers'],
    properties: JSON.parse(propertiesJson) as Properties,
    body: copyBody(body),
  }
}

function copyBody(body: string | Uint8Array): string | Uint8Array {
  return typeof body === 'string' ? body : new Uint8Array(body)
}

/** @throws CeleriacError `PAYLOAD_INVALID` naming `what` cannot be written */
export function toJson(value: unknown, what: string): string {
  try {
    // What JSON has no form for at all, such as undefined, becomes null.
    return JSON.stringify(value) ?? 'null'
  } catch (cause) {
    throw new CeleriacError('PAYLOAD_INVALID', `${what} cannot be written as JSON: ${(cause as Error).message}`, {
      cause,
    })
  }
}
