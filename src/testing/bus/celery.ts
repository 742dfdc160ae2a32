import { expect } from 'vitest'
import { controlTopic, eventTopic } from '../../broker/bus.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import { type BusFixture, listen } from './fixture.ts'

/** The two topics that are Celery's. Others may use them at the same time, so each case looks for what is its own. */
export function celery(declare: Declare<BusFixture>): void {
  declare('carries control messages with their headers, and no reply for who wants none', async ({ bus, peer }) => {
    const method = uniqueName('method')
    const ear = await listen(await peer(), controlTopic)

    await bus.publish(controlTopic, { method, arguments: { n: 1.5 }, destination: null }, { clock: 7, expires: 0 })

    const find = () => ear.messages.find(({ payload }) => (payload as { method?: unknown }).method === method)
    await expect.poll(find).toMatchObject({
      topic: controlTopic,
      payload: { method, arguments: { n: 1.5 }, destination: null },
      headers: { clock: 7, expires: 0 },
      reply: undefined,
    })
  })

  declare('gives each of several control messages its own replies', async ({ bus, peer }) => {
    const method = uniqueName('method')
    for (const [node, each] of [['here', bus] as const, ['there', await peer()] as const]) {
      await each.subscribe([controlTopic], ({ payload, reply }) => {
        const message = payload as { method: string; arguments: object }
        if (message.method === method) void reply?.({ [node]: message.arguments }, { clock: 8 })
      })
    }

    const replies = await Promise.all(
      range(10).map((n) =>
        bus.request(
          controlTopic,
          { method, arguments: { n } },
          { timeoutMs: 60_000, replies: 2, headers: { clock: 7 } },
        ),
      ),
    )

    const merged = replies.map((both) => Object.assign({}, ...both) as object)
    expect(merged).toEqual(range(10).map((n) => ({ here: { n }, there: { n } })))
  })

  declare('gathers replies to control messages until the time is over', async ({ bus, peer, advance }) => {
    const method = uniqueName('method')
    const ear = await listen(await peer(), controlTopic)
    let over = false

    const asking = bus.request(controlTopic, { method }, { timeoutMs: 500 }).finally(() => {
      over = true
    })
    const asked = () => ear.messages.find(({ payload }) => (payload as { method?: unknown }).method === method)
    await expect.poll(asked).toBeDefined()
    await asked()?.reply?.({ only: 'one' })
    expect(over).toBe(false)
    await advance(500)

    expect(await asking).toEqual([{ only: 'one' }])
  })

  declare('carries events, one or several at once, by their routing keys', async ({ bus, peer }) => {
    const word = uniqueName('word')
    const ear = await listen(await peer(), `${eventTopic}.${word}.#`)

    await bus.publish(`${eventTopic}.${word}s.received`, { type: 'elsewhere' })
    await bus.publish(`${eventTopic}.${word}.received`, { type: 'one' }, { hostname: 'w@h' })
    await bus.publish(`${eventTopic}.${word}.multi`, [{ type: 'two' }, { type: 'three' }])

    await expect.poll(() => ear.payloads).toEqual([{ type: 'one' }, [{ type: 'two' }, { type: 'three' }]])
    expect(ear.messages.map(({ topic }) => topic)).toEqual([
      `${eventTopic}.${word}.received`,
      `${eventTopic}.${word}.multi`,
    ])
    expect(ear.messages[0]?.headers).toEqual({ hostname: 'w@h' })
  })

  declare('hears with `#` control messages and events too, each once', async ({ bus, peer }) => {
    const word = uniqueName('word')
    const ear = await listen(await peer(), '#', controlTopic, `${eventTopic}.#`)

    await bus.publish(controlTopic, { method: word })
    await bus.publish(`${eventTopic}.${word}`, { type: word })
    await bus.publish(word, 'last')

    await expect.poll(() => ear.messages.filter(({ topic }) => topic === word).length).toBe(1)
    const heard = () => ear.payloads.filter((payload) => JSON.stringify(payload).includes(word))
    await expect.poll(heard).toHaveLength(2)
    expect(heard()).toEqual(expect.arrayContaining([{ method: word }, { type: word }]))
  })
}
