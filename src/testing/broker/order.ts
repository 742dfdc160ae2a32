import { expect } from 'vitest'
import { type Declare, range, uniqueName } from '../contract.ts'
import { type BrokerFixture, type BrokerHarness, bodies, outgoing, publishBodies, take } from './fixture.ts'

/** Which message comes next. */
export function order(declare: Declare<BrokerFixture>, { capabilities }: BrokerHarness): void {
  const { priorityLevels, unsetPriority } = capabilities

  declare('delivers a queue in the order of publishing', async ({ broker }) => {
    const queue = uniqueName('fifo')
    const sent = range(100).map((number) => `m${number}`)
    const consumer = await broker.consume([queue])

    await publishBodies(broker, queue, sent.slice(0, 40))
    for (const body of sent.slice(40, 60)) await publishBodies(broker, queue, [body])
    await publishBodies(broker, queue, sent.slice(60))

    expect(bodies(await take(consumer, 100))).toEqual(sent)
  })

  declare('keeps the order of publish calls that were not awaited', async ({ broker }) => {
    const queue = uniqueName('fifo')
    const sent = range(50).map((number) => `m${number}`)
    const consumer = await broker.consume([queue])

    await Promise.all(sent.map((body) => publishBodies(broker, queue, [body])))

    expect(bodies(await take(consumer, 50))).toEqual(sent)
  })

  if (priorityLevels > 1) {
    const place = unsetPriority === 0 ? 'behind all others' : 'before all others'
    declare(`delivers the more urgent first, and what has no priority ${place}`, async ({ broker }) => {
      const queue = uniqueName('urgent')
      const consumer = await broker.consume([queue])

      await broker.publish([
        outgoing(queue, 'least', { priority: 0 }),
        outgoing(queue, 'none'),
        outgoing(queue, 'most', { priority: 9 }),
        outgoing(queue, 'none either'),
      ])

      // With one of the two ends they share their place, in the order of publishing.
      const inOrder = { 0: ['most', 'least', 'none', 'none either'], 9: ['none', 'most', 'none either', 'least'] }
      expect(bodies(await take(consumer, 4))).toEqual(inOrder[unsetPriority])
    })

    declare('delivers equally urgent messages in the order of publishing', async ({ broker }) => {
      const queue = uniqueName('urgent')
      const consumer = await broker.consume([queue])

      await broker.publish(range(20).map((n) => outgoing(queue, `${n}`, { priority: n % 2 === 0 ? 0 : 9 })))

      const odd = range(20).filter((n) => n % 2 === 1)
      const even = range(20).filter((n) => n % 2 === 0)
      expect(bodies(await take(consumer, 20))).toEqual([...odd, ...even].map(String))
    })

    declare('lets a more urgent message overtake what already waits', async ({ broker }) => {
      const queue = uniqueName('urgent')
      const consumer = await broker.consume([queue])

      await broker.publish(['first', 'second'].map((body) => outgoing(queue, body, { priority: 0 })))
      await broker.publish([outgoing(queue, 'urgent', { priority: 9 })])

      expect(bodies(await take(consumer, 3))).toEqual(['urgent', 'first', 'second'])
    })
  } else {
    declare('delivers in the order of publishing, whatever the priority', async ({ broker }) => {
      const queue = uniqueName('fifo')
      const consumer = await broker.consume([queue])

      await broker.publish([outgoing(queue, 'first', { priority: 0 }), outgoing(queue, 'second', { priority: 9 })])

      expect(bodies(await take(consumer, 2))).toEqual(['first', 'second'])
    })
  }

  if (priorityLevels >= 10) {
    declare('tells ten priorities apart', async ({ broker }) => {
      const queue = uniqueName('urgent')
      const consumer = await broker.consume([queue])
      const shuffled = [3, 8, 0, 5, 9, 1, 7, 2, 6, 4]

      await broker.publish(shuffled.map((priority) => outgoing(queue, `${priority}`, { priority })))

      expect(bodies(await take(consumer, 10))).toEqual(['9', '8', '7', '6', '5', '4', '3', '2', '1', '0'])
    })
  }

  declare('starves none of several queues, however full and urgent another is', async ({ broker }) => {
    const full = uniqueName('full')
    const quiet = uniqueName('quiet')
    const priority = priorityLevels > 1 ? 9 : 0
    const consumer = await broker.consume([full, quiet])
    await broker.publish(range(100).map((n) => outgoing(full, `${n}`, { priority })))
    await publishBodies(broker, quiet, ['a', 'b', 'c'])

    const queues: string[] = []
    for (const _ of range(30)) {
      const [delivery] = await take(consumer, 1)
      queues.push(delivery?.queue ?? '')
      await delivery?.ack()
      await broker.publish([outgoing(full, 'again', { priority })])
    }

    expect(queues.filter((queue) => queue === quiet)).toHaveLength(3)
  })

  declare('draws large fetches from every queue in turn', async ({ broker }) => {
    const left = uniqueName('left')
    const right = uniqueName('right')
    const consumer = await broker.consume([left, right])
    await broker.publish(range(200).map((n) => outgoing(n < 100 ? left : right, `${n}`)))

    const taken = [...(await take(consumer, 40)), ...(await take(consumer, 40))]

    const fromLeft = taken.filter((delivery) => delivery.queue === left).length
    expect(fromLeft).toBeGreaterThanOrEqual(20)
    expect(fromLeft).toBeLessThanOrEqual(60)
  })
}
