/**
 * Real servers for tests. Whatever a file starts here is ended and removed after its last test, in the reverse order; a
 * killed run takes its servers along.
 */
import { randomUUID } from 'node:crypto'
import { afterAll, inject } from 'vitest'
import { startProxy as listen, type TcpProxy } from './proxy.ts'
import { type PythonWorker, type PythonWorkerOptions, startCeleryWorker } from './python.ts'
import { rabbitmqApi, rabbitmqCtl } from './rabbitmq-admin.ts'
import { type RabbitmqOptions, type RabbitmqServer, startRabbitmqNode } from './rabbitmq-node.ts'
import {
  type RedisOptions,
  type RedisSentinel,
  type RedisServer,
  startSentinel as startRedisSentinel,
  startRedis as startRedisServer,
} from './redis.ts'
import { sharedNode } from './shared-rabbitmq.ts'

export { describeWith, type ServerName } from './needs.ts'
export { chromium } from './on-path.ts'
export { freePort } from './ports.ts'
export type { TcpProxy } from './proxy.ts'
export { type PythonWorker, type PythonWorkerOptions, runPython } from './python.ts'
export type { RabbitmqOptions, RabbitmqServer } from './rabbitmq-node.ts'
export type { RedisOptions, RedisSentinel, RedisServer } from './redis.ts'

const endings: (() => Promise<unknown>)[] = []

afterAll(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})

/** Where a Redis is that is only used: the one of `CELERIAC_TEST_REDIS_URL`, or a private one. */
export async function redisUrl(): Promise<string> {
  return process.env.CELERIAC_TEST_REDIS_URL ?? (await startRedis()).url
}

/** A private server, in 0.1 s. */
export async function startRedis(options?: RedisOptions): Promise<RedisServer> {
  const server = await startRedisServer(options)
  endings.push(() => server.remove())
  return server
}

/** See `RedisSentinel`. */
export async function startSentinel(master: RedisServer): Promise<RedisSentinel> {
  const sentinel = await startRedisSentinel(master)
  endings.push(() => sentinel.remove())
  return sentinel
}

/** A node of one's own, in 8 s: for tests that stop, kill or configure it. Others take a vhost of `rabbitmq()`. */
export async function startRabbitmq(options?: RabbitmqOptions): Promise<RabbitmqServer> {
  const server = await startRabbitmqNode(options)
  endings.push(() => server.remove())
  return server
}

/** A virtual host of one's own on the node that all files of the run share. */
export interface Rabbitmq {
  readonly url: string
  readonly host: string
  readonly port: number
  readonly vhost: string
  readonly managementUrl: string
  /** Calls the management API, as `RabbitmqServer.api` does. */
  api(method: 'GET' | 'PUT' | 'POST' | 'DELETE', path: string, body?: object): Promise<unknown>
  /** Runs rabbitmqctl; touch nothing outside of the vhost. */
  ctl(...args: readonly string[]): Promise<string>
}

/** A fresh vhost; the first call of a run waits for the node to start. */
export async function rabbitmq(): Promise<Rabbitmq> {
  const { host, port, address } = await sharedNode(inject('rabbitmqShare'))
  const { user, password } = address
  const vhost = `celeriac-${randomUUID()}`
  const api: Rabbitmq['api'] = (method, path, body) => rabbitmqApi(address, method, path, body)
  await api('PUT', `/api/vhosts/${vhost}`)
  await api('PUT', `/api/permissions/${vhost}/${user}`, { configure: '.*', write: '.*', read: '.*' })
  endings.push(() => api('DELETE', `/api/vhosts/${vhost}`))
  return {
    url: `amqp://${encodeURIComponent(user)}:${encodeURIComponent(password)}@${host}:${port}/${vhost}`,
    host,
    port,
    vhost,
    managementUrl: address.managementUrl,
    api,
    ctl: (...args) => rabbitmqCtl(address, args),
  }
}

/** In front of a server at this loopback port. */
export async function startProxy(targetPort: number): Promise<TcpProxy> {
  const proxy = await listen(targetPort)
  endings.push(() => proxy.close())
  return proxy
}

/** `celery worker` of Debian's Python. */
export async function startPythonWorker(options: PythonWorkerOptions): Promise<PythonWorker> {
  const worker = await startCeleryWorker(options)
  endings.push(() => worker.kill())
  return worker
}
