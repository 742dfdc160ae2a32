import { expect } from 'vitest'
import type { Broker, QueueInfo } from '../../broker/broker.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import {
  type BrokerFixture,
  type BrokerHarness,
  countedWithinMs,
  expectDepth,
  outgoing,
  publishBodies,
  take,
  takeOne,
} from './fixture.ts'

/** What operators see of queues, and can do to them. */
export function queues(
  declare: Declare<BrokerFixture>,
  { capabilities: { maxDelayMs, priorityLevels }, delayMs = 300 }: BrokerHarness,
): void {
  const delays = maxDelayMs > 0
  /** Long enough to stay delayed for the whole case. */
  const longMs = Math.min(maxDelayMs, 3_600_000)

  async function expectCount(count: () => Promise<number | undefined>, expected: number): Promise<void> {
    await expect.poll(count, { timeout: countedWithinMs, interval: 20 }).toBe(expected)
  }

  async function infoOf(broker: Broker, queue: string): Promise<QueueInfo | undefined> {
    return (await broker.queues()).find((info) => info.queue === queue)
  }

  declare('tells what serves it, and nothing secret', async ({ broker }) => {
    const { product, version, facts, ...sizes } = await broker.server()

    expect(product).not.toBe('')
    expect([typeof version, version]).not.toContain('')
    for (const size of Object.values(sizes)) if (size !== null) expect(size).toBeGreaterThan(0)
    expect(JSON.stringify(facts)).not.toMatch(/password/i)
  })

  declare('reports zero for a queue nobody has used', async ({ broker }) => {
    expect(await broker.depth(uniqueName('unused'))).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  })

  declare('counts ready messages and those on loan, seen from every connection', async ({ broker, peer }) => {
    const queue = uniqueName('counted')
    const elsewhere = await peer()
    await publishBodies(broker, queue, ['a', 'b', 'c'])
    const consumer = await broker.consume([queue])

    const [first] = await take(consumer, 2)
    await expectDepth(elsewhere, queue, { ready: 1, delayed: 0, inFlight: 2 })
    await first?.ack()

    await expectDepth(elsewhere, queue, { ready: 1, delayed: 0, inFlight: 1 })
  })

  declare('lists every queue by name, with its depth', async ({ broker, peer }) => {
    const suffix = uniqueName('queue')
    const names = [`c-${suffix}`, `a-${suffix}`, `b-${suffix}`]
    await broker.publish(names.map((queue) => outgoing(queue, 'x')))
    await takeOne(await broker.consume([`a-${suffix}`]))

    const elsewhere = await peer()
    const listed = async (): Promise<unknown[]> =>
      (await elsewhere.queues())
        .filter((info) => info.queue.endsWith(suffix))
        .map((info) => [info.queue, info.ready, info.inFlight])
    await expect
      .poll(listed, { timeout: countedWithinMs })
      .toEqual(names.sort().map((name, index) => [name, index === 0 ? 0 : 1, index === 0 ? 1 : 0]))
  })

  declare('counts the open consumers of a queue over all connections', async ({ broker, peer }) => {
    const queue = uniqueName('consumed')
    await publishBodies(broker, queue, ['a'])
    const consumers = async (): Promise<number | undefined> => (await infoOf(broker, queue))?.consumers

    await expectCount(consumers, 0)
    const first = await broker.consume([queue])
    const second = await (await peer()).consume([queue])
    await expectCount(consumers, 2)
    await second.cancel(queue)
    await expectCount(consumers, 1)
    await first.close()

    await expectCount(consumers, 0)
  })

  declare('tells the age of the ready message that has waited longest', async ({ broker, advance }) => {
    const queue = uniqueName('aging')
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['old'])
    await advance(200)
    await publishBodies(broker, queue, ['young'])

    expect((await infoOf(broker, queue))?.oldestMs).toBeGreaterThanOrEqual(199)
    expect((await infoOf(broker, queue))?.oldestMs).toBeLessThan(10_000)
    await take(consumer, 2)

    expect((await infoOf(broker, queue))?.oldestMs).toBeNull()
  })

  declare('shows messages where they lie, without taking them', async ({ broker, now }) => {
    const queue = uniqueName('peeked')
    const before = now()
    await broker.publish([outgoing(queue, 'a', { headers: { task: 'pick', args: [1, null] } })])

    const [peeked] = await broker.peek(queue, 10)

    expect(peeked).toMatchObject({ queue, state: 'ready', body: 'a', headers: { task: 'pick', args: [1, null] } })
    expect(peeked?.properties).toMatchObject({ contentType: 'application/json', contentEncoding: 'utf-8' })
    expect(peeked?.at).toBeGreaterThanOrEqual(before - 1)
    expect(peeked?.at).toBeLessThanOrEqual(now() + 1)
    await expectDepth(broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
    const taken = await takeOne(await broker.consume([queue]))
    expect(taken.deliveryCount).toBe(1)
  })

  declare('shows the next to be delivered first, in pages', async ({ broker }) => {
    const queue = uniqueName('peeked')
    await broker.publish(range(5).map((n) => outgoing(queue, `${n}`, { priority: 0 })))
    const urgent = priorityLevels > 1
    if (urgent) await broker.publish([outgoing(queue, 'urgent', { priority: 9 })])

    const pages = [...(await broker.peek(queue, 2)), ...(await broker.peek(queue, 10, 2))]

    expect(pages.map((message) => message.body)).toEqual([...(urgent ? ['urgent'] : []), '0', '1', '2', '3', '4'])
    expect(await broker.peek(queue, 10, 100)).toEqual([])
  })

  declare('shows messages on loan as such', async ({ broker, peer }) => {
    const queue = uniqueName('peeked')
    await publishBodies(broker, queue, ['held', 'waiting'])
    await takeOne(await broker.consume([queue]))

    const states = (await (await peer()).peek(queue, 10)).map(({ body, state }) => [body, state])

    expect(new Map(states as [string, string][])).toEqual(
      new Map([
        ['held', 'in-flight'],
        ['waiting', 'ready'],
      ]),
    )
  })

  declare('shows nothing of a queue nobody has used', async ({ broker }) => {
    expect(await broker.peek(uniqueName('unused'), 10)).toEqual([])
  })

  declare('purges what is ready and tells how many; what is on loan stays', async ({ broker, peer }) => {
    const queue = uniqueName('purged')
    await publishBodies(broker, queue, ['held', 'b', 'c', 'd'])
    const consumer = await broker.consume([queue])
    const held = await takeOne(consumer)

    expect(await (await peer()).purge(queue)).toBe(3)

    await expectDepth(broker, queue, { ready: 0, delayed: 0, inFlight: 1 })
    await held.release()
    expect((await takeOne(consumer)).message.body).toBe('held')
  })

  declare('purges nothing of other queues, nor of one nobody has used', async ({ broker }) => {
    const queue = uniqueName('kept')
    await publishBodies(broker, queue, ['a'])

    expect(await broker.purge(uniqueName('unused'))).toBe(0)

    await expectDepth(broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
  })

  if (delays) {
    declare('shows the delayed after the ready, with the time they are due', async ({ broker, now }) => {
      const queue = uniqueName('peeked')
      const before = now()
      await broker.publish([
        outgoing(queue, 'latest', { delayMs: longMs }),
        outgoing(queue, 'later', { delayMs: longMs / 2 }),
        outgoing(queue, 'now'),
      ])

      const peeked = await broker.peek(queue, 10)

      expect(peeked.map(({ body, state }) => [body, state])).toEqual([
        ['now', 'ready'],
        ['later', 'delayed'],
        ['latest', 'delayed'],
      ])
      expect(peeked[1]?.at).toBeGreaterThanOrEqual(before + longMs / 2 - 1)
      expect(peeked[1]?.at).toBeLessThanOrEqual(now() + longMs / 2 + 1)
    })

    declare('purges the delayed too', async ({ broker, advance }) => {
      const queue = uniqueName('purged')
      await broker.publish([outgoing(queue, 'now'), outgoing(queue, 'later', { delayMs })])

      expect(await broker.purge(queue)).toBe(2)
      await advance(2 * delayMs)

      await expectDepth(broker, queue, { ready: 0, delayed: 0, inFlight: 0 })
    })

    declare('counts no age for what is delayed', async ({ broker, advance }) => {
      const queue = uniqueName('aging')
      await broker.publish([outgoing(queue, 'later', { delayMs: longMs })])
      await advance(50)

      await expect
        .poll(() => infoOf(broker, queue), { timeout: countedWithinMs })
        .toMatchObject({ ready: 0, delayed: 1, oldestMs: null })
    })
  }
}
