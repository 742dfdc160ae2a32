import { expect } from 'vitest'
import type { Consumer } from '../../broker/broker.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import {
  ackAll,
  type BrokerFixture,
  bodies,
  expectDepth,
  expectNothing,
  publishBodies,
  take,
  takeOne,
  takeWithin,
} from './fixture.ts'

/** Real time in which a fetch that should have ended by itself must have ended, in ms. */
const promptMs = 2_000

/** How a consumer waits for messages, takes them, and takes them alone. */
export function fetching(declare: Declare<BrokerFixture>): void {
  declare('fetches up to as many as asked for, never more', async ({ broker }) => {
    const queue = uniqueName('fetched')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['a', 'b', 'c', 'd', 'e'])

    const first = await consumer.fetch(2)
    const rest = await take(consumer, 5 - first.length)

    expect(first.length).toBeLessThanOrEqual(2)
    expect(bodies([...first, ...rest])).toEqual(['a', 'b', 'c', 'd', 'e'])
    await expectNothing(consumer)
  })

  declare('resolves as soon as there is one message, without waiting for more', async ({ broker }) => {
    const queue = uniqueName('fetched')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['a'])

    const fetched = await consumer.fetch(100, { signal: AbortSignal.timeout(promptMs) })

    expect(bodies(fetched)).toEqual(['a'])
  })

  declare('looks once when told not to wait', async (fixture) => {
    const queue = uniqueName('fetched')
    const consumer = await fixture.broker.consume([queue])

    await expectNothing(consumer)
    await publishBodies(fixture.broker, queue, ['a'])

    // A broker that pushes needs a moment to have it at hand.
    expect(bodies([await takeWithin(fixture, consumer, 2_000)])).toEqual(['a'])
  })

  declare('resolves with nothing once the wait is over', async ({ broker, advance }) => {
    const consumer = await broker.consume([uniqueName('empty')])

    const waiting = consumer.fetch(1, { waitMs: 200 })
    await advance(250)

    expect(await waiting).toEqual([])
  })

  declare('wakes a waiting fetch when something is published', async ({ broker, advance }) => {
    const queue = uniqueName('awaited')
    const waiting = takeOne(await broker.consume([queue]))
    await advance(10)

    await publishBodies(broker, queue, ['a'])

    expect(bodies([await waiting])).toEqual(['a'])
  })

  declare('wakes a waiting fetch when something is published on another connection', async (fixture) => {
    const queue = uniqueName('awaited')
    const elsewhere = await fixture.peer()
    const waiting = takeOne(await fixture.broker.consume([queue]))
    await fixture.advance(10)

    await publishBodies(elsewhere, queue, ['a'])

    expect(bodies([await waiting])).toEqual(['a'])
  })

  declare('wakes as many waiting consumers as there are messages', async ({ broker, peer, advance }) => {
    const queue = uniqueName('awaited')
    const brokers = [broker, await peer()]
    const consumers = await Promise.all(range(6).map((n) => (brokers[n % 2] ?? broker).consume([queue])))
    const waiting = Promise.all(consumers.map(takeOne))
    await advance(10)

    await publishBodies(broker, queue, ['a', 'b', 'c', 'd', 'e', 'f'])
    // A woken consumer may take several of them or come too late; `takeOne` asks again, but for one each.
    const taken = bodies(await waiting)

    expect(taken.sort()).toEqual(['a', 'b', 'c', 'd', 'e', 'f'])
  })

  declare('ends a waiting fetch when its signal aborts', async ({ broker, advance }) => {
    const consumer = await broker.consume([uniqueName('empty')])
    const abort = new AbortController()

    const waiting = consumer.fetch(1, { waitMs: 60_000, signal: abort.signal })
    await advance(10)
    abort.abort()

    expect(await waiting).toEqual([])
  })

  declare('does not wait under a signal that has aborted already', async ({ broker }) => {
    const consumer = await broker.consume([uniqueName('empty')])

    expect(await consumer.fetch(1, { waitMs: 60_000, signal: AbortSignal.abort() })).toEqual([])
  })

  declare('loses no message to a fetch that is aborted while one arrives', async ({ broker }) => {
    const queue = uniqueName('aborted')
    const consumer = await broker.consume([queue])
    const received: string[] = []

    for (const number of range(20)) {
      const abort = new AbortController()
      const waiting = consumer.fetch(1, { signal: abort.signal })
      const publishing = publishBodies(broker, queue, [`${number}`])
      if (number % 2 === 0) await Promise.resolve()
      abort.abort()
      const fetched = await waiting
      await publishing
      received.push(...bodies(fetched))
      await ackAll(fetched)
    }
    const rest = await take(consumer, 20 - received.length)

    expect([...received, ...bodies(rest)].map(Number).sort((a, b) => a - b)).toEqual(range(20))
  })

  declare('fetches from several queues', async ({ broker }) => {
    const [left, right, other] = [uniqueName('left'), uniqueName('right'), uniqueName('other')]
    const consumer = await broker.consume([left, right])
    await publishBodies(broker, left, ['l'])
    await publishBodies(broker, right, ['r'])
    await publishBodies(broker, other, ['o'])

    const taken = await take(consumer, 2)

    expect(new Map(taken.map((d) => [d.queue, d.message.body]))).toEqual(
      new Map([
        [left, 'l'],
        [right, 'r'],
      ]),
    )
    await expectNothing(consumer)
  })

  declare('takes another queue in, for a fetch that is already waiting too', async ({ broker, advance }) => {
    const [old, added] = [uniqueName('old'), uniqueName('added')]
    await publishBodies(broker, added, ['a'])
    const consumer = await broker.consume([old])
    await expectNothing(consumer)

    const waiting = takeOne(consumer)
    await advance(10)
    await consumer.add(added)

    expect(bodies([await waiting])).toEqual(['a'])
    await publishBodies(broker, old, ['b'])
    expect(bodies([await takeOne(consumer)])).toEqual(['b'])
  })

  declare('leaves a queue, but keeps what it holds of it', async ({ broker }) => {
    const [left, kept] = [uniqueName('left'), uniqueName('kept')]
    const consumer = await broker.consume([left, kept])
    await publishBodies(broker, left, ['held', 'waiting'])
    const held = await takeOne(consumer)

    await consumer.cancel(left)
    await publishBodies(broker, left, ['late'])
    await publishBodies(broker, kept, ['a'])

    expect(bodies([await takeOne(consumer)])).toEqual(['a'])
    await expectNothing(consumer)
    await held.ack()
    await expectDepth(broker, left, { ready: 2, delayed: 0, inFlight: 0 })
  })

  declare('delivers thousands of messages to competing consumers, each to just one', async ({ broker, peer }) => {
    const queue = uniqueName('contested')
    const count = 4_000
    const elsewhere = await peer()
    const consumers = await Promise.all([broker, elsewhere, broker].map((b) => b.consume([queue])))
    const received: string[] = []
    const done = new AbortController()
    const drain = async (consumer: Consumer): Promise<void> => {
      while (!done.signal.aborted) {
        const deliveries = await consumer.fetch(30, { signal: done.signal })
        received.push(...bodies(deliveries))
        await ackAll(deliveries)
        if (received.length >= count) done.abort()
      }
    }

    const draining = Promise.all(consumers.map(drain))
    for (const batch of range(8)) {
      const sender = batch % 2 === 0 ? broker : elsewhere
      await publishBodies(
        sender,
        queue,
        range(count / 8).map((n) => `${batch}-${n}`),
      )
    }
    await draining

    const sent = range(count).map((n) => `${Math.floor(n / 500)}-${n % 500}`)
    expect(received.sort()).toEqual(sent.sort())
    await expectDepth(broker, queue, { ready: 0, delayed: 0, inFlight: 0 })
  })
}
