import { expect } from 'vitest'
import { type Declare, range, uniqueName } from '../contract.ts'
import { type BusFixture, expectHeard, listen } from './fixture.ts'

/** Who listens hears it, who does not misses it. */
export function fanOut(declare: Declare<BusFixture>): void {
  declare("tells every listener on every connection, the sender's own too", async ({ bus, peer }) => {
    const topic = uniqueName('news')
    const elsewhere = await peer()
    const ears = [await listen(bus, topic), await listen(elsewhere, topic), await listen(elsewhere, topic)]

    await bus.publish(topic, 'hello')

    for (const ear of ears) await expect.poll(() => ear.payloads).toEqual(['hello'])
    expect(ears[1]?.messages[0]?.topic).toBe(topic)
  })

  declare('carries any JSON value as it is', async ({ bus, peer }) => {
    const topic = uniqueName('values')
    const values = [null, true, 0, -1.5, '', 'Zoë – 苹果 🍏', [], {}, { a: [1, null, { b: 'c' }] }, 'x'.repeat(200_000)]
    const ear = await listen(await peer(), topic)

    for (const value of values) await bus.publish(topic, value)

    await expectHeard(bus, topic, ear, values)
  })

  declare('carries headers beside the payload, and none where none were given', async ({ bus, peer }) => {
    const topic = uniqueName('headers')
    const ear = await listen(await peer(), topic)

    await bus.publish(topic, 'with', { clock: 7, expires: 1.5, name: 'Zoë', nothing: null })
    await bus.publish(topic, 'without')

    await expect.poll(() => ear.payloads).toEqual(['with', 'without'])
    expect(ear.messages.map(({ headers }) => headers)).toEqual([
      { clock: 7, expires: 1.5, name: 'Zoë', nothing: null },
      {},
    ])
  })

  declare('carries the payload of the moment of publishing', async ({ bus }) => {
    const topic = uniqueName('mutated')
    const ear = await listen(bus, topic)
    const payload = { list: ['before'] }

    const publishing = bus.publish(topic, payload)
    payload.list[0] = 'after'
    await publishing

    await expect.poll(() => ear.payloads).toEqual([{ list: ['before'] }])
  })

  declare('gives each listener a payload of its own', async ({ bus }) => {
    const topic = uniqueName('mutated')
    await bus.subscribe([topic], ({ payload }) => {
      ;(payload as { list: string[] }).list.push('changed')
    })
    const ear = await listen(bus, topic)

    await bus.publish(topic, { list: [] })

    await expect.poll(() => ear.payloads).toEqual([{ list: [] }])
  })

  declare("keeps each sender's order", async ({ bus, peer }) => {
    const topic = uniqueName('ordered')
    const elsewhere = await peer()
    const ear = await listen(bus, topic)
    const sent = range(200)

    await Promise.all([
      ...sent.map((number) => bus.publish(topic, { from: 'here', number })),
      ...sent.map((number) => elsewhere.publish(topic, { from: 'there', number })),
    ])

    await expect.poll(() => ear.payloads.length).toBe(400)
    const heard = ear.payloads as { from: string; number: number }[]
    expect(heard.filter(({ from }) => from === 'here').map(({ number }) => number)).toEqual(sent)
    expect(heard.filter(({ from }) => from === 'there').map(({ number }) => number)).toEqual(sent)
  })

  declare('publishes also when nobody listens', async ({ bus }) => {
    await bus.publish(uniqueName('unheard'), 'hello')
  })

  declare('keeps nothing for who listens later', async ({ bus, peer }) => {
    const topic = uniqueName('missed')
    await bus.publish(topic, 'missed')

    const late = await listen(await peer(), topic)

    await expectHeard(bus, topic, late, [])
  })

  declare('tells a closed subscription nothing more, and the others all the same', async ({ bus, peer }) => {
    const topic = uniqueName('left')
    const elsewhere = await peer()
    const leaving = await listen(elsewhere, topic)
    const staying = await listen(elsewhere, topic)
    await bus.publish(topic, 'before')
    await expect.poll(() => leaving.payloads).toEqual(['before'])

    await leaving.close()
    await leaving.close()

    await expectHeard(bus, topic, staying, ['before'])
    expect(leaving.payloads).toEqual(['before'])
  })
}
