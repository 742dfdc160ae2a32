/** What the bus on RabbitMQ does beside strangers. Its contract is in `rabbitmq.test.ts`. */
import { type Channel, connect } from 'amqplib'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { type BusMessage, controlTopic } from '../../src/broker/bus.ts'
import { askerOf } from '../../src/broker/celery-asker.ts'
import { RabbitmqBus, RabbitmqClient } from '../../src/drivers/rabbitmq/index.ts'
import { describeWith, type Rabbitmq, rabbitmq } from '../servers/index.ts'

const json = { contentType: 'application/json' }

describeWith('rabbitmq', 'the bus on RabbitMQ', () => {
  let server: Rabbitmq

  beforeAll(async () => {
    server = await rabbitmq()
  })

  async function openBus(url = server.url): Promise<RabbitmqBus> {
    const logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }
    const bus = new RabbitmqBus(new RabbitmqClient({ url, logger }))
    onTestFinished(() => bus.close())
    await bus.open()
    return bus
  }

  /** Of a stranger. */
  async function openChannel(): Promise<Channel> {
    const connection = await connect(server.url)
    onTestFinished(() => connection.close().catch(() => undefined))
    return connection.createChannel()
  }

  /** Names, without those that others still hold. */
  async function queues(ending: string): Promise<string[]> {
    const all = (await server.api('GET', `/api/queues/${server.vhost}?disable_stats=true`)) as { name: string }[]
    return all.map(({ name }) => name).filter((name) => name.endsWith(ending))
  }

  it("passes over what others publish on Celery's exchanges", async () => {
    const bus = await openBus()
    const heard: unknown[] = []
    await bus.subscribe([controlTopic, 'celeryev.worker.#'], ({ payload }) => heard.push(payload))
    const channel = await openChannel()
    const publish = (text: string, options: object): void => {
      channel.publish('celery.pidbox', '', Buffer.from(text), options)
      channel.publish('celeryev', 'worker.heartbeat', Buffer.from(text), options)
    }

    for (const text of ['', 'no json', '7', 'null', '"text"', '{', '\xff']) publish(text, json)
    for (const options of [{}, { contentType: 'application/x-python-serialize' }]) publish('{}', options)
    channel.publish('celery.pidbox', '', Buffer.from('[]'), json)
    channel.publish('celery.pidbox', 'a key', Buffer.from('{"reply_to": 7, "ticket": {}}'), json)
    channel.publish('celeryev', 'worker.heartbeat', Buffer.from('{"type": "NaN", "freq": NaN}'), json)
    await bus.publish('celeryev.worker.heartbeat', { type: 'last' })

    await expect.poll(() => heard).toContainEqual({ type: 'last' })
    await expect.poll(() => heard).toHaveLength(3)
    expect(heard).toContainEqual({ reply_to: 7, ticket: {} })
    expect(heard).toContainEqual({ type: 'NaN', freq: null })
  })

  it("passes over what is no reply in an asker's queue, and replies to others", async () => {
    const bus = await openBus()
    let ask: BusMessage | undefined
    await bus.subscribe([controlTopic], (message) => {
      ask = message
    })
    const channel = await openChannel()

    const asking = bus.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })
    await expect.poll(() => ask).toBeDefined()
    const key = askerOf(ask?.payload as object)?.routingKey ?? ''
    for (const text of ['', 'no json', '7', '{"w1@h": "of another ticket"}']) {
      channel.publish('reply.celery.pidbox', key, Buffer.from(text), json)
    }
    await ask?.reply?.({ 'w1@h': 'mine' })

    expect(await asking).toEqual([{ 'w1@h': 'mine' }])
  })

  it("refuses to publish what Celery's workers could not bear", async () => {
    const bus = await openBus()
    const refused = { code: 'PAYLOAD_INVALID' }

    for (const payload of [undefined, null, 7, 'text', [], new Date(0)]) {
      await expect(bus.publish(controlTopic, payload)).rejects.toMatchObject(refused)
      await expect(bus.request(controlTopic, payload, { timeoutMs: 60_000 })).rejects.toMatchObject(refused)
    }
    for (const payload of ['text', null, {}, [{ type: 'task-sent' }, {}], [null]]) {
      await expect(bus.publish('celeryev.task.multi', payload)).rejects.toMatchObject(refused)
    }
    await expect(bus.request('celeryev.task.sent', {}, { timeoutMs: 1 })).rejects.toMatchObject({ code: 'UNSUPPORTED' })
  })

  it("uses Celery's exchanges as they are, where somebody made them otherwise", async () => {
    const channel = await openChannel()
    await channel.deleteExchange('celery.pidbox')
    await channel.assertExchange('celery.pidbox', 'fanout', { durable: true })
    onTestFinished(async () => {
      await channel.deleteExchange('celery.pidbox')
    })
    const bus = await openBus()
    const heard: unknown[] = []

    await bus.subscribe([controlTopic], ({ payload }) => heard.push(payload))
    await bus.publish(controlTopic, { method: 'ping' })

    await expect.poll(() => heard).toEqual([{ method: 'ping' }])
  })

  it('says that it may not hear events, and hears all else', async () => {
    const user = `user-${server.vhost}`
    const permit = (names: string): Promise<unknown> =>
      server.api('PUT', `/api/permissions/${server.vhost}/${user}`, { configure: names, write: '.*', read: names })
    await server.api('PUT', `/api/users/${user}`, { password: 'secret', tags: '' })
    onTestFinished(async () => void (await server.api('DELETE', `/api/users/${user}`)))
    await permit('^(?!celeryev).*')
    const bus = await openBus(server.url.replace(/\/\/.*@/, `//${user}:secret@`))
    const heard: unknown[] = []
    const hear = ({ payload }: BusMessage): unknown => heard.push(payload)
    await bus.subscribe(['news'], hear)

    await expect(bus.subscribe(['celeryev.#'], hear)).rejects.toMatchObject({ code: 'BROKER_AUTH' })
    await bus.publish('news', 'heard')
    await expect.poll(() => heard).toEqual(['heard'])

    await permit('.*')
    await bus.subscribe(['celeryev.#'], hear)
    await bus.publish('celeryev.task.sent', { type: 'task-sent' })
    await expect.poll(() => heard).toEqual(['heard', { type: 'task-sent' }])
  })

  it("wants no more of Celery's events than its subscriptions cover", async () => {
    const bus = await openBus()
    const bindings = async (): Promise<string[]> => {
      const all = await server.api('GET', `/api/exchanges/${server.vhost}/celeryev/bindings/source`)
      return (all as { routing_key: string }[]).map(({ routing_key: key }) => key).sort()
    }
    const workers = await bus.subscribe(['celeryev.worker.#'], () => undefined)
    await bus.subscribe(['celeryev.worker.#', 'celeryev.task.sent'], () => undefined)
    const all = await bus.subscribe(['#'], () => undefined)
    expect(await bindings()).toEqual(['#', 'task.sent', 'worker.#'])

    await all.close()
    await workers.close()

    await expect.poll(bindings).toEqual(['task.sent', 'worker.#'])
  })

  it('leaves no queue behind when it closes', async () => {
    const bus = await openBus()
    await bus.subscribe([controlTopic, 'celeryev.#', 'ours'], ({ reply }) => void reply?.({ 'ts@h': 'me' }))
    await bus.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })
    expect(await queues('.reply.celery.pidbox')).toHaveLength(1)

    await bus.close()

    await expect.poll(() => queues('')).toEqual([])
  })
})
