/** Writing one message to a channel: amqplib's refusals in our words, and what it cannot write made plain. */
import type { ConfirmChannel } from 'amqplib'
import { CeleriacError } from '../../errors.ts'
import { maxHeaderBytes, type Outbound } from './message.ts'

/** The wire's largest whole number, past which amqplib must be told to write a number as a double. */
const largestLong = 2 ** 63

/**
 * @param confirmed called with the server's answer, on channels that confirm
 * @throws CeleriacError `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`: nothing was written
 * @throws amqplib's IllegalOperationError when the channel is closing: see `isClosing`
 */
export function write(
  channel: Pick<ConfirmChannel, 'publish'>,
  { exchange, routingKey, content, options }: Outbound,
  confirmed?: (error: Error | null) => void,
): void {
  const readable = { ...options, headers: withoutShorts(options.headers) }
  try {
    channel.publish(exchange, routingKey, content, readable, confirmed)
  } catch (refusal) {
    if (isClosing(refusal)) throw refusal
    try {
      channel.publish(exchange, routingKey, content, { ...options, headers: plain(readable.headers) }, confirmed)
    } catch (error) {
      throw isClosing(error) ? error : refusalOf(error, routingKey)
    }
  }
}

export function isClosing(error: unknown): boolean {
  return (error as Error).name === 'IllegalOperationError'
}

/**
 * amqplib writes numbers in as few bytes as they take. Those of 16 bits have a type that RabbitMQ and Python's client
 * read differently (`s`: a number or a short text), which costs Python its connection; it reads those of 8 bits without
 * their sign. So all but the smallest are written in 32 bits.
 */
function withoutShorts(value: unknown): unknown {
  if (typeof value === 'number') {
    const isShort = Number.isInteger(value) && (value > 127 || value < 0) && value >= -0x8000 && value < 0x8000
    return isShort ? { '!': 'int32', value } : value
  }
  if (typeof value !== 'object' || value === null || Buffer.isBuffer(value)) return value
  let copy: unknown
  for (const key in value) {
    const old = (value as Record<string, unknown>)[key]
    const readable = typeof old === 'string' ? old : withoutShorts(old)
    if (readable === old) continue
    copy ??= Array.isArray(value) ? [...value] : { ...value }
    ;(copy as Record<string, unknown>)[key] = readable
  }
  return copy ?? value
}

/** Headers as JSON has them: NaN becomes null, and numbers beyond 64 bits are told to be doubles. */
function plain(headers: unknown): object {
  const asDouble = (_key: string, value: unknown): unknown =>
    typeof value === 'number' && Math.abs(value) >= largestLong ? { '!': 'double', value } : value
  return JSON.parse(JSON.stringify(headers), asDouble) as object
}

function refusalOf(cause: unknown, routingKey: string): CeleriacError {
  if (cause instanceof RangeError) {
    const message = `the headers of a message for ${routingKey} may have ${maxHeaderBytes} bytes on RabbitMQ, and have more`
    return new CeleriacError('PAYLOAD_TOO_LARGE', message, { cause })
  }
  const message = `the headers of a message for ${routingKey} cannot be written: ${(cause as Error).message}`
  return new CeleriacError('PAYLOAD_INVALID', message, { cause })
}
