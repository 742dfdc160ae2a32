import { expect } from 'vitest'
import type { Consumer, Delivery } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { resultRecord } from '../result-record.ts'
import {
  ackAll,
  type BrokerFixture,
  type BrokerHarness,
  bodies,
  expectDepth,
  expectNothing,
  largestTried,
  outgoing,
  publishBodies,
  resultsOf,
  take,
  takeOne,
} from './fixture.ts'

const empty = { ready: 0, delayed: 0, inFlight: 0 }

/** Ack, release and reject: once each, with all their effects or none. */
export function settling(
  declare: Declare<BrokerFixture>,
  { capabilities, delayMs = 300, sharesResults = false }: BrokerHarness,
): void {
  const { maxDelayMs, maxMessageBytes, atomicSettle } = capabilities

  async function openQueue(
    { broker }: BrokerFixture,
    texts: readonly string[],
  ): Promise<{ queue: string; consumer: Consumer }> {
    const queue = uniqueName('settled')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, texts)
    return { queue, consumer }
  }

  declare('counts the first delivery as 1', async (fixture) => {
    const { consumer } = await openQueue(fixture, ['a'])

    expect((await takeOne(consumer)).deliveryCount).toBe(1)
  })

  declare('takes a message off the queue when it is acknowledged', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['a'])

    await (await takeOne(consumer)).ack()

    await expectDepth(fixture.broker, queue, empty)
    await consumer.close()
    await expectDepth(fixture.broker, queue, empty)
  })

  declare('acknowledges each message for itself, in any order', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['a', 'b', 'c'])
    const [first, , third] = await take(consumer, 3)

    await third?.ack()
    await first?.ack()
    await consumer.close()

    const next = await fixture.broker.consume([queue])
    expect(bodies([await takeOne(next)])).toEqual(['b'])
    await expectNothing(next)
  })

  declare('drops a message that is rejected', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['a', 'b'])

    await (await takeOne(consumer)).reject()

    expect(bodies([await takeOne(consumer)])).toEqual(['b'])
    await expectDepth(fixture.broker, queue, { ...empty, inFlight: 1 })
  })

  declare('gives a released message back to its old place, costing no delivery', async (fixture) => {
    const { consumer } = await openQueue(fixture, ['a', 'b', 'c', 'd'])
    const [first, second] = await take(consumer, 2)

    await second?.release()
    await first?.release()

    const again = await take(consumer, 4)
    expect(bodies(again)).toEqual(['a', 'b', 'c', 'd'])
    expect(again.map((delivery) => delivery.deliveryCount)).toEqual([1, 1, 1, 1])
  })

  declare('gives a released message to a waiting consumer on another connection', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['a'])
    const delivery = await takeOne(consumer)
    const elsewhere = await (await fixture.peer()).consume([queue])

    const taking = takeOne(elsewhere)
    await fixture.advance(10)
    await delivery.release()

    expect(bodies([await taking])).toEqual(['a'])
  })

  const settlements: Record<string, (delivery: Delivery) => Promise<void>> = {
    ack: (delivery) => delivery.ack(),
    release: (delivery) => delivery.release(),
    reject: (delivery) => delivery.reject(),
  }
  for (const [name, settle] of Object.entries(settlements)) {
    declare(`refuses to settle again, with LeaseLostError, after ${name}`, async (fixture) => {
      const { queue, consumer } = await openQueue(fixture, ['a'])
      const delivery = await takeOne(consumer)
      await settle(delivery)
      const left = { ...empty, ready: name === 'release' ? 1 : 0 }

      for (const settleAgain of Object.values(settlements)) {
        await expect(settleAgain(delivery)).rejects.toThrow(LeaseLostError)
      }
      await expect(delivery.extend(1_000)).rejects.toThrow(LeaseLostError)

      await expectDepth(fixture.broker, queue, left)
    })
  }

  declare('lets just one of several settlements made at once win', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['a'])
    const delivery = await takeOne(consumer)

    const outcomes = await Promise.allSettled([delivery.ack(), delivery.ack(), delivery.release()])

    expect(outcomes.map((outcome) => outcome.status)).toEqual(['fulfilled', 'rejected', 'rejected'])
    await expectDepth(fixture.broker, queue, empty)
  })

  declare('publishes what an acknowledgement brings along', async (fixture) => {
    const { queue, consumer } = await openQueue(fixture, ['step 1'])
    const next = uniqueName('next')

    const publish = [outgoing(next, 'step 2', { headers: { root: 'r' } }), outgoing(queue, 'step 3')]
    await (await takeOne(consumer)).ack({ publish })

    await expectDepth(fixture.broker, next, { ...empty, ready: 1 })
    expect(bodies([await takeOne(consumer)])).toEqual(['step 3'])
    const successor = await takeOne(await fixture.broker.consume([next]))
    expect(successor.message).toMatchObject({ body: 'step 2', headers: { root: 'r' } })
  })

  declare('wakes a waiting fetch for what an acknowledgement publishes', async (fixture) => {
    const { consumer } = await openQueue(fixture, ['step 1'])
    const next = uniqueName('next')
    const waiting = takeOne(await (await fixture.peer()).consume([next]))
    await fixture.advance(10)

    await (await takeOne(consumer)).ack({ publish: [outgoing(next, 'step 2')] })

    expect(bodies([await waiting])).toEqual(['step 2'])
  })

  if (maxDelayMs >= delayMs) {
    declare('replaces a message by a delayed one in an acknowledgement, as a retry does', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture, ['try 1'])

      await (await takeOne(consumer)).ack({ publish: [outgoing(queue, 'try 2', { delayMs })] })

      await expectDepth(fixture.broker, queue, { ...empty, delayed: 1 })
    })
  }

  declare('does nothing of a second acknowledgement, its effects neither', async (fixture) => {
    const { consumer } = await openQueue(fixture, ['a'])
    const next = uniqueName('next')
    const delivery = await takeOne(consumer)

    await delivery.ack({ publish: [outgoing(next, 'once')] })
    await expect(delivery.ack({ publish: [outgoing(next, 'twice')] })).rejects.toThrow(LeaseLostError)

    await expectDepth(fixture.broker, next, { ...empty, ready: 1 })
  })

  if (atomicSettle && maxMessageBytes <= largestTried) {
    declare('leaves a message on loan when one of the effects of its acknowledgement is refused', async (fixture) => {
      const { broker } = fixture
      const { queue, consumer } = await openQueue(fixture, ['a'])
      const next = uniqueName('next')
      const delivery = await takeOne(consumer)
      const tooLarge = outgoing(next, new Uint8Array(maxMessageBytes), { headers: { one: 'more' } })

      const refused = delivery.ack({ publish: [outgoing(next, 'small'), tooLarge] })

      await expect(refused).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
      await expectDepth(broker, next, empty)
      await expectDepth(broker, queue, { ...empty, inFlight: 1 })
      await delivery.ack()
      await expectDepth(broker, queue, empty)
    })
  }

  if (sharesResults) {
    declare('saves results with an acknowledgement', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture, ['a'])
      const results = resultsOf(fixture)
      const record = resultRecord({ taskId: uniqueName('task'), status: 'SUCCESS', result: { picked: 3 }, fence: 1 })

      await (await takeOne(consumer)).ack({ save: [record] })

      expect(results.sharesStorageWith(fixture.broker)).toBe(true)
      expect(await results.load([record.taskId])).toEqual([record])
      await expectDepth(fixture.broker, queue, empty)
    })

    declare(
      'tells subscribers of results saved with an acknowledgement, and keeps to their fences',
      async (fixture) => {
        const { consumer } = await openQueue(fixture, ['a', 'b'])
        const results = resultsOf(fixture)
        const taskId = uniqueName('task')
        const told: unknown[] = []
        await results.subscribe([taskId], (record) => told.push(record.result))

        const [first, second] = await take(consumer, 2)
        await first?.ack({ save: [resultRecord({ taskId, status: 'SUCCESS', result: 'second attempt', fence: 2 })] })
        await second?.ack({ save: [resultRecord({ taskId, status: 'FAILURE', result: 'first attempt', fence: 1 })] })

        await expect.poll(() => told).toEqual(['second attempt'])
        expect(await results.load([taskId])).toMatchObject([{ result: 'second attempt' }])
      },
    )
  } else {
    declare('refuses to save results with an acknowledgement, and leaves the message on loan', async (fixture) => {
      const { queue, consumer } = await openQueue(fixture, ['a'])
      const delivery = await takeOne(consumer)

      const saving = delivery.ack({ save: [resultRecord({ taskId: uniqueName('task') })] })

      await expect(saving).rejects.toMatchObject({ code: 'UNSUPPORTED' })
      await expectDepth(fixture.broker, queue, { ...empty, inFlight: 1 })
    })
  }

  declare('settles hundreds of messages at once', async (fixture) => {
    const { queue, consumer } = await openQueue(
      fixture,
      range(300).map((n) => `${n}`),
    )
    const next = uniqueName('next')
    const deliveries = await take(consumer, 300)

    await Promise.all([
      ackAll(deliveries.slice(0, 100)),
      ...deliveries.slice(100, 200).map((delivery) => delivery.ack({ publish: [outgoing(next, 'next')] })),
      ...deliveries.slice(200).map((delivery) => delivery.release()),
    ])

    await expectDepth(fixture.broker, queue, { ...empty, ready: 100 })
    await expectDepth(fixture.broker, next, { ...empty, ready: 100 })
  })
}
