/** Broker, bus, results, locks and limits on Redis and Valkey, in the layout of kombu and Celery. */
export { RedisBroker, redisCapabilities } from './broker.ts'
export { RedisBus } from './bus.ts'
export { RedisClient, type RedisClientOptions } from './client.ts'
export { RedisLimiter } from './limiter.ts'
export { RedisLock } from './lock.ts'
export { RedisResultStore } from './result-store.ts'
export { RedisScheduleStore } from './schedule-store.ts'
