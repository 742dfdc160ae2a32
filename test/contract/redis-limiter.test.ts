import { describe, expect, it } from 'vitest'
import { RedisLimiter } from '../../src/drivers/redis/index.ts'
import { limiterContract, ManualClock } from '../../src/testing/index.ts'
import { describeWith, startProxy } from '../servers/index.ts'
import { connections, raw, redisClient, redisServer } from './redis-fixture.ts'

describeWith('redis', 'with a server', () => {
  const server = redisServer()
  const keys = (name: string) => raw(server(), async (redis) => (await redis.keys(`celeriac:*:${name}`)).sort())

  limiterContract('redis', {
    leaseMs: 1_000,
    open: async () => {
      const { open, time } = connections()
      const connect = () => open(new RedisLimiter(redisClient(server().url)))
      return { ...time, limiter: await connect(), peer: connect, kept: async (name) => (await keys(name)).length }
    },
  })

  describe('redis limiter', () => {
    it('goes by the clock of the server, not by those of its clients', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const clock = new ManualClock(0)
      const limiter = await open(new RedisLimiter(redisClient(server().url)))
      const astray = await open(new RedisLimiter(redisClient(server().url, { clock })))
      const ask = { key: 'astray', limit: 1, perMs: 60_000, maxWaitMs: 600_000 }

      await limiter.reserve([ask])
      const [waitMs] = await astray.reserve([ask])

      expect(waitMs).toBeGreaterThan(30_000)
      expect(waitMs).toBeLessThanOrEqual(60_000)
    })

    it('lets every key go by itself when its time is over', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const limiter = await open(new RedisLimiter(redisClient(server().url)))

      await limiter.reserve(Array(3).fill({ key: 'timed', limit: 1, perMs: 60_000, maxWaitMs: 600_000 }))
      await limiter.acquire([{ key: 'timed', limit: 2, holder: 'long' }], 60_000)
      await limiter.acquire([{ key: 'timed', limit: 2, holder: 'short' }], 1_000)
      await limiter.claim('timed', 'a', 60_000)

      const found = await keys('timed')
      const lives = await raw(server(), (redis) => Promise.all(found.map((key) => redis.pttl(key))))
      expect(found).toEqual(['celeriac:bucket:timed', 'celeriac:claim:timed', 'celeriac:slots:timed'])
      expect(lives.map((ms) => Math.ceil(ms / 60_000))).toEqual([3, 1, 1])
    })

    it('gives a slot and a claim once, and wastes at most a token, where the first answer was lost', async (context) => {
      const { open, time } = connections()
      context.onTestFinished(time.close)
      const proxy = await startProxy(server().port)
      const limiter = await open(new RedisLimiter(redisClient(`redis://127.0.0.1:${proxy.port}/0`)))
      const key = 'unanswered'

      proxy.delay(1_000)
      const answers = Promise.all([
        limiter.reserve([{ key, limit: 1, perMs: 60_000, maxWaitMs: 600_000 }]),
        limiter.acquire([{ key, limit: 1, holder: 'a' }], 60_000),
        limiter.claim(key, 'a', 60_000),
      ])
      await expect.poll(async () => (await keys(key)).length, { timeout: 5_000 }).toBe(3)
      proxy.delay(0)
      proxy.cut()

      const [[waitMs], acquired, claimed] = await answers
      expect(Math.round(Number(waitMs) / 60_000)).toBe(1)
      expect([acquired, claimed]).toEqual([[true], 'a'])
      expect(await limiter.acquire([{ key, limit: 1, holder: 'b' }], 60_000)).toEqual([false])
    })
  })
})
