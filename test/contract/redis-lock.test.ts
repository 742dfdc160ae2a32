import { describe, expect, it } from 'vitest'
import { RedisLock } from '../../src/drivers/redis/index.ts'
import { lockContract } from '../../src/testing/index.ts'
import { describeWith, startProxy } from '../servers/index.ts'
import { connections, raw, redisClient, redisServer } from './redis-fixture.ts'

describeWith('redis', 'with a server', () => {
  const server = redisServer()

  lockContract('redis', {
    leaseMs: 1_000,
    open: async () => {
      const { open, time } = connections()
      const connect = () => open(new RedisLock(redisClient(server().url)))
      return { ...time, lock: await connect(), peer: connect }
    },
  })

  describe('redis lock', () => {
    it('is given to who asked although the first answer was lost', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const proxy = await startProxy(server().port)
      const lock = await open(new RedisLock(redisClient(`redis://127.0.0.1:${proxy.port}/0`)))

      proxy.delay(1_000)
      const acquiring = lock.acquire('unanswered', 60_000)
      const isHeld = () => raw(server(), (redis) => redis.exists('celeriac:lock:unanswered'))
      await expect.poll(isHeld, { timeout: 5_000 }).toBe(1)
      proxy.delay(0)
      proxy.cut()

      expect(await (await acquiring)?.renew(60_000)).toBe(true)
    })

    it('leaves nothing of a name that is free', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const lock = await open(new RedisLock(redisClient(server().url)))

      await (await lock.acquire('free', 60_000))?.release()

      expect(await raw(server(), (redis) => redis.keys('*free*'))).toEqual([])
    })
  })
})
