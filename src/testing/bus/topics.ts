import { expect } from 'vitest'
import { type Declare, uniqueName } from '../contract.ts'
import { type BusFixture, expectHeard, listen } from './fixture.ts'

/** Which topics a subscription covers. */
export function topics(declare: Declare<BusFixture>): void {
  declare('matches a plain topic by equality', async ({ bus, peer }) => {
    const word = uniqueName('worker')
    const ear = await listen(await peer(), `${word}.online`)

    for (const topic of [`${word}.offline`, `${word}.online.now`, word, `${word}.onlin`, `${word}.ONLINE`]) {
      await bus.publish(topic, topic)
    }

    await expectHeard(bus, `${word}.online`, ear, [])
  })

  declare('hears with `word.#` every topic that begins with `word.`', async ({ bus, peer }) => {
    const word = uniqueName('worker')
    const ear = await listen(await peer(), `${word}.#`)

    for (const topic of [`${word}.online`, `${word}s.online`, word, `${word}.a.b`, `x.${word}.a`]) {
      await bus.publish(topic, topic)
    }

    await expectHeard(bus, `${word}.end`, ear, [`${word}.online`, `${word}.a.b`])
  })

  declare('hears with `#` every topic', async ({ bus, peer }) => {
    const word = uniqueName('any')
    const ear = await listen(await peer(), '#')

    await bus.publish(word, 1)
    await bus.publish(`${word}.a.b.c`, 2)

    await expect.poll(() => ear.messages.filter(({ topic }) => topic.startsWith(word)).length).toBe(2)
  })

  declare('takes topics to the letter, but for a last `#`', async ({ bus, peer }) => {
    const word = uniqueName('literal')
    const ear = await listen(await peer(), `${word}.*`, `${word}_%.#`, `${word}[ab]`)

    for (const topic of [`${word}.a`, `${word}xy.a`, `${word}a`]) await bus.publish(topic, topic)

    await expectHeard(bus, `${word}_%.end`, ear, [])
  })

  declare('tells one subscription once, however many of its topics fit', async ({ bus, peer }) => {
    const word = uniqueName('several')
    const ear = await listen(await peer(), `${word}.a`, `${word}.#`, `${word}.b`)

    await bus.publish(`${word}.a`, 'a')
    await bus.publish(`${word}.b`, 'b')

    await expectHeard(bus, `${word}.c`, ear, ['a', 'b'])
  })
}
