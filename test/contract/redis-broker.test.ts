import type { RedisConsumer } from '../../src/drivers/redis/consumer.ts'
import { RedisBroker, RedisResultStore, redisCapabilities } from '../../src/drivers/redis/index.ts'
import { brokerContract } from '../../src/testing/index.ts'
import { describeWith } from '../servers/index.ts'
import { connections, redisClient, redisServer } from './redis-fixture.ts'

describeWith('redis', 'the broker contract on Redis', () => {
  const server = redisServer()

  brokerContract('redis', {
    capabilities: redisCapabilities,
    sharesResults: true,
    leaseMs: 400,
    delayMs: 150,
    open: async () => {
      const { open, time } = connections()
      const client = redisClient(server().url)
      return {
        ...time,
        broker: await open(new RedisBroker(client)),
        results: await open(new RedisResultStore(client)),
        peer: () => open(new RedisBroker(redisClient(server().url))),
        crash: async (consumer) => (consumer as RedisConsumer).abandon(),
      }
    },
  })
})
