/**
 * Looking at messages. AMQP has no way to look without taking: they are taken, unacknowledged, and given back by the
 * end of the channel. Classic queues then mark them as redelivered, quorum queues count it, so a message that is looked
 * at counts as lost with a consumer once when it is delivered next.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import type { PeekedMessage } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import { closeChannel } from './close-channel.ts'
import { withDeadline } from './deadline.ts'
import { requestFailure } from './failures.ts'
import { giveBack } from './give-back.ts'
import { decodeMessage } from './message.ts'
import type { Session } from './session.ts'

/** What is ready comes at once; when consumers take it first, it does not come at all. In ms. */
const arrivalMs = 1_000

/** The first so many ready messages of a queue, or fewer. */
export async function peekInto(session: Session, clock: Clock, queue: string, count: number): Promise<PeekedMessage[]> {
  const channel = await session.openChannel()
  try {
    const messages = await take(channel, clock, queue, count)
    await giveBack(channel, clock, queue, messages)
    return messages.map((raw) => peeked(raw, queue))
  } catch (error) {
    throw requestFailure(error, `a look into '${queue}'`)
  } finally {
    await closeChannel(channel)
  }
}

async function take(channel: Channel, clock: Clock, queue: string, count: number): Promise<ConsumeMessage[]> {
  const messages: ConsumeMessage[] = []
  let tookAll = (): void => undefined
  const all = new Promise<void>((resolve) => {
    tookAll = resolve
  })
  const onMessage = (message: ConsumeMessage | null): void => {
    if (message !== null) messages.push(message)
    if (message === null || messages.length >= count) tookAll()
  }
  const prefetch = Math.min(count, 65_535)
  const [, { consumerTag }] = await Promise.all([channel.prefetch(prefetch), channel.consume(queue, onMessage)])
  await withDeadline(clock, arrivalMs, `messages of '${queue}'`, all).catch(() => undefined)
  await channel.cancel(consumerTag)
  return messages
}

function peeked(raw: ConsumeMessage, queue: string): PeekedMessage {
  const { message, losses } = decodeMessage(raw)
  const { timestamp } = raw.properties as { timestamp?: unknown }
  const at = typeof timestamp === 'number' ? timestamp * 1_000 : 0
  return { ...message, queue, state: 'ready', at, deliveryCount: losses + 1 }
}
