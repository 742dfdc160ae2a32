import { expect } from 'vitest'
import type { Message, Properties } from '../../broker/broker.ts'
import { type Declare, range, uniqueName } from '../contract.ts'
import {
  type BrokerFixture,
  type BrokerHarness,
  bodies,
  expectDepth,
  largestTried,
  outgoing,
  publishBodies,
  take,
  takeOne,
} from './fixture.ts'

/** What goes in comes out, all of it or none. */
export function messages(declare: Declare<BrokerFixture>, { capabilities }: BrokerHarness): void {
  const { maxMessageBytes } = capabilities

  async function roundTrip({ broker }: BrokerFixture, message: Message): Promise<Message> {
    const queue = uniqueName('round-trip')
    const consumer = await broker.consume([queue])
    await broker.publish([{ ...message, queue }])
    const delivery = await takeOne(consumer)
    expect(delivery.queue).toBe(queue)
    return delivery.message
  }

  declare('says what it can do', async ({ broker }) => {
    expect(broker.capabilities).toEqual(capabilities)
  })

  declare('delivers headers as they were published: nested, null, unicode, numbers and empty ones', async (fixture) => {
    const headers = {
      task: 'warehouse.pick',
      group: null,
      nested: { list: [1, 'two', null, { three: 3 }], empty: {}, none: [] },
      unicode: 'Zoë – 苹果 🍏',
      quoted: `"'\\\n\t`,
      retries: 0,
      ratio: -1.5e-7,
      big: Number.MAX_SAFE_INTEGER,
      flag: false,
      blank: '',
    }

    const received = await roundTrip(fixture, { ...outgoing('', ''), headers })

    expect(received.headers).toEqual(headers)
  })

  declare('delivers properties as they were published', async (fixture) => {
    const properties: Properties = {
      contentType: 'application/x-msgpack',
      contentEncoding: 'binary',
      correlationId: '5a6cc8ab-1a8b-4cba-a4a8-3f3e77b2b6b7',
      replyTo: 'replies-ü',
      // The one that every scale of priorities has: neither an end of it nor between two of its steps.
      priority: 6,
      expirationMs: 3_600_000,
    }

    const received = await roundTrip(fixture, { headers: {}, properties, body: 'x' })

    expect(received.properties).toEqual(properties)
  })

  declare('leaves properties out that were not given', async (fixture) => {
    const received = await roundTrip(fixture, outgoing('', 'x'))

    expect(received.properties.correlationId).toBeUndefined()
    expect(received.properties.replyTo).toBeUndefined()
    expect(received.properties.expirationMs).toBeUndefined()
  })

  declare('delivers a text body as a string, character for character', async (fixture) => {
    const body = `[[1, "Zoë – 苹果 🍏"], {"a": null}]\r\n\t\u0000\u2028end`

    const received = await roundTrip(fixture, outgoing('', body))

    expect(received.body).toBe(body)
  })

  declare('delivers a binary body as bytes, byte for byte', async (fixture) => {
    const body = Uint8Array.from([...range(256), 0xff, 0xfe, 0xc3, 0x28, 0])

    const received = await roundTrip(fixture, outgoing('', body))

    expect(received.body).toBeInstanceOf(Uint8Array)
    expect([...(received.body as Uint8Array)]).toEqual([...body])
  })

  declare('delivers empty bodies', async (fixture) => {
    const text = await roundTrip(fixture, outgoing('', ''))
    const binary = await roundTrip(fixture, outgoing('', new Uint8Array()))

    expect(text.body).toBe('')
    expect(binary.body).toHaveLength(0)
  })

  declare('keeps what was published, whatever the sender does to the objects afterwards', async ({ broker }) => {
    const queue = uniqueName('mutated')
    const headers = { list: ['before'] }
    const body = Uint8Array.of(1, 2, 3)
    const consumer = await broker.consume([queue])

    await broker.publish([outgoing(queue, body, { headers })])
    headers.list[0] = 'after'
    body[0] = 99
    const { message } = await takeOne(consumer)

    expect(message.headers).toEqual({ list: ['before'] })
    expect([...(message.body as Uint8Array)]).toEqual([1, 2, 3])
  })

  declare(
    'delivers an unsettled message again as it was, whatever the first receiver did to it',
    async ({ broker }) => {
      const queue = uniqueName('mutated')
      const consumer = await broker.consume([queue])
      await broker.publish([outgoing(queue, Uint8Array.of(1, 2, 3), { headers: { list: ['before'] } })])

      const first = await takeOne(consumer)
      ;(first.message.headers as { list: string[] }).list[0] = 'after'
      ;(first.message.body as Uint8Array)[0] = 99
      await first.release()
      const { message } = await takeOne(consumer)

      expect(message.headers).toEqual({ list: ['before'] })
      expect([...(message.body as Uint8Array)]).toEqual([1, 2, 3])
    },
  )

  declare('publishes to several queues in one call', async ({ broker }) => {
    const picking = uniqueName('picking')
    const packing = uniqueName('packing')

    await broker.publish([outgoing(picking, 'a'), outgoing(packing, 'b'), outgoing(picking, 'c')])

    await expectDepth(broker, picking, { ready: 2 })
    await expectDepth(broker, packing, { ready: 1 })
  })

  declare('takes an empty publish for what it is', async ({ broker }) => {
    await broker.publish([])
  })

  declare('holds all of an atomic publish, over several queues', async ({ broker }) => {
    const [left, right] = [uniqueName('left'), uniqueName('right')]
    const consumer = await broker.consume([left, right])

    await broker.publish(
      range(200).map((n) => outgoing(n % 2 === 0 ? left : right, `${n}`)),
      { atomic: true },
    )

    const taken = bodies(await take(consumer, 200)).map(Number)
    expect(taken.sort((a, b) => a - b)).toEqual(range(200))
  })

  declare('holds what it accepted when every connection is closed and another opened', async ({ broker, peer }) => {
    const queue = uniqueName('kept')

    await publishBodies(broker, queue, ['a', 'b'])
    await broker.close()
    const reopened = await peer()
    const consumer = await reopened.consume([queue])

    expect(bodies(await take(consumer, 2))).toEqual(['a', 'b'])
  })

  declare('moves a message of a megabyte, or of nearly its limit', async (fixture) => {
    const body = 'é'.repeat(Math.min(1024 * 1024, maxMessageBytes - 16 * 1024) / 2)

    const received = await roundTrip(fixture, outgoing('', body))

    expect(received.body === body).toBe(true)
  })

  if (maxMessageBytes <= largestTried) {
    for (const atomic of [false, true]) {
      const publish = atomic ? 'atomic publish' : 'publish'
      declare(`refuses a message larger than its limit, and holds nothing of that ${publish}`, async ({ broker }) => {
        const queue = uniqueName('too-large')
        const tooLarge = outgoing(queue, new Uint8Array(maxMessageBytes), { headers: { one: 'more' } })

        const publishing = broker.publish([outgoing(queue, 'small'), tooLarge], { atomic })

        await expect(publishing).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
        await expectDepth(broker, queue, { ready: 0 })
      })
    }

    declare('measures text in bytes', async ({ broker }) => {
      const tooLarge = outgoing(uniqueName('too-large'), '€'.repeat(Math.ceil(maxMessageBytes / 3)))

      await expect(broker.publish([tooLarge])).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
    })
  }
}
