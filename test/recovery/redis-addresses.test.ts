/** Every way to a Redis that a URL can name: an application does its whole work over each. */
import { Redis } from 'ioredis'
import { expect, it, onTestFinished } from 'vitest'
import { Celeriac, chain } from '../../src/index.ts'
import { range } from '../../src/testing/contract.ts'
import { describeWith, type RedisServer, startRedis, startSentinel } from '../servers/index.ts'
import { openShop, silent } from './shop.ts'

function admin({ socketPath }: RedisServer): Redis {
  const redis = new Redis({ path: socketPath, protocol: 2 })
  redis.on('error', () => undefined)
  onTestFinished(() => redis.disconnect())
  return redis
}

/** Sends, runs, retries, delays, chains, keeps results, looks at queues, and empties them. */
async function expectWork(url: string): Promise<void> {
  const app = new Celeriac('shop', { broker: url, results: true, logger: silent })
  onTestFinished(() => app.close())
  let failures = 0
  const pick = app.task('pick', { autoretryFor: [Error], retryBackoff: '1ms' }, async (order: number) => {
    failures += 1
    if (failures === 1) throw new Error('the first always fails')
    return order + 1
  })
  const pack = app.task('pack', async (order: number) => order * 10)
  await app.open()
  const waiting = await pick.delay(1)
  const later = await pick.applyAsync([2], { countdown: '1h' })
  expect(await app.broker.depth('celery')).toEqual({ ready: 1, delayed: 1, inFlight: 0 })
  expect(await app.broker.peek('celery', 10)).toMatchObject([
    { state: 'ready', headers: { id: waiting.id } },
    { state: 'delayed', headers: { id: later.id } },
  ])
  const worker = await app.worker()
  expect(await waiting.get({ timeout: '25s' })).toBe(2)
  const soon = await pick.applyAsync([3], { countdown: '50ms' })
  expect(await soon.get({ timeout: '25s' })).toBe(4)
  const many = await pick.delayMany(range(500).map((order): [number] => [order]))
  expect(await Promise.all(many.map((result) => result.get({ timeout: '25s' })))).toEqual(range(500).map((n) => n + 1))
  const chained = await chain(pick.s(4), pack.s()).delay()
  expect(await chained.get({ timeout: '25s' })).toBe(50)
  await worker.stop()
  expect(await app.broker.purge('celery')).toBe(1)
}

describeWith('redis-server', 'an application on Redis', () => {
  it('works over TLS, trusting the authority it is told of, and no other', async () => {
    const { url, certificate } = await startRedis({ tls: true })

    await expectWork(`${url}?ca=${encodeURIComponent(certificate?.certFile ?? '')}`)

    const stranger = new Celeriac('stranger', { broker: url, logger: silent })
    await expect(stranger.open()).rejects.toMatchObject({
      code: 'BROKER_UNAVAILABLE',
      message: expect.stringMatching(/certificate/),
    })
  })

  it('works over a unix socket, in another database', async () => {
    const server = await startRedis()

    await expectWork(`redis+socket://${server.socketPath}?db=3`)

    expect(await admin(server).dbsize()).toBe(0)
  })

  it('works with a user of its own, behind a prefix', async () => {
    const server = await startRedis()
    await admin(server).call('ACL', 'SETUSER', 'shop', 'on', '>a:b@c', '~shop:*', '&*', '+@all')

    await expectWork(`redis://shop:a%3Ab%40c@127.0.0.1:${server.port}/0?prefix=shop:`)

    const keys = await admin(server).keys('*')
    expect(keys.filter((key) => !key.startsWith('shop:'))).toEqual([])
  })

  it('works on a cluster, with all its keys in one slot', async () => {
    const nodes = [await startCluster(), await startCluster(), await startCluster()]
    const [first, ...others] = nodes.map(admin) as [Redis, ...Redis[]]
    for (const { port } of nodes.slice(1)) await first.call('CLUSTER', 'MEET', '127.0.0.1', port)
    const edges = [0, 5_461, 10_923, 16_384]
    for (const [index, redis] of [first, ...others].entries()) {
      await redis.call('CLUSTER', 'ADDSLOTSRANGE', edges[index] as number, (edges[index + 1] as number) - 1)
    }
    const states = (): Promise<unknown[]> =>
      Promise.all([first, ...others].map((redis) => redis.call('CLUSTER', 'INFO')))
    await expect
      .poll(async () => (await states()).filter((state) => !String(state).includes('cluster_state:ok')), {
        timeout: 25_000,
      })
      .toEqual([])

    await expectWork(`redis+cluster://${nodes.map(({ port }) => `127.0.0.1:${port}`).join(',')}`)

    const sizes = await Promise.all([first, ...others].map((redis) => redis.dbsize()))
    expect(sizes.filter((size) => size > 0)).toHaveLength(1)
  })

  it('works by a sentinel, and goes on with the replica that becomes master', async () => {
    const master = await startRedis()
    const replica = await startRedis({ replicaOf: master })
    const sentinel = await startSentinel(master)
    const asked = new Redis({ port: sentinel.port, protocol: 2 })
    onTestFinished(() => asked.disconnect())
    await expect
      .poll(async () => ((await asked.call('SENTINEL', 'REPLICAS', 'shop')) as unknown[]).length, { timeout: 25_000 })
      .toBe(1)
    const url = `sentinel://127.0.0.1:${sentinel.port}/0?master=shop`
    await expectWork(url)
    const shop = await openShop(url)
    const heir = admin(replica)
    await expect
      .poll(async () => String(await heir.info('replication')), { timeout: 25_000 })
      .toContain('master_link_status:up')

    await master.kill()
    await expect.poll(async () => String(await heir.info('replication')), { timeout: 25_000 }).toContain('role:master')
    await Promise.all(range(20).map((order) => shop.send(order)))

    await shop.expectRun(range(20))
  })
})

function startCluster(): Promise<RedisServer> {
  return startRedis({ args: ['--cluster-enabled', 'yes'] })
}
