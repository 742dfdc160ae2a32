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
  try {
    channel.publish(exchange, routingKey, content, options, confirmed)
  } catch (refusal) {
    if (isClosing(refusal)) throw refusal
    try {
      channel.publish(exchange, routingKey, content, { ...options, headers: plain(options.headers) }, confirmed)
    } catch (error) {
      throw isClosing(error) ? error : refusalOf(error, routingKey)
    }
  }
}

export function isClosing(error: unknown): boolean {
  return (error as Error).name === 'IllegalOperationError'
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
