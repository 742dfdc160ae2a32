import { expect } from 'vitest'
import type { Bus } from '../../broker/bus.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { type BusFixture, listen } from './fixture.ts'

/** Questions to all, and their replies. */
export function requests(declare: Declare<BusFixture>): void {
  /** Answers everything on a topic, and tells how often it did. */
  async function answer(bus: Bus, topic: string, payload: unknown): Promise<{ readonly answered: () => number }> {
    let answered = 0
    await bus.subscribe([topic], ({ reply }) => {
      void reply?.(payload).then(() => {
        answered += 1
      })
    })
    return { answered: () => answered }
  }

  declare('gathers replies of several listeners until there are as many as asked for', async ({ bus, peer }) => {
    const topic = uniqueName('ask')
    await answer(bus, topic, { worker: 'here' })
    await answer(await peer(), topic, { worker: 'there', unicode: '苹果', nothing: null })

    const replies = await bus.request(topic, 'who?', { timeoutMs: 60_000, replies: 2 })

    const byWorker = (replies as { worker: string }[]).sort((a, b) => (a.worker < b.worker ? -1 : 1))
    expect(byWorker).toEqual([{ worker: 'here' }, { worker: 'there', unicode: '苹果', nothing: null }])
  })

  declare('resolves with no more replies than asked for', async ({ bus, peer }) => {
    const topic = uniqueName('ask')
    await answer(bus, topic, 1)
    await answer(await peer(), topic, 1)

    expect(await bus.request(topic, null, { timeoutMs: 60_000, replies: 1 })).toEqual([1])
  })

  declare('resolves with the replies there are when the time is over', async ({ bus, peer, advance }) => {
    const topic = uniqueName('ask')
    const repliers = [await answer(bus, topic, 1), await answer(await peer(), topic, 2)]
    let over = false

    const asking = bus.request(topic, null, { timeoutMs: 500 }).finally(() => {
      over = true
    })
    await expect.poll(() => repliers.map(({ answered }) => answered())).toEqual([1, 1])
    expect(over).toBe(false)
    await advance(500)

    expect((await asking).sort()).toEqual([1, 2])
  })

  declare('resolves with none when nobody answers in time', async ({ bus, peer, advance }) => {
    const topic = uniqueName('ask')
    const silent = await listen(await peer(), topic)

    const asking = bus.request(topic, 'anybody?', { timeoutMs: 300 })
    await advance(350)

    expect(await asking).toEqual([])
    await expect.poll(() => silent.payloads).toEqual(['anybody?'])
  })

  declare('offers a reply to a request, and none to a plain publish', async ({ bus, peer }) => {
    const topic = uniqueName('ask')
    const ear = await listen(await peer(), topic)
    await answer(bus, topic, 'yes')

    await bus.publish(topic, 'told')
    await bus.request(topic, 'asked', { timeoutMs: 60_000, replies: 1 })

    await expect.poll(() => ear.payloads).toEqual(['told', 'asked'])
    expect(ear.messages.map(({ reply }) => typeof reply)).toEqual(['undefined', 'function'])
  })

  declare('gives each of several requests its own replies', async ({ bus, peer }) => {
    const topic = uniqueName('ask')
    await (await peer()).subscribe([topic], ({ payload, reply }) => void reply?.({ echo: payload }))

    const replies = await Promise.all(
      range(20).map((number) => bus.request(topic, number, { timeoutMs: 60_000, replies: 1 })),
    )

    expect(replies).toEqual(range(20).map((number) => [{ echo: number }]))
  })

  declare('takes a reply that comes too late without harm', async ({ bus, peer, advance }) => {
    const topic = uniqueName('ask')
    const ear = await listen(await peer(), topic)
    const asking = bus.request(topic, 'quick?', { timeoutMs: 200 })
    await expect.poll(() => ear.messages.length).toBe(1)
    await advance(250)

    await ear.messages[0]?.reply?.('sorry')

    expect(await asking).toEqual([])
  })
}
