import { expect } from 'vitest'
import { type Declare, uniqueName } from '../contract.ts'
import { type BusFixture, expectHeard, listen } from './fixture.ts'

/** Buses that end. */
export function closing(declare: Declare<BusFixture>): void {
  declare('refuses to publish, subscribe and request after it was closed', async ({ bus }) => {
    await bus.close()

    await expect(bus.publish('t', 1)).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(bus.subscribe(['t'], () => {})).rejects.toMatchObject({ code: 'CLOSED' })
    await expect(bus.request('t', 1, { timeoutMs: 100 })).rejects.toMatchObject({ code: 'CLOSED' })
  })

  declare("ends its subscriptions when it closes, and nobody else's", async ({ bus, peer }) => {
    const topic = uniqueName('closed')
    const elsewhere = await peer()
    const closed = await listen(bus, topic)
    const open = await listen(elsewhere, topic)

    await bus.close()

    await expectHeard(elsewhere, topic, open, [])
    expect(closed.payloads).toEqual([])
  })

  declare('closes twice without harm', async ({ bus }) => {
    await Promise.all([bus.close(), bus.close()])
    await bus.close()
  })
}
