/**
 * Giving back what was taken only to be looked at. Quorum queues take a message back some time after they were told to,
 * and until then nobody finds it.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import { type Clock, sleep } from '../../clock.ts'

/** Longest wait for the queue to have them, in ms. */
const returnedWithinMs = 1_000
const lookEveryMs = 5

/** Resolves when the queue counts the messages again. Where others consume they may be gone at once: it doesn't wait. */
export async function giveBack(
  channel: Channel,
  clock: Clock,
  queue: string,
  messages: readonly ConsumeMessage[],
): Promise<void> {
  if (messages.length === 0) return
  const before = await channel.checkQueue(queue)
  for (const message of messages) channel.nack(message, false, true)
  const deadline = clock.monotonic() + returnedWithinMs
  for (;;) {
    const { messageCount, consumerCount } = await channel.checkQueue(queue)
    if (messageCount >= before.messageCount + messages.length || consumerCount > 0) return
    if (clock.monotonic() >= deadline) return
    await sleep(clock, lookEveryMs)
  }
}
