/** What strangers may leave in a queue: each becomes a dead letter that holds it, and the worker goes on. */
import { connect } from 'amqplib'
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { describeWith, rabbitmq, redisUrl } from '../servers/index.ts'
import { openShop, type Shop } from './shop.ts'

const deep = '['.repeat(20_000) + ']'.repeat(20_000)
const good = { task: 'pick', id: 'of no matter' }

/** Entries of a list on Redis: no envelopes, and envelopes with parts of the wrong kind. */
const entries: readonly (string | Buffer)[] = [
  ...[
    '',
    ' ',
    'no json',
    '7',
    'null',
    'true',
    '"text"',
    '[]',
    '{}',
    '{"properties": null}',
    '{"properties": []}',
    deep,
  ],
  Buffer.from([0xff, 0xfe, 0x00, 0x80]),
  Buffer.alloc(1_000_000, 'x'),
  ...[
    { properties: {} },
    { properties: {}, headers: 7, body: 8 },
    { properties: {}, headers: [], body: null },
    { properties: { body_encoding: 'base64' }, headers: good, body: '%%% no base64 %%%' },
    { properties: { body_encoding: 'base64', priority: 'high', expiration: 'soon' }, headers: good, body: '/////w==' },
    { properties: { delivery_info: 7, delivery_tag: {}, correlation_id: [], reply_to: 9 }, headers: good, body: '{}' },
    {
      properties: { published: 'long ago' },
      headers: { ...good, retries: 'many', timelimit: 3 },
      body: '[[1], {}, {}]',
    },
    { properties: {}, headers: { ...good, id: 7 }, 'content-type': 'application/json', body: '[[1], {}, {}]' },
    { properties: {}, headers: { ...good, eta: {} }, 'content-type': 'application/json', body: '[[1], {}, {}]' },
    { properties: {}, headers: { ...good, celeriac: 'x' }, 'content-type': 'application/json', body: '[[1], {}' },
  ].map((envelope) => JSON.stringify(envelope)),
]

/** Bodies, headers and properties on RabbitMQ. */
const messages: readonly [body: Buffer, properties: object][] = [
  [Buffer.alloc(0), {}],
  [Buffer.from('no json'), {}],
  [Buffer.from([0xff, 0xfe, 0x00, 0x80]), { contentType: 'application/json', contentEncoding: 'utf-8' }],
  [Buffer.alloc(1_000_000, 'x'), { contentType: 'application/json' }],
  [Buffer.from(deep), { contentType: 'application/json', headers: good }],
  [
    Buffer.from('{}'),
    { contentType: 'application/json', headers: good, expiration: '3600000', type: 'celeriac.bytes' },
  ],
  [Buffer.from('7'), { contentType: 'text/plain', headers: { ...good, retries: 'many', 'x-celeriac-due': 'soon' } }],
  [Buffer.from('[[1], {}'), { contentType: 'application/json', headers: { ...good, celeriac: 'x', 'x-death': 7 } }],
  [Buffer.from('[[1], {}, {}]'), { contentType: 'application/json', headers: { ...good, id: 7, eta: { a: [1] } } }],
  [
    Buffer.from('[[1], {}, {}]'),
    { contentType: 'application/json', headers: { 'x-celeriac-losses': 'all', task: {} } },
  ],
]

/** Every one of them is a dead letter, nothing of it is left, and orders are run as before. */
async function expectBuried(shop: Shop, count: number): Promise<void> {
  const { deadLetters, broker } = shop.sender
  const letters = () => deadLetters.list({ queue: shop.queue, limit: 10_000 })
  await expect.poll(async () => (await letters()).length, { timeout: 20_000 }).toBe(count)
  expect((await letters()).filter(({ reason }) => reason !== 'unreadable')).toEqual([])
  await expect.poll(() => broker.depth(shop.queue)).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  await shop.expectWell()
}

describeWith('redis-server', 'garbage in a queue on Redis', () => {
  it.each([1, 100])('is buried, whole lists of it too (%i times)', async (times) => {
    const url = await redisUrl()
    const shop = await openShop(url)
    const redis = new Redis(url)
    onTestFinished(() => redis.disconnect())

    const all = Array.from({ length: times }, () =>
      entries.filter((entry) => times === 1 || entry.length < 10_000),
    ).flat()
    await redis.lpush(shop.queue, ...all)

    await expectBuried(shop, all.length)
    expect(await redis.hlen('unacked')).toBe(0)
  })
})

describeWith('rabbitmq', 'garbage in a queue on RabbitMQ', () => {
  it('is buried', async () => {
    const { url } = await rabbitmq()
    const shop = await openShop(url)
    const connection = await connect(url)
    onTestFinished(() => connection.close())
    const channel = await connection.createConfirmChannel()

    for (const [body, properties] of messages) channel.sendToQueue(shop.queue, body, properties)
    await channel.waitForConfirms()

    await expectBuried(shop, messages.length)
  })
})
