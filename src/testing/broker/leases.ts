import { expect } from 'vitest'
import type { Consumer, Delivery } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import { type Declare, uniqueName, until } from '../contract.ts'
import { resultRecord } from '../result-record.ts'
import {
  type BrokerFixture,
  type BrokerHarness,
  bodies,
  countedWithinMs,
  expectDepth,
  expectNothing,
  outgoing,
  publishBodies,
  resultsOf,
  take,
  takeOne,
  takeWithin,
} from './fixture.ts'

/** How long a message stays with a consumer that lives, and with one that was lost. */
export function leases(
  declare: Declare<BrokerFixture>,
  { capabilities, leaseMs = 1_000, sharesResults = false }: BrokerHarness,
): void {
  const isTimed = capabilities.lease === 'timed'

  /** A consumer holding the only message of a queue, and a second one on another connection that would like it. */
  async function openLoan({ broker, peer }: BrokerFixture): Promise<Loan> {
    const queue = uniqueName('leased')
    await publishBodies(broker, queue, ['a'])
    const holder = await broker.consume([queue], { leaseMs })
    const delivery = await takeOne(holder)
    const heir = await (await peer()).consume([queue], { leaseMs })
    return { queue, holder, delivery, heir }
  }

  declare('keeps a message with its consumer as long as that lives', async (fixture) => {
    const { delivery, heir } = await openLoan(fixture)

    await fixture.advance(3.5 * leaseMs)

    await expectNothing(heir)
    await delivery.ack()
  })

  if (isTimed) {
    declare('returns the messages of a lost consumer after the lease, and not before', async (fixture) => {
      const { holder, heir } = await openLoan(fixture)

      await fixture.crash(holder)
      await expectNothing(heir)
      await fixture.advance(leaseMs / 2)
      await expectNothing(heir)
      await fixture.advance(leaseMs / 2)

      const delivery = await takeWithin(fixture, heir, leaseMs)
      expect(bodies([delivery])).toEqual(['a'])
      expect(delivery.deliveryCount).toBe(2)
    })

    declare('gives a waiting fetch the message of a lost consumer when the lease is over', async (fixture) => {
      const { holder, heir } = await openLoan(fixture)

      const fetching = heir.fetch(1, { waitMs: 10 * leaseMs })
      await fixture.crash(holder)
      await fixture.advance(2 * leaseMs)

      expect(bodies(await fetching)).toEqual(['a'])
    })

    declare('extends a lease beyond the loss of its consumer', async (fixture) => {
      const { holder, delivery, heir } = await openLoan(fixture)

      await delivery.extend(3 * leaseMs)
      await fixture.crash(holder)
      await fixture.advance(2 * leaseMs)
      await expectNothing(heir)
      await fixture.advance(leaseMs)

      expect((await takeWithin(fixture, heir, leaseMs)).deliveryCount).toBe(2)
    })

    declare('shortens no lease by extending it', async (fixture) => {
      const { holder, delivery, heir } = await openLoan(fixture)

      await delivery.extend(1)
      await fixture.crash(holder)
      await fixture.advance(leaseMs / 2)

      await expectNothing(heir)
    })

    declare("returns only the lost consumer's messages, among several of one connection", async (fixture) => {
      const { broker } = fixture
      const queue = uniqueName('leased')
      await publishBodies(broker, queue, ['lost', 'kept'])
      const lost = await broker.consume([queue], { leaseMs })
      const living = await broker.consume([queue], { leaseMs })
      await takeOne(lost)
      const kept = await takeOne(living)

      await fixture.crash(lost)
      const returned = await takeWithin(fixture, living, 2 * leaseMs)

      expect(bodies([returned])).toEqual(['lost'])
      await expectNothing(living)
      await kept.ack()
    })
  } else {
    declare('returns the messages of a lost consumer as soon as its connection is gone', async (fixture) => {
      const { holder, heir } = await openLoan(fixture)

      await fixture.crash(holder)

      const delivery = await takeOne(heir)
      expect(bodies([delivery])).toEqual(['a'])
      expect(delivery.deliveryCount).toBe(2)
    })

    declare('accepts an extension, which a connection lease does not need', async (fixture) => {
      const { delivery } = await openLoan(fixture)

      await delivery.extend(leaseMs)

      await delivery.ack()
    })
  }

  const tooLate: Record<string, (delivery: Delivery, next: string) => Promise<void>> = {
    acknowledge: (delivery) => delivery.ack(),
    'acknowledge with effects': (delivery, next) => delivery.ack({ publish: [outgoing(next, 'successor')] }),
    release: (delivery) => delivery.release(),
    reject: (delivery) => delivery.reject(),
    extend: (delivery) => delivery.extend(leaseMs),
  }
  for (const [verb, settle] of Object.entries(tooLate)) {
    declare(`refuses to ${verb} after the lease was lost, and changes nothing`, async (fixture) => {
      const { broker } = fixture
      const { queue, holder, delivery, heir } = await openLoan(fixture)
      const next = uniqueName('next')
      await fixture.crash(holder)
      const inherited = await takeWithin(fixture, heir, 2 * leaseMs)

      await expect(settle(delivery, next)).rejects.toThrow(LeaseLostError)

      await expectDepth(broker, next, { ready: 0, delayed: 0, inFlight: 0 })
      await expectDepth(broker, queue, { ready: 0, delayed: 0, inFlight: 1 })
      await inherited.ack()
      await expectDepth(broker, queue, { ready: 0, delayed: 0, inFlight: 0 })
    })
  }

  if (sharesResults) {
    declare('saves no result with an acknowledgement after the lease was lost', async (fixture) => {
      const { holder, delivery, heir } = await openLoan(fixture)
      const taskId = uniqueName('task')
      await fixture.crash(holder)
      await takeWithin(fixture, heir, 2 * leaseMs)

      const save = [resultRecord({ taskId, status: 'SUCCESS', fence: 1 })]
      await expect(delivery.ack({ save })).rejects.toThrow(LeaseLostError)

      expect(await resultsOf(fixture).load([taskId])).toEqual([undefined])
    })
  }

  declare('counts every loss, and nothing else', async (fixture) => {
    const { queue, holder, heir } = await openLoan(fixture)
    await fixture.crash(holder)

    const second = await takeWithin(fixture, heir, 2 * leaseMs)
    await second.release()
    const secondAgain = await takeOne(heir)
    await fixture.crash(heir)
    const third = await takeWithin(fixture, await fixture.broker.consume([queue]), 2 * leaseMs)

    expect([second, secondAgain, third].map((delivery) => delivery.deliveryCount)).toEqual([2, 2, 3])
  })

  declare("returns a closed consumer's messages at once, costing no delivery", async (fixture) => {
    const { broker, peer } = fixture
    const queue = uniqueName('leased')
    await publishBodies(broker, queue, ['a', 'b', 'c'])
    const closing = await broker.consume([queue], { leaseMs })
    const [first] = await take(closing, 3)
    await first?.ack()

    await closing.close()

    const next = await take(await (await peer()).consume([queue]), 2)
    expect(bodies(next)).toEqual(['b', 'c'])
    expect(next.map((delivery) => delivery.deliveryCount)).toEqual([1, 1])
  })

  declare('refuses to settle what a closed consumer still had in hand', async (fixture) => {
    const { queue, holder, delivery } = await openLoan(fixture)

    await holder.close()

    await expect(delivery.ack()).rejects.toThrow(LeaseLostError)
    await expectDepth(fixture.broker, queue, { ready: 1, delayed: 0, inFlight: 0 })
  })

  declare('counts a lost consumer no longer once its lease is over', async (fixture) => {
    const { queue, holder, heir } = await openLoan(fixture)
    const consumers = async (): Promise<number | undefined> => {
      const queues = await fixture.broker.queues()
      return queues.find((info) => info.queue === queue)?.consumers
    }
    await heir.close()
    await expect.poll(consumers, { timeout: countedWithinMs }).toBe(1)

    await fixture.crash(holder)

    await until(fixture, 3 * leaseMs + countedWithinMs, async () => (await consumers()) === 0)
  })
}

interface Loan {
  readonly queue: string
  readonly holder: Consumer
  readonly delivery: Delivery
  readonly heir: Consumer
}
