/** A server for one test file, and connections to it: what the Redis suites have in common. */
import { Redis } from 'ioredis'
import { beforeAll } from 'vitest'
import { systemClock } from '../../src/clock.ts'
import { RedisClient, type RedisClientOptions } from '../../src/drivers/redis/index.ts'
import type { Logger } from '../../src/logger.ts'
import { type RedisServer, redisUrl } from '../servers/index.ts'

const silent: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

interface Connection {
  open(): Promise<void>
  close(): Promise<void>
}

/** There before the tests of the suite it is called in. */
export function redisServer(): () => Pick<RedisServer, 'url' | 'port'> {
  let server: Pick<RedisServer, 'url' | 'port'> | undefined
  beforeAll(async () => {
    const url = await redisUrl()
    server = { url, port: Number(new URL(url).port) }
  })
  return () => {
    if (server === undefined) throw new Error('the server is there from the first test on')
    return server
  }
}

export function redisClient(
  url: string,
  {
    resultExpiresMs = Number.POSITIVE_INFINITY,
    clock = systemClock,
  }: Partial<Pick<RedisClientOptions, 'resultExpiresMs' | 'clock'>> = {},
): RedisClient {
  return new RedisClient({
    url,
    resultExpiresMs,
    publishTimeoutMs: 10_000,
    clock,
    logger: silent,
  })
}

/** Opens connections, and closes them all in the end. Time is real. */
export function connections() {
  const opened: Connection[] = []
  return {
    open: async <T extends Connection>(connection: T): Promise<T> => {
      opened.push(connection)
      await connection.open()
      return connection
    },
    time: {
      now: () => Date.now(),
      // A little more: a timer may be early, and the server counts whole milliseconds.
      advance: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms + 20)),
      close: async () => {
        for (const connection of opened) await connection.close()
      },
    },
  }
}

/** What lies in the server, seen by a client that knows nothing of us. */
export async function raw<T>({ url }: Pick<RedisServer, 'url'>, look: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url)
  try {
    return await look(redis)
  } finally {
    redis.disconnect()
  }
}
