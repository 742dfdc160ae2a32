import { expect } from 'vitest'
import { type Declare, uniqueName } from '../contract.ts'
import {
  type BrokerFixture,
  type BrokerHarness,
  bodies,
  expectDepth,
  expectNothing,
  outgoing,
  publishBodies,
  take,
  takeOne,
} from './fixture.ts'

/** Queues an operator holds back. */
export function pausing(declare: Declare<BrokerFixture>, { capabilities, delayMs = 300 }: BrokerHarness): void {
  declare('gives nobody messages of a paused queue, while publishing goes on', async ({ broker }) => {
    const queue = uniqueName('paused')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['before'])

    await broker.pause(queue)
    await publishBodies(broker, queue, ['after'])

    await expectNothing(consumer)
    await expectDepth(broker, queue, { ready: 2, delayed: 0, inFlight: 0 })
    await broker.resume(queue)
    expect(bodies(await take(consumer, 2))).toEqual(['before', 'after'])
  })

  declare('wakes no waiting fetch for a paused queue, and wakes it on resume', async ({ broker, peer, advance }) => {
    const queue = uniqueName('paused')
    const operator = await peer()
    await operator.pause(queue)
    let woken = false
    const waiting = takeOne(await broker.consume([queue])).finally(() => {
      woken = true
    })
    await publishBodies(broker, queue, ['a'])
    await advance(50)
    expect(woken).toBe(false)

    await operator.resume(queue)

    expect(bodies([await waiting])).toEqual(['a'])
  })

  declare('pauses for every connection', async ({ broker, peer }) => {
    const queue = uniqueName('paused')
    const elsewhere = await peer()
    await publishBodies(broker, queue, ['a'])

    await broker.pause(queue)
    const consumer = await elsewhere.consume([queue])

    await expectNothing(consumer)
    expect((await elsewhere.queues()).find((info) => info.queue === queue)?.paused).toBe(true)
    await elsewhere.resume(queue)
    expect((await broker.queues()).find((info) => info.queue === queue)?.paused).toBe(false)
  })

  declare("goes on with a consumer's other queues", async ({ broker }) => {
    const [paused, other] = [uniqueName('paused'), uniqueName('other')]
    const consumer = await broker.consume([paused, other])
    await publishBodies(broker, paused, ['no'])
    await publishBodies(broker, other, ['yes'])

    await broker.pause(paused)

    expect(bodies([await takeOne(consumer)])).toEqual(['yes'])
    await expectNothing(consumer)
  })

  declare('settles what was on loan when its queue was paused', async ({ broker }) => {
    const queue = uniqueName('paused')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['a', 'b'])
    const [first, second] = await take(consumer, 2)

    await broker.pause(queue)
    await first?.ack()
    await second?.release()

    await expectNothing(consumer)
    await expectDepth(broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
  })

  declare('keeps a pause when every connection is closed and another opened', async ({ broker, peer }) => {
    const queue = uniqueName('paused')
    await publishBodies(broker, queue, ['a'])
    await broker.pause(queue)

    await broker.close()
    const reopened = await peer()

    await expectNothing(await reopened.consume([queue]))
    expect((await reopened.queues()).find((info) => info.queue === queue)?.paused).toBe(true)
  })

  declare('takes a second pause or resume for one', async ({ broker }) => {
    const queue = uniqueName('paused')
    await publishBodies(broker, queue, ['a'])

    await broker.pause(queue)
    await broker.pause(queue)
    await broker.resume(queue)
    await broker.resume(queue)

    expect(bodies([await takeOne(await broker.consume([queue]))])).toEqual(['a'])
  })

  if (capabilities.maxDelayMs > 0) {
    declare('holds back a delayed message that falls due in a paused queue, until resume', async (fixture) => {
      const { broker, advance } = fixture
      const queue = uniqueName('paused')
      const consumer = await broker.consume([queue])
      await broker.publish([outgoing(queue, 'later', { delayMs })])
      await broker.pause(queue)

      const fetching = consumer.fetch(1, { waitMs: 3 * delayMs })
      await advance(4 * delayMs)
      expect(await fetching).toEqual([])
      await broker.resume(queue)

      expect(bodies([await takeOne(consumer)])).toEqual(['later'])
    })
  }
}
