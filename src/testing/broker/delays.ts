import { expect } from 'vitest'
import type { Consumer } from '../../broker/broker.ts'
import { type Declare, uniqueName } from '../contract.ts'
import {
  type BrokerFixture,
  type BrokerHarness,
  bodies,
  expectDepth,
  expectNothing,
  outgoing,
  publishBodies,
  takeOne,
  takeWithin,
} from './fixture.ts'

const tenYearsMs = 10 * 365 * 86_400_000

/** Messages the broker keeps back. */
export function delays(declare: Declare<BrokerFixture>, { capabilities, delayMs = 300 }: BrokerHarness): void {
  const { maxDelayMs } = capabilities

  async function openQueue({ broker }: BrokerFixture): Promise<{ queue: string; consumer: Consumer }> {
    const queue = uniqueName('delayed')
    return { queue, consumer: await broker.consume([queue]) }
  }

  if (maxDelayMs > 0) {
    declare('keeps a delayed message back until it is due', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      await fixture.broker.publish([outgoing(queue, 'later', { delayMs })])
      await expectNothing(consumer)
      await fixture.advance(delayMs / 2)
      await expectNothing(consumer)
      await fixture.advance(delayMs / 2)

      const delivery = await takeWithin(fixture, consumer, 5 * delayMs)
      expect(bodies([delivery])).toEqual(['later'])
      expect(delivery.deliveryCount).toBe(1)
    })

    declare('gives a waiting fetch a delayed message when it is due', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      await fixture.broker.publish([outgoing(queue, 'later', { delayMs })])
      const fetching = consumer.fetch(1, { waitMs: delayMs * 10 })
      await fixture.advance(delayMs)

      expect(bodies(await fetching)).toEqual(['later'])
    })

    declare('gives a fetch that was already waiting a message delayed afterwards', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      const fetching = consumer.fetch(1, { waitMs: delayMs * 10 })
      await fixture.broker.publish([outgoing(queue, 'later', { delayMs })])
      await fixture.advance(delayMs)

      expect(bodies(await fetching)).toEqual(['later'])
    })

    declare('delivers each of several delayed messages when its own time comes', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      await fixture.broker.publish([
        outgoing(queue, 'third', { delayMs: 3 * delayMs }),
        outgoing(queue, 'first', { delayMs }),
        outgoing(queue, 'second', { delayMs: 2 * delayMs }),
      ])
      const arrived: string[] = []
      for (let due = 1; due <= 3; due++) {
        await fixture.advance(delayMs)
        arrived.push(...bodies([await takeWithin(fixture, consumer, delayMs / 2)]))
        await expectNothing(consumer)
      }

      expect(arrived).toEqual(['first', 'second', 'third'])
    })

    declare('delivers what is ready while others are delayed', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      await fixture.broker.publish([outgoing(queue, 'later', { delayMs }), outgoing(queue, 'now')])

      expect(bodies([await takeOne(consumer)])).toEqual(['now'])
    })

    declare('counts a delayed message as delayed until it is due, and as ready then', async (fixture) => {
      const { broker, advance } = fixture
      const { queue } = await openQueue(fixture)

      await broker.publish([outgoing(queue, 'later', { delayMs }), outgoing(queue, 'now')])
      await expectDepth(broker, queue, { ready: 1, delayed: 1, inFlight: 0 })
      await advance(delayMs)

      await expectDepth(broker, queue, { ready: 2, delayed: 0, inFlight: 0 })
    })

    declare('releases with a delay, costing no delivery', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)
      await publishBodies(fixture.broker, queue, ['again'])

      await (await takeOne(consumer)).release(delayMs)
      await expectDepth(fixture.broker, queue, { ready: 0, delayed: 1, inFlight: 0 })
      await expectNothing(consumer)
      await fixture.advance(delayMs)

      const delivery = await takeWithin(fixture, consumer, delayMs)
      expect(bodies([delivery])).toEqual(['again'])
      expect(delivery.deliveryCount).toBe(1)
    })
  }

  if (maxDelayMs >= tenYearsMs) {
    declare('keeps a delay of ten years', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture)

      await fixture.broker.publish([outgoing(queue, 'much later', { delayMs: tenYearsMs })])
      const fetching = consumer.fetch(1, { waitMs: delayMs })
      await fixture.advance(delayMs)

      expect(await fetching).toEqual([])
      await expectDepth(fixture.broker, queue, { ready: 0, delayed: 1, inFlight: 0 })
    })
  }

  if (Number.isFinite(maxDelayMs)) {
    declare('refuses a longer delay than it can keep, and holds nothing of that publish', async (fixture) => {
      const { queue } = await openQueue(fixture)
      const tooLong = outgoing(queue, 'too long', { delayMs: maxDelayMs + 1 })

      const publishing = fixture.broker.publish([outgoing(queue, 'now'), tooLong])

      await expect(publishing).rejects.toMatchObject({ code: 'UNSUPPORTED' })
      await expectDepth(fixture.broker, queue, { ready: 0, delayed: 0, inFlight: 0 })
    })

    declare(
      'refuses to release with a longer delay than it can keep, and leaves the message on loan',
      async (fixture) => {
        const { queue, consumer } = await openQueue(fixture)
        await publishBodies(fixture.broker, queue, ['a'])
        const delivery = await takeOne(consumer)

        await expect(delivery.release(maxDelayMs + 1)).rejects.toMatchObject({ code: 'UNSUPPORTED' })

        await delivery.ack()
        await expectDepth(fixture.broker, queue, { ready: 0, delayed: 0, inFlight: 0 })
      },
    )
  }
}
