import type { Channel } from 'amqplib'

/**
 * Closes a channel, whatever state it is in. Resolves when it is closed: by the server's answer, or with the connection.
 * amqplib's own `close` never settles when the connection ends before the server has answered.
 */
export function closeChannel(channel: Channel): Promise<void> {
  return new Promise((resolve) => {
    channel.once('close', resolve)
    channel.close().then(resolve, resolve)
  })
}
