import { expect, it } from 'vitest'
import type { MemoryConsumer } from '../../src/drivers/memory/consumer.ts'
import {
  MemoryBroker,
  MemoryBus,
  MemoryLimiter,
  MemoryLock,
  MemoryResultStore,
  MemoryScheduleStore,
  MemoryStore,
  memoryCapabilities,
} from '../../src/drivers/memory/index.ts'
import {
  brokerContract,
  busContract,
  limiterContract,
  lockContract,
  ManualClock,
  resultContract,
  scheduleContract,
} from '../../src/testing/index.ts'

interface Connection {
  open(): Promise<void>
  close(): Promise<void>
}

/** A store of its own under a manual clock, and the end of everything opened on it. No timer may outlive that. */
function openStore() {
  const clock = new ManualClock()
  const store = new MemoryStore()
  const opened: Connection[] = []
  return {
    options: { store, clock },
    open: async <T extends Connection>(connection: T): Promise<T> => {
      opened.push(connection)
      await connection.open()
      return connection
    },
    time: {
      now: () => clock.now(),
      advance: (ms: number) => clock.advance(ms),
      close: async () => {
        for (const connection of opened) await connection.close()
        await clock.advance(0)
        expect(clock.pendingTimers).toBe(0)
      },
    },
  }
}

brokerContract('memory', {
  capabilities: memoryCapabilities,
  sharesResults: true,
  open: async () => {
    const { options, open, time } = openStore()
    return {
      ...time,
      broker: await open(new MemoryBroker(options)),
      results: await open(new MemoryResultStore(options)),
      peer: () => open(new MemoryBroker(options)),
      crash: async (consumer) => (consumer as MemoryConsumer).abandon(),
    }
  },
})

resultContract('memory', {
  open: async () => {
    const { options, open, time } = openStore()
    return {
      ...time,
      store: await open(new MemoryResultStore(options)),
      peer: ({ expiresMs = Number.POSITIVE_INFINITY } = {}) =>
        open(new MemoryResultStore({ ...options, resultExpiresMs: expiresMs })),
    }
  },
})

busContract('memory', {
  open: async () => {
    const { options, open, time } = openStore()
    return { ...time, bus: await open(new MemoryBus(options)), peer: () => open(new MemoryBus(options)) }
  },
})

lockContract('memory', {
  open: async () => {
    const { options, open, time } = openStore()
    return { ...time, lock: await open(new MemoryLock(options)), peer: () => open(new MemoryLock(options)) }
  },
})

scheduleContract('memory', {
  open: async () => {
    const { options, open, time } = openStore()
    const connect = () => open(new MemoryScheduleStore(options, 'app'))
    return { ...time, broker: await open(new MemoryBroker(options)), store: await connect(), peer: connect }
  },
})

limiterContract('memory', {
  open: async () => {
    const { options, open, time } = openStore()
    return {
      ...time,
      limiter: await open(new MemoryLimiter(options)),
      peer: () => open(new MemoryLimiter(options)),
      kept: async () => {
        options.store.limits.purge(options.clock.now())
        return options.store.limits.size
      },
    }
  },
})

it('the memory limiter keeps no more than is in use, however many names come by', async () => {
  const clock = new ManualClock()
  const store = new MemoryStore()
  const limiter = new MemoryLimiter({ store, clock })

  for (let n = 0; n < 10_000; n++) {
    await limiter.reserve([{ key: `tenant-${n}`, limit: 1, perMs: 1_000, maxWaitMs: 0 }])
    await limiter.acquire([{ key: `tenant-${n}`, limit: 1, holder: 'a' }], 1_000)
    await limiter.claim(`tenant-${n}`, 'a', 1_000)
    if (n % 100 === 0) await clock.advance(10_000)
  }

  expect(store.limits.size).toBeLessThan(3_000)
})
