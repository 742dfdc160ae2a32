import { setTimeout as sleep } from 'node:timers/promises'
import { type Channel, connect } from 'amqplib'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { controlTopic } from '../../src/broker/bus.ts'
import { RabbitmqBus, RabbitmqClient } from '../../src/drivers/rabbitmq/index.ts'
import { Celeriac } from '../../src/index.ts'
import { range } from '../../src/testing/contract.ts'
import { describeWith, type Rabbitmq, rabbitmq, startProxy, type TcpProxy } from '../servers/index.ts'
import { openShop, recoveredWithinMs, sendAlong, silent } from './shop.ts'

describeWith('rabbitmq', 'a connection to RabbitMQ', () => {
  let server: Rabbitmq

  beforeAll(async () => {
    server = await rabbitmq()
  })

  /** A channel beside the application's, for staging. */
  async function openChannel(): Promise<Channel> {
    const connection = await connect(server.url)
    connection.on('error', () => undefined)
    onTestFinished(() => connection.close().catch(() => undefined))
    return connection.createChannel()
  }

  async function openProxy(): Promise<{ proxy: TcpProxy; url: string }> {
    const proxy = await startProxy(server.port)
    return { proxy, url: server.url.replace(`:${server.port}/`, `:${proxy.port}/`) }
  }

  it('comes back after resets, with everything that was accepted', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url)
    const along = sendAlong(shop)

    for (const _ of range(3)) {
      const before = shop.ran.length
      await expect.poll(() => shop.ran.length, { timeout: recoveredWithinMs }).toBeGreaterThan(before + 100)
      proxy.cut()
    }
    const accepted = await along.stop()

    expect(accepted.length).toBeGreaterThan(100)
    await shop.expectRun(accepted)
  })

  it('notices a line that is dead without being closed, and comes back', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url)

    proxy.stall()
    const sending = Promise.all(range(10).map((order) => shop.send(order)))
    await shop.expectLogged('nothing was heard')
    proxy.resume()

    await sending
    await shop.expectRun(range(10))
    await shop.expectWell()
  })

  it('comes back for an idle worker whose line died while nothing was under way', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(server.url, { workerUrl: url })

    proxy.stall()
    await shop.send(1)
    await shop.expectLogged('nothing was heard')
    proxy.resume()

    await shop.expectRun([1])
  })

  it('leaves a connection alone that is idle', async () => {
    const { proxy, url } = await openProxy()
    // The thread that answers pings connects when it can.
    const shop = await openShop(url, { remoteControl: false })
    const before = proxy.accepted

    // Longer than it takes to ask, and to give up.
    await sleep(5_000)

    expect(proxy.accepted).toBe(before)
    await shop.expectWell()
  })

  it('publishes what waited while the server refused connections', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url, { workerUrl: server.url })

    proxy.refuse(true)
    proxy.cut()
    const sending = range(200).map((order) => shop.send(order))
    await shop.expectLogged('cannot be reached')
    proxy.refuse(false)

    await Promise.all(sending)
    await shop.expectRun(range(200))
  })

  it('refuses what waited for too long, and says that nothing was accepted', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url, { workerUrl: server.url, publishTimeout: '300ms' })

    proxy.refuse(true)
    proxy.cut()
    await shop.expectLogged('cannot be reached')
    const refused = shop.send(1)

    await expect(refused).rejects.toMatchObject({
      code: 'PUBLISH_TIMEOUT',
      message: expect.stringContaining('nothing was accepted'),
    })
    proxy.refuse(false)
    const sent = (): Promise<boolean> =>
      shop.send(2).then(
        () => true,
        () => false,
      )
    await expect.poll(sent, { timeout: recoveredWithinMs }).toBe(true)
    await shop.expectRun([2])
    expect(shop.ran).not.toContain(1)
  })

  it('takes in no more than its buffer while it cannot publish', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url, { workerUrl: server.url })

    proxy.refuse(true)
    proxy.cut()
    await shop.expectLogged('cannot be reached')
    const sending = Promise.allSettled(range(10_100).map((order) => shop.send(order)))
    proxy.refuse(false)

    const refused = (await sending).filter((outcome) => outcome.status === 'rejected')
    expect(refused.map(({ reason }) => reason.code)).toEqual(range(100).map(() => 'BROKER_BUSY'))
    await shop.expectRun(range(10_000))
  })

  it('consumes again when its queue was deleted', async () => {
    const shop = await openShop(server.url)
    const channel = await openChannel()

    await channel.deleteQueue(shop.queue)

    await shop.expectLogged('a queue is deleted')
    await shop.expectWell()
  })

  it('publishes to a queue that was deleted since its last message', async () => {
    const shop = await openShop(server.url)
    const channel = await openChannel()
    const remote = shop.sender.remote<[number], void>('pick', { queue: 'deleted' })
    await remote.delay(1)

    await channel.deleteQueue('deleted')
    await remote.delay(2)

    expect(await channel.checkQueue('deleted')).toMatchObject({ messageCount: 1 })
  })

  it('delays messages for a queue that was deleted since its last message', async () => {
    const shop = await openShop(server.url)
    const channel = await openChannel()
    const remote = shop.sender.remote<[number], void>('pick', { queue: 'delayed-deleted' })
    await remote.applyAsync([1], { countdown: '20ms' })

    await channel.deleteQueue('delayed-deleted')
    await remote.delay(2)
    await remote.applyAsync([3], { countdown: '100ms' })

    const ready = async (): Promise<number> => (await channel.checkQueue('delayed-deleted')).messageCount
    await expect.poll(ready, { timeout: recoveredWithinMs }).toBeGreaterThanOrEqual(2)
  })

  it('uses a queue as it is that others declared with arguments of their own', async () => {
    const channel = await openChannel()
    const queue = 'declared-otherwise'
    await channel.assertQueue(queue, { durable: true, maxPriority: 5, messageTtl: 3_600_000 })
    const ran: number[] = []
    const app = new Celeriac('worker', { broker: server.url, defaultQueue: queue })
    onTestFinished(() => app.close())
    const pick = app.task('pick', (order: number) => ran.push(order))

    await app.worker()
    await pick.delay(1)

    await expect.poll(() => ran).toEqual([1])
  })

  it('says at once that the login is refused, and which vhost is missing', async () => {
    const open = async (url: string): Promise<unknown> => {
      const app = new Celeriac('sender', { broker: url })
      onTestFinished(() => app.close())
      return app.open()
    }

    await expect(open(server.url.replace(':guest@', ':wrong@'))).rejects.toMatchObject({ code: 'BROKER_AUTH' })
    await expect(open(server.url.replace(server.vhost, 'missing'))).rejects.toThrow(/no vhost 'missing'/)
  })

  it('comes back when its user, who was taken away, is there again', async () => {
    const user = `user-${server.vhost}`
    const allow = async (): Promise<void> => {
      await server.api('PUT', `/api/users/${user}`, { password: 'secret', tags: '' })
      const permissions = { configure: '.*', write: '.*', read: '.*' }
      await server.api('PUT', `/api/permissions/${server.vhost}/${user}`, permissions)
    }
    onTestFinished(async () => {
      await server.api('DELETE', `/api/users/${user}`)
    })
    await allow()
    const shop = await openShop(server.url.replace(/\/\/.*@/, `//${user}:secret@`))

    await server.api('DELETE', `/api/users/${user}`)
    await shop.expectLogged('refused the login')
    const sending = shop.send(1)
    await allow()

    await sending
    await shop.expectRun([1])
  })

  it('hears the bus again after a reset', async () => {
    const { proxy, url } = await openProxy()
    const [near, far] = [server.url, url].map(
      (each) => new RabbitmqBus(new RabbitmqClient({ url: each, logger: silent })),
    )
    if (near === undefined || far === undefined) expect.fail('there are two buses')
    for (const bus of [near, far]) {
      onTestFinished(() => bus.close())
      await bus.open()
    }
    const heard: unknown[] = []
    const topics = ['news', controlTopic, 'celeryev.worker.#']
    await far.subscribe(topics, ({ payload, reply }) => {
      heard.push(payload)
      void reply?.({ far: 'hears' })
    })
    const before = await far.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })

    proxy.cut()

    const hears = async (): Promise<unknown[]> => {
      await near.publish('news', 'after')
      await near.publish('celeryev.worker.online', { type: 'after' })
      return heard
    }
    await expect
      .poll(hears, { timeout: recoveredWithinMs })
      .toEqual(expect.arrayContaining(['after', { type: 'after' }]))
    const after = await far.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })
    expect([before, after]).toEqual([[{ far: 'hears' }], [{ far: 'hears' }]])
  })

  it('brings results again after a reset', async () => {
    const { proxy, url } = await openProxy()
    const queue = 'with-results'
    const worker = new Celeriac('worker', { broker: server.url, results: true, defaultQueue: queue, logger: silent })
    const sender = new Celeriac('sender', { broker: url, results: true, defaultQueue: queue, logger: silent })
    onTestFinished(async () => {
      await sender.close()
      await worker.close()
    })
    let end = (): void => undefined
    const mayEnd = new Promise<void>((resolve) => {
      end = resolve
    })
    worker.task('double', async (n: number) => {
      await mayEnd
      return 2 * n
    })
    await worker.worker()
    const results = await Promise.all(range(5).map((n) => sender.remote<[number], number>('double').delay(n)))

    proxy.cut()
    end()

    const values = results.map((result) => result.get({ timeout: '30s' }))
    expect(await Promise.all(values)).toEqual([0, 2, 4, 6, 8])
  })
})
