import { RedisBroker, RedisScheduleStore } from '../../src/drivers/redis/index.ts'
import { scheduleContract } from '../../src/testing/index.ts'
import { describeWith } from '../servers/index.ts'
import { connections, redisClient, redisServer } from './redis-fixture.ts'

let scopes = 0

describeWith('redis', 'with a server', () => {
  const server = redisServer()

  scheduleContract('redis', {
    leaseMs: 1_000,
    open: async () => {
      const { open, time } = connections()
      const scope = `app ${process.pid} ${scopes++}`
      const connect = async () => {
        const broker = await open(new RedisBroker(redisClient(server().url)))
        return { broker, store: await open(new RedisScheduleStore(broker, scope)) }
      }
      return { ...time, ...(await connect()), peer: async () => (await connect()).store }
    },
  })
})
