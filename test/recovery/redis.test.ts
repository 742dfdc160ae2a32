import { Redis } from 'ioredis'
import { beforeAll, expect, it, onTestFinished } from 'vitest'
import { type BusMessage, controlTopic } from '../../src/broker/bus.ts'
import { systemClock } from '../../src/clock.ts'
import { RedisBus, RedisClient } from '../../src/drivers/redis/index.ts'
import { Celeriac } from '../../src/index.ts'
import { range } from '../../src/testing/contract.ts'
import { describeWith, type RedisServer, startProxy, startRedis, type TcpProxy } from '../servers/index.ts'
import { catchingUpMs, expectBeatsToCatchUp } from './beats.ts'
import { openShop, recoveredWithinMs, sendAlong, silent } from './shop.ts'

describeWith('redis-server', 'a connection to Redis', () => {
  let server: RedisServer

  beforeAll(async () => {
    server = await startRedis({ appendonly: true, args: ['--appendfsync', 'always'] })
  })

  async function openProxy(): Promise<{ proxy: TcpProxy; url: string }> {
    const proxy = await startProxy(server.port)
    return { proxy, url: server.url.replace(`:${server.port}/`, `:${proxy.port}/`) }
  }

  /** A connection beside the application's, for staging. */
  function admin(of = server): Redis {
    const redis = new Redis(of.url)
    onTestFinished(() => redis.disconnect())
    return redis
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

  it('accepts nothing twice whose answer a broken connection swallowed', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url, { workerUrl: server.url })
    const along = sendAlong(shop)

    for (const _ of range(10)) {
      const before = shop.ran.length
      await expect.poll(() => shop.ran.length, { timeout: recoveredWithinMs }).toBeGreaterThan(before + 40)
      proxy.cut()
    }
    const accepted = await along.stop()

    await shop.expectRun(accepted)
    expect(shop.ran.filter((order) => order < 1_000_000)).toHaveLength(accepted.length)
  })

  it('notices a line that is dead without being closed, and comes back', async () => {
    const { proxy, url } = await openProxy()
    const shop = await openShop(url)

    proxy.stall()
    const sending = Promise.all(range(10).map((order) => shop.send(order)))
    await shop.expectLogged('did not answer')
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
    await shop.expectLogged('the connection to Redis broke')
    proxy.resume()

    await shop.expectRun([1])
  })

  it('comes back when every connection is killed, again and again', async () => {
    const shop = await openShop(server.url)
    const redis = admin()
    const along = sendAlong(shop)

    for (const _ of range(20)) {
      const before = shop.ran.length
      await expect.poll(() => shop.ran.length, { timeout: recoveredWithinMs }).toBeGreaterThan(before)
      await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
      await redis.call('CLIENT', 'KILL', 'TYPE', 'pubsub', 'SKIPME', 'yes')
    }
    const accepted = await along.stop()

    await shop.expectRun(accepted)
    await shop.expectWell()
  })

  it('goes on after the server was paused', async () => {
    const shop = await openShop(server.url)

    await admin().call('CLIENT', 'PAUSE', '6000', 'ALL')
    const sending = Promise.all(range(10).map((order) => shop.send(order)))

    await sending
    await shop.expectRun(range(10))
    await shop.expectWell()
  })

  it('goes on after the server was frozen', async () => {
    const own = await startRedis()
    const shop = await openShop(own.url)

    own.freeze()
    const sending = Promise.all(range(10).map((order) => shop.send(order)))
    await shop.expectLogged('did not answer')
    own.thaw()

    await sending
    await shop.expectRun(range(10))
    await shop.expectWell()
  })

  it('finds what was accepted when the server is killed and started again', async () => {
    const own = await startRedis({ appendonly: true, args: ['--appendfsync', 'always'] })
    const shop = await openShop(own.url)
    const along = sendAlong(shop)

    for (const _ of range(2)) {
      const before = shop.ran.length
      await expect.poll(() => shop.ran.length, { timeout: recoveredWithinMs }).toBeGreaterThan(before + 100)
      await own.kill()
      await own.restart()
    }
    const accepted = await along.stop()

    await shop.expectRun(accepted)
    await shop.expectWell()
  })

  it('waits for a server that is away, then says clearly that nothing was accepted', async () => {
    const own = await startRedis()
    const shop = await openShop(own.url, { publishTimeout: '300ms' })
    await own.stop()

    await expect(shop.send(1)).rejects.toMatchObject({
      code: expect.stringMatching(/BROKER_UNAVAILABLE|PUBLISH_TIMEOUT/),
      message: expect.stringContaining(`127.0.0.1:${own.port}`),
    })

    await own.restart()
    await expect
      .poll(
        () =>
          shop.send(2).then(
            () => true,
            () => false,
          ),
        { timeout: recoveredWithinMs },
      )
      .toBe(true)
    await shop.expectRun([2])
  })

  it('refuses more than it may keep while the server is away', async () => {
    const own = await startRedis()
    const shop = await openShop(own.url, { publishTimeout: '2000ms' })
    await own.stop()

    const sent = range(12_000).map((order) =>
      shop.send(order).then(
        () => 'sent',
        (error) => error.code,
      ),
    )
    const codes = new Set(await Promise.all(sent))

    expect(codes).toContain('BROKER_BUSY')
    expect(codes).not.toContain('sent')
  })

  it('names a wrong password at once, and comes back when a login that was withdrawn is mended', async () => {
    const own = await startRedis({ password: 'right' })
    const wrong = new Celeriac('wrong', { broker: own.url.replace('right', 'wrong') })
    await expect(wrong.open()).rejects.toMatchObject({ code: 'BROKER_AUTH' })

    const redis = admin(own)
    await redis.call('ACL', 'SETUSER', 'shop', 'on', '>open', '~*', '&*', '+@all')
    const shop = await openShop(own.url.replace(':right@', 'shop:open@'))
    await redis.call('ACL', 'SETUSER', 'shop', 'resetpass', '>other')
    await redis.call('CLIENT', 'KILL', 'USER', 'shop')
    const sending = shop.send(1)
    await shop.expectLogged('broke')
    await redis.call('ACL', 'SETUSER', 'shop', '>open')

    await sending
    await shop.expectRun([1])
  })

  it('waits while its server is a replica, and goes on when it is promoted', async () => {
    const [own, master] = [await startRedis(), await startRedis()]
    const shop = await openShop(own.url)
    const redis = admin(own)
    const before = await redis.lrange(shop.queue, 0, -1)
    expect(before).toEqual([])

    await redis.call('CONFIG', 'SET', 'replica-read-only', 'yes')
    await redis.call('REPLICAOF', '127.0.0.1', String(master.port))
    const sending = Promise.all(range(5).map((order) => shop.send(order)))
    await shop.expectLogged('broke')
    await redis.call('REPLICAOF', 'NO', 'ONE')

    await sending
    await shop.expectRun(range(5))
    await shop.expectWell()
  })

  async function openBus(): Promise<RedisBus> {
    const options = { resultExpiresMs: 60_000, publishTimeoutMs: 10_000, clock: systemClock, logger: silent }
    const bus = new RedisBus(new RedisClient({ url: server.url, ...options }))
    onTestFinished(() => bus.close())
    await bus.open()
    return bus
  }

  it('hears the bus again after its connections were killed', async () => {
    const bus = await openBus()
    const redis = admin()
    const heard: unknown[] = []
    await bus.subscribe(['news', controlTopic, 'celeryev.worker.#'], ({ payload }) => heard.push(payload))

    for (const type of ['pubsub', 'normal']) await redis.call('CLIENT', 'KILL', 'TYPE', type, 'SKIPME', 'yes')

    const hears = async (): Promise<unknown[]> => {
      await bus.publish('news', 'after').catch(() => undefined)
      await bus.publish(controlTopic, { method: 'after' }).catch(() => undefined)
      await bus.publish('celeryev.worker.online', { type: 'after' }).catch(() => undefined)
      return heard
    }
    const all = expect.arrayContaining(['after', { method: 'after' }, { type: 'after' }])
    await expect.poll(hears, { timeout: recoveredWithinMs }).toEqual(all)
  })

  it('goes on gathering replies after its connections were killed', async () => {
    const bus = await openBus()
    const other = await openBus()
    const redis = admin()
    let ask: BusMessage | undefined
    await other.subscribe([controlTopic], (message) => {
      ask = message
    })

    const asking = bus.request(controlTopic, { method: 'ping' }, { timeoutMs: recoveredWithinMs, replies: 2 })
    await expect.poll(() => ask).toBeDefined()
    await ask?.reply?.({ first: 'before' })
    await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await ask?.reply?.({ second: 'after' })

    expect(await asking).toEqual([{ first: 'before' }, { second: 'after' }])
    await expect.poll(() => redis.keys('*reply.celery.pidbox')).toEqual([])
  })

  it('waits while the memory is full, and goes on when there is room', async () => {
    const own = await startRedis({ args: ['--maxmemory-policy', 'noeviction'] })
    const shop = await openShop(own.url)
    const redis = admin(own)
    const patient = new Celeriac('patient', { broker: own.url, publishTimeout: '300ms' })
    onTestFinished(() => patient.close())
    await patient.open()

    await redis.call('CONFIG', 'SET', 'maxmemory', '1mb')
    const sending = Promise.all(range(5).map((order) => shop.send(order)))
    await expect(patient.remote<[number], void>('pick').delay(9)).rejects.toMatchObject({ code: 'STORAGE_FULL' })
    await redis.call('CONFIG', 'SET', 'maxmemory', '0')

    await sending
    await shop.expectRun(range(5))
    await shop.expectWell()
  })

  it(
    'is caught up with by beats when the server was away for a while',
    () => expectBeatsToCatchUp(server),
    catchingUpMs,
  )
})
