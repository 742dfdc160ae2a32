import { describe, expect, it } from 'vitest'
import { RedisBus } from '../../src/drivers/redis/index.ts'
import { busContract } from '../../src/testing/index.ts'
import { describeWith } from '../servers/index.ts'
import { connections, raw, redisClient, redisServer } from './redis-fixture.ts'

describeWith('redis', 'with a server', () => {
  const server = redisServer()

  busContract('redis', {
    open: async () => {
      const { open, time } = connections()
      const connect = () => open(new RedisBus(redisClient(server().url)))
      return { ...time, bus: await connect(), peer: connect }
    },
  })

  describe('redis bus', () => {
    it('passes over what others publish on its channels', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const heard: unknown[] = []
      await bus.subscribe(['news'], ({ payload }) => heard.push(payload))

      await raw(server(), async (redis) => {
        for (const text of ['', 'no json', '7', 'null', '[]', '{"other": 1}']) {
          expect(await redis.publish('/0.celeriac.bus/news', text)).toBe(1)
        }
      })
      await bus.publish('news', 'ours')

      await expect.poll(() => heard).toEqual(['ours'])
    })

    it('keeps the databases of one server apart', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const other = await open(new RedisBus(redisClient(server().url.replace(/\/0$/, '/1'))))
      const heard: unknown[] = []
      await bus.subscribe(['#'], ({ payload }) => heard.push(payload))

      await other.publish('news', 'theirs')
      await bus.publish('news', 'ours')

      await expect.poll(() => heard).toEqual(['ours'])
    })

    it('takes the signs of Redis patterns to the letter', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const heard: string[] = []
      for (const topic of ['a[bc].#', 'd*.#', 'e?.#', 'f\\g.#', '[^h].#']) {
        await bus.subscribe([topic], (message) => heard.push(message.topic))
      }

      for (const topic of ['ab.x', 'dd.x', 'ee.x', 'fg.x', 'i.x']) await bus.publish(topic, null)
      const literal = ['a[bc].x', 'd*.x', 'e?.x', 'f\\g.x', '[^h].x']
      for (const topic of literal) await bus.publish(topic, null)

      await expect.poll(() => heard).toEqual(literal)
    })

    it('leaves no channel behind', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const subscription = await bus.subscribe(['left.#', 'left'], ({ reply }) => void reply?.('me'))
      await bus.request('left', 'anybody?', { timeoutMs: 60_000, replies: 1 })

      await subscription.close()

      await raw(server(), async (redis) => {
        expect(await redis.pubsub('CHANNELS', '*celeriac*')).toEqual([])
        expect(await redis.pubsub('NUMPAT')).toBe(0)
      })
    })
  })
})
