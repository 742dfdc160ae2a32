import { expect } from 'vitest'
import type { Consumer } from '../../broker/broker.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
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
  takeWithin,
} from './fixture.ts'

const empty = { ready: 0, delayed: 0, inFlight: 0 }

/** Consumers of what is kept back, which take it to move it elsewhere. */
export function moving(
  declare: Declare<BrokerFixture>,
  { capabilities: { maxDelayMs }, delayMs = 300, leaseMs = 1_000 }: BrokerHarness,
): void {
  if (maxDelayMs === 0) return
  /** Long enough to stay delayed for the whole case. */
  const longMs = Math.min(maxDelayMs, 3_600_000)

  /** A queue with one message that is kept back for long, and a consumer that may take it. */
  async function openQueue({ broker }: BrokerFixture): Promise<{ queue: string; mover: Consumer }> {
    const queue = uniqueName('moved')
    await broker.publish([outgoing(queue, 'later', { delayMs: longMs })])
    return { queue, mover: await broker.consume([queue], { delayed: true, leaseMs }) }
  }

  declare('hands out what is kept back to a consumer of that, and nothing else', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    await publishBodies(fixture.broker, queue, ['now'])

    expect(bodies([await takeOne(mover)])).toEqual(['later'])

    await expectNothing(mover)
    await expectDepth(fixture.broker, queue, { ready: 1 })
    expect(bodies([await takeOne(await fixture.broker.consume([queue]))])).toEqual(['now'])
  })

  declare('tells how much longer a message would have been kept back', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    await publishBodies(fixture.broker, queue, ['now'])

    const kept = await takeOne(mover)
    const ready = await takeOne(await fixture.broker.consume([queue]))

    expect(kept.delayMs).toBeGreaterThan(longMs - 60_000)
    expect(kept.delayMs).toBeLessThanOrEqual(longMs)
    expect([kept.deliveryCount, ready.delayMs]).toEqual([1, 0])
  })

  declare('hands out first what is due first', async ({ broker }) => {
    const queue = uniqueName('moved')
    const order = [3, 1, 4, 2]
    await broker.publish(order.map((n) => outgoing(queue, `${n}`, { delayMs: (longMs / 10) * n })))

    const taken = await take(await broker.consume([queue], { delayed: true }), 4)

    expect(bodies(taken)).toEqual(['1', '2', '3', '4'])
  })

  declare('hands each of many out once, to several consumers of what is kept back', async ({ broker, peer }) => {
    const queue = uniqueName('moved')
    await broker.publish(range(300).map((n) => outgoing(queue, `${n}`, { delayMs: longMs + n - 300 })))
    const elsewhere = await peer()

    const movers = await Promise.all([broker, elsewhere].map((b) => b.consume([queue], { delayed: true })))
    const taken = await Promise.all(movers.map((mover) => take(mover, 150)))

    expect(
      bodies(taken.flat())
        .map(Number)
        .sort((a, b) => a - b),
    ).toEqual(range(300))
  })

  declare('takes a message that was kept back off its queue when it is acknowledged, with effects', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    const target = uniqueName('target')

    await (await takeOne(mover)).ack({ publish: [outgoing(target, 'moved')] })

    await expectDepth(fixture.broker, queue, empty)
    await expectDepth(fixture.broker, target, { ...empty, ready: 1 })
  })

  declare('gives a plain consumer nothing before its time, neither on loan nor after its release', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    const plain = await fixture.broker.consume([queue])

    const delivery = await takeOne(mover)
    await expectNothing(plain)
    await delivery.release()

    await expectNothing(plain)
    await expectDepth(fixture.broker, queue, { ...empty, delayed: 1 })
  })

  declare('keeps the time of a message that is released', async (fixture) => {
    const { mover } = await openQueue(fixture)

    const delivery = await takeOne(mover)
    await fixture.advance(delayMs)
    await delivery.release()

    const again = await takeOne(mover)
    expect(again.delayMs).toBeGreaterThan(longMs - 60_000)
    expect(again.delayMs).toBeLessThan(delivery.delayMs)
    expect(again.deliveryCount).toBe(1)
  })

  declare('lets a message that is released fall due at its time', async (fixture) => {
    const queue = uniqueName('moved')
    await fixture.broker.publish([outgoing(queue, 'soon', { delayMs: 3 * delayMs })])
    const mover = await fixture.broker.consume([queue], { delayed: true })

    await (await takeOne(mover)).release()
    await mover.close()
    await fixture.advance(3 * delayMs)

    const due = await takeWithin(fixture, await fixture.broker.consume([queue]), 2 * delayMs)
    expect([due.message.body, due.deliveryCount]).toEqual(['soon', 1])
  })

  declare('keeps the time of a message whose consumer closes', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    await takeOne(mover)

    await mover.close()

    const again = await takeOne(await fixture.broker.consume([queue], { delayed: true }))
    expect(again.delayMs).toBeGreaterThan(longMs - 60_000)
    expect(again.deliveryCount).toBe(1)
  })

  declare('keeps the time of a message whose consumer was lost, and counts the loss', async (fixture) => {
    const { queue, mover } = await openQueue(fixture)
    await takeOne(mover)
    const plain = await fixture.broker.consume([queue])

    await fixture.crash(mover)

    const heir = await (await fixture.peer()).consume([queue], { delayed: true, leaseMs })
    const again = await takeWithin(fixture, heir, 3 * leaseMs)
    expect(again.delayMs).toBeGreaterThan(longMs - 60_000)
    expect(again.deliveryCount).toBe(2)
    await expectNothing(plain)
  })
}
