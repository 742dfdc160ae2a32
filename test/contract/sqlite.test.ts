import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { cleanUp } from '../../src/drivers/sqlite/clean-up.ts'
import type { SqliteConsumer } from '../../src/drivers/sqlite/consumer.ts'
import {
  SqliteBroker,
  SqliteBus,
  SqliteLimiter,
  SqliteLock,
  SqliteResultStore,
  SqliteScheduleStore,
  SqliteStore,
  type SqliteStoreOptions,
  sqliteCapabilities,
} from '../../src/drivers/sqlite/index.ts'
import {
  brokerContract,
  busContract,
  limiterContract,
  lockContract,
  resultContract,
  scheduleContract,
} from '../../src/testing/index.ts'

interface Connection {
  open(): Promise<void>
  close(): Promise<void>
}

/** A file of its own, on real time: its leases are kept by a thread. A peer has a connection of its own to the file. */
async function openFile() {
  const folder = await mkdtemp(join(tmpdir(), 'celeriac-contract-'))
  const path = join(folder, 'queue.db')
  const opened: Connection[] = []
  return {
    store: (options: Partial<SqliteStoreOptions> = {}) => new SqliteStore({ path, ...options }),
    open: async <T extends Connection>(connection: T): Promise<T> => {
      opened.push(connection)
      await connection.open()
      return connection
    },
    time: {
      now: () => Date.now(),
      advance: (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms)),
      close: async () => {
        for (const connection of opened) await connection.close()
        await rm(folder, { recursive: true })
      },
    },
  }
}

brokerContract('sqlite', {
  capabilities: sqliteCapabilities,
  sharesResults: true,
  leaseMs: 400,
  delayMs: 300,
  open: async () => {
    const { store, open, time } = await openFile()
    const own = store()
    return {
      ...time,
      broker: await open(new SqliteBroker(own)),
      results: await open(new SqliteResultStore(own)),
      peer: () => open(new SqliteBroker(store())),
      crash: async (consumer) => (consumer as SqliteConsumer).abandon(),
    }
  },
})

resultContract('sqlite', {
  open: async () => {
    const { store, open, time } = await openFile()
    return {
      ...time,
      store: await open(new SqliteResultStore(store())),
      peer: ({ expiresMs = Number.POSITIVE_INFINITY } = {}) =>
        open(new SqliteResultStore(store({ resultExpiresMs: expiresMs }))),
    }
  },
})

busContract('sqlite', {
  open: async () => {
    const { store, open, time } = await openFile()
    return { ...time, bus: await open(new SqliteBus(store())), peer: () => open(new SqliteBus(store())) }
  },
})

lockContract('sqlite', {
  open: async () => {
    const { store, open, time } = await openFile()
    return { ...time, lock: await open(new SqliteLock(store())), peer: () => open(new SqliteLock(store())) }
  },
})

scheduleContract('sqlite', {
  open: async () => {
    const { store, open, time } = await openFile()
    const connect = async (broker: SqliteBroker) => open(new SqliteScheduleStore(await open(broker), 'app'))
    const broker = new SqliteBroker(store())
    return { ...time, broker, store: await connect(broker), peer: () => connect(new SqliteBroker(store())) }
  },
})

limiterContract('sqlite', {
  open: async () => {
    const { store, open, time } = await openFile()
    const own = store()
    return {
      ...time,
      limiter: await open(new SqliteLimiter(own)),
      peer: () => open(new SqliteLimiter(store())),
      kept: (name) =>
        own.write(() => {
          cleanUp(own, Date.now())
          const tables = ['bucket', 'slot', 'claim']
          return tables.reduce((n, table) => n + own.all(`SELECT 1 FROM ${table} WHERE key = ?`, name).length, 0)
        }),
    }
  },
})
