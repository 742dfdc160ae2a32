/**
 * The raw ceiling on RabbitMQ: publishing with a window of confirms, and consuming with one acknowledgement for many
 * deliveries, through the same client as Celeriac's. Persistent messages in a durable queue, with the headers of Celery's
 * protocol: client and server handle them field by field, so that messages without are up to twice as fast, and are no
 * tasks.
 */
import { deferred } from '../harness/deferred.ts'
import { type AmqpChannel, connectAmqp } from '../harness/native-client.ts'
import { Tally } from '../harness/tally.ts'
import { nowMs, until } from '../harness/time.ts'
import type { Store } from '../sides/side.ts'
import { heldOf, indexDigits, type RawDrain, type RawFill, rawMessage } from './raw-loop.ts'

const queue = 'raw'
const id = '00000000-0000-4000-8000-000000000000'
const headers = {
  lang: 'js',
  task: 'noop',
  id,
  shadow: null,
  eta: null,
  expires: null,
  group: null,
  group_index: null,
  retries: 0,
  timelimit: [null, null],
  root_id: id,
  parent_id: null,
  argsrepr: `(${'x'.repeat(100)},)`,
  kwargsrepr: '{}',
  origin: 'gen1@bench',
  ignore_result: true,
  replaced_task_nesting: 0,
  stamped_headers: null,
  stamps: {},
}
const headerBytes = JSON.stringify(headers).length
/** Publishes that wait for their confirms at once. */
const publishWindow = 500

export const fillAmqp: RawFill = async (store, { count, batch, messageBytes }) => {
  const connection = await connectAmqp(store.url)
  const channel = await connection.createConfirmChannel()
  await declare(channel, store)
  const bodyBytes = Math.max(indexDigits, messageBytes - headerBytes)
  const messages = Array.from({ length: count }, (_, i) => Buffer.from(rawMessage(i, bodyBytes)))
  // One by one where that is asked for; otherwise the window, whatever the batch.
  const window = batch === 1 ? 1 : publishWindow
  const done = deferred<void>()
  let next = 0
  let confirmed = 0
  const confirm = (error: Error | null): void => {
    if (error !== null) return done.reject(error)
    confirmed += 1
    if (next < count) publish()
    else if (confirmed === count) done.resolve()
  }
  const publish = (): void => {
    channel.publish('', queue, messages[next++] as Buffer, { deliveryMode: 2, headers }, confirm)
  }

  const start = nowMs()
  for (let i = 0; i < Math.min(window, count); i++) publish()
  await done.promise
  const perSecond = (count / (nowMs() - start)) * 1_000
  const { messageCount } = await settledQueue(channel, count)
  await connection.close()
  return { perSecond, exactness: heldOf(count, messageCount) }
}

/** Up to `inFlight` × `batch` unacknowledged; one acknowledgement for every `batch`. */
export const drainAmqp: RawDrain = async (store, { count, batch, inFlight }) => {
  const connection = await connectAmqp(store.url)
  const channel = await connection.createChannel()
  await declare(channel, store)
  await channel.prefetch(batch * inFlight)
  const tally = new Tally(count)
  const done = deferred<void>()
  let taken = 0
  let start = 0
  let cpuAtStart = process.cpuUsage()
  await channel.consume(
    queue,
    (message) => {
      if (message === null) return done.reject(new Error('the server ended the consumer'))
      if (taken === 0) {
        start = nowMs()
        cpuAtStart = process.cpuUsage()
      }
      taken += 1
      tally.add(Number(message.content.toString('latin1', 0, indexDigits)))
      if (taken % batch === 0 || taken === count) channel.ack(message, true)
      if (taken === count) done.resolve()
    },
    { noAck: false },
  )
  await done.promise
  const seconds = (nowMs() - start) / 1_000
  const { user, system } = process.cpuUsage(cpuAtStart)
  await connection.close()
  return { perSecond: count / seconds, cpuUsPerTask: (user + system) / count, exactness: tally.exactness() }
}

function declare(channel: AmqpChannel, { queueType }: Store): Promise<unknown> {
  const args = queueType === 'quorum' ? { 'x-queue-type': 'quorum' } : {}
  return channel.assertQueue(queue, { durable: true, arguments: args })
}

/** A queue's count may lag behind its confirms. */
async function settledQueue(channel: AmqpChannel, count: number): Promise<{ readonly messageCount: number }> {
  await until(async () => (await channel.checkQueue(queue)).messageCount >= count, 20, 2_000).catch(() => {})
  return await channel.checkQueue(queue)
}
