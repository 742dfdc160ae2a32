/** From a URL to a driver. Drivers are loaded when first asked for, so that nobody pays for those he does not use. */
import type { Broker } from './broker/broker.ts'
import type { Bus } from './broker/bus.ts'
import type { Limiter } from './broker/limiter.ts'
import type { Lock } from './broker/lock.ts'
import type { ScheduleStore } from './broker/schedule-store.ts'
import type { Clock } from './clock.ts'
import type { AppConfig } from './config.ts'
import { CeleriacError } from './errors.ts'
import { nearest } from './nearest.ts'
import { redacted } from './redacted.ts'
import type { ResultStore } from './result/result-store.ts'

/** What one URL leads to; all parts share what the driver can share. Not yet open. */
export interface Connection {
  readonly broker: Broker
  readonly bus: Bus
  readonly results: ResultStore
  /** Undefined where the driver has none (RabbitMQ). */
  readonly lock: Lock | undefined
  /** Undefined where the driver has none (RabbitMQ). */
  readonly limiter: Limiter | undefined
  /** The schedule of an application, kept by the broker. To be opened after that. */
  readonly schedules: (scope: string) => ScheduleStore
}

type ConnectOptions = Pick<AppConfig, 'durability' | 'resultExpiresMs' | 'publishTimeoutMs' | 'logger'> & {
  readonly clock: Clock
}

type Driver = (rest: string, options: ConnectOptions, url: string) => Promise<Connection>

const drivers: Record<string, Driver> = {
  async sqlite(path, { durability, resultExpiresMs, clock }) {
    const driver = await import('./drivers/sqlite/index.ts')
    const store = new driver.SqliteStore({ path, durability, resultExpiresMs, clock })
    const broker = new driver.SqliteBroker(store)
    return {
      broker,
      bus: new driver.SqliteBus(store),
      results: new driver.SqliteResultStore(store),
      lock: new driver.SqliteLock(store),
      limiter: new driver.SqliteLimiter(store),
      schedules: (scope) => new driver.SqliteScheduleStore(broker, scope),
    }
  },
  async memory(name, { clock, resultExpiresMs }) {
    const driver = await import('./drivers/memory/index.ts')
    const options = { store: driver.memoryStore(name), clock, resultExpiresMs }
    return {
      broker: new driver.MemoryBroker(options),
      bus: new driver.MemoryBus(options),
      results: new driver.MemoryResultStore(options),
      lock: new driver.MemoryLock(options),
      limiter: new driver.MemoryLimiter(options),
      schedules: (scope) => new driver.MemoryScheduleStore(options, scope),
    }
  },
  redis,
  rediss: redis,
  'redis+socket': redis,
  'redis+cluster': redis,
  'rediss+cluster': redis,
  sentinel: redis,
  amqp: rabbitmq,
  amqps: rabbitmq,
}

async function redis(_rest: string, options: ConnectOptions, url: string): Promise<Connection> {
  const driver = await import('./drivers/redis/index.ts')
  const client = new driver.RedisClient({ url, ...options })
  const broker = new driver.RedisBroker(client)
  return {
    broker,
    bus: new driver.RedisBus(client),
    results: new driver.RedisResultStore(client),
    lock: new driver.RedisLock(client),
    limiter: new driver.RedisLimiter(client),
    schedules: (scope) => new driver.RedisScheduleStore(broker, scope),
  }
}

async function rabbitmq(_rest: string, options: ConnectOptions, url: string): Promise<Connection> {
  const driver = await import('./drivers/rabbitmq/index.ts')
  const client = new driver.RabbitmqClient({ url, ...options })
  const broker = new driver.RabbitmqBroker(client)
  return {
    broker,
    bus: new driver.RabbitmqBus(client),
    results: new driver.RabbitmqResultStore(client),
    lock: undefined,
    limiter: undefined,
    schedules: (scope) => new driver.RabbitmqScheduleStore(client, scope),
  }
}

/**
 * @param url `sqlite://relative/path.db`, `sqlite:///absolute/path.db`, a bare path, `memory://name`,
 *   `redis://user:password@host:6379/0` (`rediss://` with TLS, `redis+socket:///path?db=0`,
 *   `sentinel://host:26379,host:26379/0?master=name`, `redis+cluster://host:6379,host:6379`), or
 *   `amqp://user:password@host:5672/vhost` (`amqps://` with TLS)
 * @throws CeleriacError `BROKER_UNKNOWN_SCHEME`, `CONFIG_INVALID`
 */
export function connect(url: string, options: ConnectOptions): Promise<Connection> {
  const halfScheme = /^([a-z][a-z0-9+.-]*):(?!\/\/)/i.exec(url)?.[1]
  if (halfScheme !== undefined && drivers[halfScheme.toLowerCase()] !== undefined) {
    throw new CeleriacError('CONFIG_INVALID', `the URL '${redacted(url)}' lacks the two slashes after '${halfScheme}:'`)
  }
  const match = /^([a-z][a-z0-9+.-]*):\/\/(.*)$/i.exec(url)
  const [scheme = '', rest = ''] = match === null ? ['sqlite', url] : match.slice(1)
  const driver = drivers[scheme.toLowerCase()]
  if (driver === undefined) {
    const guess = nearest(scheme, Object.keys(drivers))
    throw new CeleriacError(
      'BROKER_UNKNOWN_SCHEME',
      `no driver serves '${scheme}://' (${redacted(url)}); ${guess === undefined ? '' : `did you mean '${guess}://'? `}` +
        `known: ${Object.keys(drivers)
          .map((known) => `${known}://`)
          .join(', ')}`,
    )
  }
  if (rest === '') throw new CeleriacError('CONFIG_INVALID', `the URL '${url}' lacks what follows ${scheme}://`)
  return driver(rest, options, url)
}
