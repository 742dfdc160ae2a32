/** The benchmark's own servers: private, on the loopback, started when first asked for, and ended with us. */
import { spawnSync } from 'node:child_process'
import { connect } from 'node:net'
import { join } from 'node:path'
import { startProxy, type TcpProxy } from '../../test/servers/proxy.ts'
import { pythonWithCelery } from '../../test/servers/python.ts'
import { rabbitmqPrograms } from '../../test/servers/rabbitmq-admin.ts'
import { type RabbitmqServer, startRabbitmqNode } from '../../test/servers/rabbitmq-node.ts'
import { type RedisServer, startRedis } from '../../test/servers/redis.ts'
import type { BrokerName } from '../sides/side.ts'

export interface EmptiedOptions {
  /** Where a file may be. */
  readonly directory: string
  /** Added to the way to a server, in ms, in each direction; 0 leaves it as it is. */
  readonly latencyMs: number
}

/** What is missing here for a broker or a peer, and what to do about it; undefined where nothing is. */
export function missing(what: 'redis' | 'amqp' | 'celery'): string | undefined {
  if (what === 'redis' && redisVersion() === undefined) return 'no redis-server is on the PATH'
  if (what === 'amqp' && rabbitmqPrograms === '') return 'no RabbitMQ is installed (Debian: rabbitmq-server)'
  if (what === 'celery' && pythonWithCelery() === undefined) {
    return 'no Python with Celery and its Redis client is installed (Debian: python3-celery and python3-redis)'
  }
  return undefined
}

export class Servers {
  #redis: RedisServer | undefined
  #rabbitmq: RabbitmqServer | undefined
  /** Ways to a server's port that take longer, by port and ms. */
  readonly #proxies = new Map<string, TcpProxy>()
  #vhosts = 0

  /** A URL at which there is nothing yet: an emptied Redis, a virtual host of its own, or a file's name. */
  async emptied(broker: BrokerName, { directory, latencyMs }: EmptiedOptions): Promise<string> {
    if (broker === 'sqlite') return `sqlite://${join(directory, 'celeriac.db')}`
    if (broker === 'redis') {
      this.#redis ??= await startRedis()
      await redisCommand(this.#redis.port, 'FLUSHALL')
      return `redis://127.0.0.1:${await this.#portTo(this.#redis.port, latencyMs)}/0`
    }
    this.#rabbitmq ??= await startRabbitmqNode()
    if (this.#vhosts > 0) await this.#rabbitmq.api('DELETE', `/api/vhosts/bench${this.#vhosts}`)
    const vhost = `bench${++this.#vhosts}`
    await this.#rabbitmq.api('PUT', `/api/vhosts/${vhost}`)
    await this.#rabbitmq.api('PUT', `/api/permissions/${vhost}/guest`, { configure: '.*', write: '.*', read: '.*' })
    return `amqp://guest:guest@127.0.0.1:${await this.#portTo(this.#rabbitmq.port, latencyMs)}/${vhost}`
  }

  /** What of a broker is running, for the record. */
  async version(broker: 'redis' | 'amqp'): Promise<string> {
    if (broker === 'redis') return `Redis ${redisVersion() ?? 'of unknown version'}`
    const overview = (await this.#rabbitmq?.api('GET', '/api/overview')) as { rabbitmq_version: string } | undefined
    return `RabbitMQ ${overview?.rabbitmq_version ?? 'of unknown version'}`
  }

  async stop(): Promise<void> {
    for (const proxy of this.#proxies.values()) await proxy.close()
    this.#proxies.clear()
    await Promise.all([this.#redis?.remove(), this.#rabbitmq?.remove()])
  }

  async #portTo(port: number, latencyMs: number): Promise<number> {
    if (latencyMs === 0) return port
    const way = `${port} ${latencyMs}`
    const proxy = this.#proxies.get(way) ?? (await startProxy(port))
    proxy.delay(latencyMs)
    this.#proxies.set(way, proxy)
    return proxy.port
  }
}

function redisVersion(): string | undefined {
  const { status, stdout } = spawnSync('redis-server', ['--version'], { encoding: 'utf8' })
  return status === 0 ? /v=(\S+)/.exec(stdout)?.[1] : undefined
}

/** One inline command, one reply: enough to empty it. */
function redisCommand(port: number, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(port, '127.0.0.1', () => socket.write(`${line}\r\n`))
    socket.once('data', (reply) => {
      socket.destroy()
      resolve(reply.toString())
    })
    socket.once('error', reject)
  })
}
