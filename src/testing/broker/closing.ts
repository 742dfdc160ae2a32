import { expect } from 'vitest'
import type { Broker } from '../../broker/broker.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { type BrokerFixture, bodies, expectDepth, outgoing, publishBodies, take, takeOne } from './fixture.ts'

/** Consumers and brokers that end in order. */
export function closing(declare: Declare<BrokerFixture>): void {
  declare('ends a waiting fetch when its consumer closes', async ({ broker, advance }) => {
    const consumer = await broker.consume([uniqueName('empty')])
    const waiting = consumer.fetch(1, { waitMs: 60_000 })
    await advance(10)

    await consumer.close()

    expect(await waiting).toEqual([])
  })

  declare('takes no message for a consumer that is closing', async ({ broker }) => {
    const queue = uniqueName('closing')
    const consumer = await broker.consume([queue])
    const waiting = consumer.fetch(1)

    await Promise.all([consumer.close(), publishBodies(broker, queue, ['a'])])
    await waiting

    await expectDepth(broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
  })

  declare('refuses to fetch for a closed consumer', async ({ broker }) => {
    const consumer = await broker.consume([uniqueName('closed')])
    await consumer.close()

    await expect(consumer.fetch(1)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(consumer.add(uniqueName('added'))).rejects.toMatchObject({ code: 'CLOSED' })
  })

  declare('closes a consumer twice without harm', async ({ broker }) => {
    const queue = uniqueName('closed')
    await publishBodies(broker, queue, ['a'])
    const consumer = await broker.consume([queue])
    await takeOne(consumer)

    await Promise.all([consumer.close(), consumer.close()])
    await consumer.close()

    await expectDepth(broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
  })

  declare('closes its consumers first, so that their messages are free for others', async ({ broker, peer }) => {
    const queue = uniqueName('closed')
    const elsewhere = await peer()
    await publishBodies(broker, queue, ['a', 'b'])
    const consumer = await broker.consume([queue])
    await take(consumer, 2)

    await broker.close()

    const taken = await take(await elsewhere.consume([queue]), 2)
    expect(bodies(taken)).toEqual(['a', 'b'])
    expect(taken.map((delivery) => delivery.deliveryCount)).toEqual([1, 1])
  })

  declare('finishes what was begun before it closes', async ({ broker, peer }) => {
    const queue = uniqueName('closed')
    const elsewhere = await peer()
    const publishing = Promise.all(range(20).map((n) => publishBodies(broker, queue, [`${n}`])))

    await Promise.all([publishing, broker.close()])

    await expectDepth(elsewhere, queue, { ready: 20 })
  })

  const uses: Record<string, (broker: Broker, queue: string) => Promise<unknown>> = {
    publish: (broker, queue) => broker.publish([outgoing(queue, 'x')]),
    consume: (broker, queue) => broker.consume([queue]),
    queues: (broker) => broker.queues(),
    server: (broker) => broker.server(),
    depth: (broker, queue) => broker.depth(queue),
    peek: (broker, queue) => broker.peek(queue, 1),
    purge: (broker, queue) => broker.purge(queue),
    pause: (broker, queue) => broker.pause(queue),
    resume: (broker, queue) => broker.resume(queue),
  }
  for (const [name, use] of Object.entries(uses)) {
    declare(`refuses ${name} after it was closed`, async ({ broker }) => {
      await broker.close()

      await expect(use(broker, uniqueName('closed'))).rejects.toMatchObject({ code: 'CLOSED' })
    })
  }

  declare('closes twice without harm', async ({ broker }) => {
    await Promise.all([broker.close(), broker.close()])
    await broker.close()
  })

  declare('leaves other connections open when it closes', async ({ broker, peer }) => {
    const queue = uniqueName('open')
    const elsewhere = await peer()
    const consumer = await elsewhere.consume([queue])

    await broker.close()
    await publishBodies(elsewhere, queue, ['a'])

    expect(bodies([await takeOne(consumer)])).toEqual(['a'])
  })
}
