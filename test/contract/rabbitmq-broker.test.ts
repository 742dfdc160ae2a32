/** What is RabbitMQ's own: its topology, shared with Celery, and what the contract leaves open. */
import { type Channel, connect, type GetMessage } from 'amqplib'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import type { Broker, Consumer } from '../../src/broker/broker.ts'
import type { RabbitmqConsumer } from '../../src/drivers/rabbitmq/consumer.ts'
import { RabbitmqBroker, RabbitmqClient } from '../../src/drivers/rabbitmq/index.ts'
import { encodeMessage } from '../../src/drivers/rabbitmq/message.ts'
import { bodies, outgoing, publishBodies, take, takeOne } from '../../src/testing/broker/fixture.ts'
import { range, uniqueName } from '../../src/testing/contract.ts'
import { describeWith, type Rabbitmq, rabbitmq } from '../servers/index.ts'

describeWith('rabbitmq', 'queues on RabbitMQ', () => {
  let server: Rabbitmq

  beforeAll(async () => {
    server = await rabbitmq()
  })

  async function openBroker(query = ''): Promise<RabbitmqBroker> {
    const broker = new RabbitmqBroker(new RabbitmqClient({ url: `${server.url}${query}` }))
    onTestFinished(() => broker.close())
    await broker.open()
    return broker
  }

  async function openChannel(): Promise<Channel> {
    const connection = await connect(server.url)
    connection.on('error', () => undefined)
    onTestFinished(() => connection.close().catch(() => undefined))
    const channel = await connection.createChannel()
    channel.on('error', () => undefined)
    return channel
  }

  async function getOne(channel: Channel, queue: string): Promise<GetMessage> {
    const message = await channel.get(queue, { noAck: true })
    return message === false ? expect.fail(`nothing is in ${queue}`) : message
  }

  /** Ends a consumer as a kill does, as often as told, each time with the message in hand. */
  async function loseWith(broker: Broker, queue: string, times: number): Promise<void> {
    for (const _ of range(times)) {
      const consumer = await broker.consume([queue])
      await takeOne(consumer)
      await (consumer as RabbitmqConsumer).abandon()
    }
  }

  it('tells what the management API says of its server', async () => {
    const { vhost, managementUrl, api } = server
    await api('PUT', `/api/policies/${vhost}/short`, { pattern: '^tmp', definition: { expires: 60_000 } })
    const broker = await openBroker(`?management=${encodeURIComponent(managementUrl)}`)

    // Its statistics are gathered every few seconds.
    await expect.poll(async () => (await broker.server()).connections, { timeout: 25_000 }).toBeGreaterThan(0)
    const told = await broker.server()

    expect(told).toMatchObject({ product: 'RabbitMQ', version: expect.stringMatching(/^\d+\./), fileBytes: null })
    expect(told.memoryBytes).toBeGreaterThan(1_000_000)
    expect(told.memoryLimitBytes).toBeGreaterThan(told.memoryBytes ?? 0)
    expect(told.facts.policies).toBe('short (^tmp): {"expires":60000}')
    expect(Object.entries(told.facts)).toContainEqual([
      expect.stringMatching(/^node /),
      expect.stringMatching(/ MB of disk free$/),
    ])
  })

  it('tells that the management API is not there', async () => {
    const broker = await openBroker('?management=http%3A%2F%2F127.0.0.1%3A1')

    expect(await broker.server()).toMatchObject({
      ...{ product: 'RabbitMQ', memoryBytes: null, connections: null },
      facts: { management: expect.stringContaining('no management API at http://127.0.0.1:1') },
    })
  })

  it("declares a queue, its exchange and its binding with Celery's arguments", async () => {
    const queue = uniqueName('celery')
    await publishBodies(await openBroker(), queue, ['a'])

    const channel = await openChannel()
    // The server refuses any difference.
    await channel.assertQueue(queue, { durable: true })
    await channel.assertExchange(queue, 'direct', { durable: true })
    channel.publish(queue, queue, Buffer.from('b'))
    await expect.poll(async () => (await channel.checkQueue(queue)).messageCount).toBe(2)
  })

  it("writes Celery's properties", async () => {
    const queue = uniqueName('properties')
    const properties = {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: 'task id',
      replyTo: 'reply to',
      priority: 3,
      expirationMs: 60_000,
    }
    await (await openBroker()).publish([{ queue, headers: { task: 'pick' }, properties, body: '[[],{},null]' }])

    const message = await getOne(await openChannel(), queue)

    expect(message.fields).toMatchObject({ exchange: '', routingKey: queue })
    expect(message.content.toString()).toBe('[[],{},null]')
    expect(message.properties).toMatchObject({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: 'task id',
      replyTo: 'reply to',
      priority: 3,
      expiration: '60000',
      deliveryMode: 2,
      headers: { task: 'pick' },
      type: undefined,
    })
  })

  it('hands out whatever others put into a queue', async () => {
    const queue = uniqueName('foreign')
    const consumer = await (await openBroker()).consume([queue])
    const channel = await openChannel()

    channel.sendToQueue(queue, Buffer.from([0xff, 0xfe, 0]))
    channel.sendToQueue(queue, Buffer.from('text'), {
      contentType: 'text/plain',
      headers: { at: { '!': 'timestamp', value: 5 } },
    })
    const [bytes, text] = await take(consumer, 2)

    expect(bytes?.message).toEqual({
      headers: {},
      properties: { contentType: '', contentEncoding: '' },
      body: Uint8Array.of(0xff, 0xfe, 0),
    })
    expect(text?.message).toMatchObject({ body: 'text', properties: { contentType: 'text/plain' } })
  })

  it('writes headers that AMQP has no form for as JSON does, and refuses those that are too large', async () => {
    const queue = uniqueName('headers')
    const broker = await openBroker()
    const consumer = await broker.consume([queue])

    await broker.publish([outgoing(queue, 'a', { headers: { nan: Number.NaN, huge: -1e300 } })])
    const tooLarge = broker.publish([outgoing(queue, 'b', { headers: { text: 'x'.repeat(100_000) } })])

    await expect(tooLarge).rejects.toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
    expect((await takeOne(consumer)).message.headers).toEqual({ nan: null, huge: -1e300 })
    await publishBodies(broker, queue, ['c'])
    expect(bodies([await takeOne(consumer)])).toEqual(['c'])
  })

  for (const kind of ['classic', 'quorum']) {
    it(`counts how many consumers were lost with a message (${kind} queues)`, async () => {
      const queue = uniqueName('lost')
      const broker = await openBroker(`?queue_type=${kind}`)
      await publishBodies(broker, queue, ['a'])

      await loseWith(broker, queue, 3)
      const consumer = await broker.consume([queue])
      const fourth = await takeOne(consumer)
      expect(fourth.deliveryCount).toBe(4)
      await fourth.release(20)
      await takeOne(consumer)
      await consumer.close()

      const again = await takeOne(await broker.consume([queue]))
      expect(again.deliveryCount).toBe(4)
      expect(again.message).toMatchObject({ body: 'a', headers: {} })
      expect(again.message.properties).toEqual(outgoing(queue, 'a').properties)
    })
  }

  it('gives a delayed message back as it was published', async () => {
    const queue = uniqueName('delayed')
    const broker = await openBroker()
    const consumer = await broker.consume([queue])
    const message = { ...outgoing(queue, 'later', { headers: { task: 'pick' } }), delayMs: 350 }
    const properties = { ...message.properties, expirationMs: 3_600_000, priority: 2 }

    await broker.publish([{ ...message, properties }])

    const delivery = await takeOne(consumer)
    expect(delivery.message).toEqual({ headers: { task: 'pick' }, properties, body: 'later' })
  })

  it('delays messages for the queue they are for, and for no other of a similar name', async () => {
    const word = uniqueName('orders')
    const queues = [
      word,
      `eu.${word}`,
      `${word}.eu`,
      `*.${word}`,
      `${word}.#`,
      `${word}%2Eeu`,
      `${word}-${'x'.repeat(200)}`,
    ]
    const broker = await openBroker()
    const consumers = await Promise.all(queues.map((queue) => broker.consume([queue])))

    await broker.publish(queues.map((queue) => outgoing(queue, queue, { delayMs: 50 })))
    const received = await Promise.all(consumers.map(takeOne))

    expect(bodies(received)).toEqual(queues)
    const left = await Promise.all(consumers.map((consumer) => consumer.fetch(1, { waitMs: 0 })))
    expect(left.flat()).toEqual([])
  })

  it.each([
    ['in few queues and too early, when its ETA tells whoever receives it to wait for the rest', 60_000, 51_200],
    ['to the end, when that is near', 15_000, 15_000],
  ])('keeps a message back %s', (_what, delayMs, firstMs) => {
    const nowMs = Date.parse('2026-03-29T01:00:00Z')
    const kept = (headers: object, delay = delayMs): number => {
      const message = outgoing('orders', 'later', { delayMs: delay, headers: { ...headers } })
      const stops = encodeMessage(message, { largest: 1_000_000, nowMs }).delay?.stops ?? []
      return stops.reduce((sum, { place, digit }) => sum + digit * 32 ** place * 10, 0)
    }

    expect(kept({ eta: new Date(nowMs + delayMs).toISOString() })).toBe(firstMs)
    // As Python writes it, and reckoned a moment ago.
    expect(kept({ eta: '2026-03-29T01:01:00.000321' }, 60_000 + 7)).toBe(51_200)
    // An ETA that is over is not what keeps it back.
    expect(kept({ eta: new Date(nowMs - 1).toISOString() })).toBe(delayMs)
    expect(kept({ eta: null })).toBe(delayMs)
  })

  it('strips what dead-lettering adds from what is published again, so that it may come back', async () => {
    const queue = uniqueName('cycle')
    const broker = await openBroker()
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, ['a'])

    for (const _ of range(4)) await (await takeOne(consumer)).release(10)

    expect((await takeOne(consumer)).message.headers).toEqual({})
  })

  it('gives messages back that were pushed too late for a fetch, when no other fetch comes', async () => {
    const queue = uniqueName('pushed')
    const broker = await openBroker()
    const busy = await broker.consume([queue])
    await publishBodies(broker, queue, ['a'])
    expect(await busy.fetch(10)).toHaveLength(1)

    await publishBodies(broker, queue, ['b', 'c', 'd'])
    expect(bodies(await busy.fetch(1))).toEqual(['b'])

    const idle = await broker.consume([queue])
    const taken = await take(idle, 2)
    expect(bodies(taken)).toEqual(['c', 'd'])
    expect(taken.map(({ deliveryCount }) => deliveryCount)).toEqual([1, 1])
  })

  it('keeps no more from others than its fetches ask for', async () => {
    const queue = uniqueName('fair')
    const broker = await openBroker()
    const [one, other] = await Promise.all([broker.consume([queue]), broker.consume([queue])])
    await publishBodies(broker, queue, range(10).map(String))

    await take(one as Consumer, 3)

    expect(await take(other as Consumer, 7)).toHaveLength(7)
  })

  it('goes on at a narrow fetch after wide ones, and at a wide one after narrow ones', async () => {
    const queue = uniqueName('wide')
    const broker = await openBroker()
    const consumer = await broker.consume([queue])
    await publishBodies(broker, queue, range(400).map(String))

    const taken: string[] = []
    for (const max of [1, 1, 1, 2, 50, 1, 100, 3, 200]) {
      const deliveries = await take(consumer, max)
      taken.push(...bodies(deliveries))
      if (max !== 100) await Promise.all(deliveries.map((delivery) => delivery.ack()))
    }

    expect(taken).toEqual(range(359).map(String))
  })

  it('publishes all of an atomic call or nothing, delayed messages too', async () => {
    const [queue, next] = [uniqueName('atomic'), uniqueName('atomic')]
    const broker = await openBroker()
    const consumer = await broker.consume([queue, next])

    const messages = [outgoing(queue, 'a'), outgoing(next, 'b'), outgoing(queue, 'c', { delayMs: 30 })]
    await broker.publish(messages, { atomic: true })

    expect(bodies(await take(consumer, 3)).sort()).toEqual(['a', 'b', 'c'])
    const tooLarge = outgoing(queue, 'd', { headers: { text: 'x'.repeat(100_000) } })
    await expect(broker.publish([outgoing(queue, 'e'), tooLarge], { atomic: true })).rejects.toMatchObject({
      code: 'PAYLOAD_TOO_LARGE',
    })
    expect(await consumer.fetch(1, { waitMs: 0 })).toEqual([])
  })

  it('shows what is ready without taking it', async () => {
    const queue = uniqueName('peeked')
    const broker = await openBroker()
    const before = Date.now()
    await broker.publish([outgoing(queue, 'a', { headers: { task: 'pick', args: [1, null] } })])

    const [peeked] = await broker.peek(queue, 10)

    expect(peeked).toMatchObject({ queue, state: 'ready', body: 'a', headers: { task: 'pick', args: [1, null] } })
    expect(peeked?.properties).toEqual(outgoing(queue, 'a').properties)
    // AMQP's timestamps are whole seconds.
    expect(peeked?.at).toBeGreaterThanOrEqual(before - 1_000)
    expect(peeked?.at).toBeLessThanOrEqual(Date.now())
    expect(await broker.depth(queue)).toMatchObject({ ready: 1 })
  })

  it('is told by the server which queue has no room', async () => {
    const queue = uniqueName('full')
    const channel = await openChannel()
    await channel.assertQueue(queue, { durable: true, maxLength: 2, overflow: 'reject-publish' })
    const broker = await openBroker()

    await publishBodies(broker, queue, ['a', 'b'])

    await expect(publishBodies(broker, queue, ['c'])).rejects.toMatchObject({ code: 'STORAGE_FULL' })
    expect(await broker.depth(queue)).toMatchObject({ ready: 2 })
  })
})
