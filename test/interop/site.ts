/**
 * Two services of one company on one broker: Python's (`python/service.py`, queue `python`) and ours (`service.ts`, queue
 * `ts`), each with a worker and a producer. A test file has a site for each broker.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'amqplib'
import { Celeriac, type CeleriacOptions } from 'celeriac'
import { afterAll, expect, vi } from 'vitest'
import {
  type PythonWorker,
  type PythonWorkerOptions,
  rabbitmq,
  startPythonWorker,
  startRedis,
} from '../servers/index.ts'
import { type PythonClient, pythonFolder, startPythonClient } from './python-client.ts'
import { defineTasks, type Tasks } from './service.ts'

export type Transport = 'redis' | 'amqp'

/** For `describe.each`: what a suite holds on. */
export const transports = ['redis', 'amqp'] as const satisfies readonly Transport[]

/** What `describeWith` needs for suites over all transports. */
export const everything = ['redis-server', 'rabbitmq', 'python'] as const

/** Messages that may be fetched, and those that are kept back. */
export interface Waiting {
  readonly ready: number
  readonly delayed: number
}

export interface SiteOptions {
  /** Of kombu, in seconds. Redis only. @default an hour */
  readonly visibilityS?: number
  /** Of every queue on RabbitMQ. @default queues without priorities */
  readonly maxPriority?: number
  /** Results of both languages on a Redis of their own, whatever the broker is. @default where each has them by itself */
  readonly resultsOnRedis?: boolean
  /** Further options of our application. */
  readonly app?: CeleriacOptions
}

export interface Site {
  readonly transport: Transport
  readonly url: string
  /** The log that tasks of both languages write. */
  readonly log: string
  /** Environment of every Python program here. */
  readonly env: Readonly<Record<string, string>>
  readonly app: Celeriac
  readonly tasks: Tasks
  /** Python as a producer. */
  readonly python: PythonClient
  /** What the server has of a queue, and no consumer holds. */
  waiting(queue: string): Promise<Waiting>
  /** The lines of the log so far. */
  lines(): string[]
  /** A path that tasks wait at until `open()`. */
  gate(): { readonly path: string; open(): void }
  startPythonWorker(options?: Partial<PythonWorkerOptions>): Promise<PythonWorker>
  /** Another application of ours, as another process would have it; closed at the end of the file. */
  newApp(options?: CeleriacOptions): Celeriac
}

/** No worker runs yet. Everything is closed after the file's last test. */
export async function openSite(transport: Transport, options: SiteOptions = {}): Promise<Site> {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-interop-'))
  const log = join(folder, 'log')
  let gates = 0
  const { url, results, backend, waiting } = await (transport === 'redis' ? onRedis(options) : onRabbitmq(options))
  const env = {
    BROKER: url.replace(/\?.*$/, ''),
    BACKEND: backend,
    LOG: log,
    ...(options.visibilityS !== undefined && { VISIBILITY: String(options.visibilityS) }),
    ...(options.maxPriority !== undefined && transport === 'amqp' && { MAX_PRIORITY: String(options.maxPriority) }),
  }
  const newApp = (more: CeleriacOptions = {}): Celeriac => {
    const taskRoutes = { 'py.*': 'python', 'ts.*': 'ts', 'both.*': 'both' }
    const app = new Celeriac('interop', { broker: url, results, taskRoutes, ...options.app, ...more })
    endings.push(() => closeInTime(app))
    return app
  }
  endings.push(async () => rmSync(folder, { recursive: true, force: true }))
  const app = newApp()
  const python = startPythonClient(env)
  endings.push(() => python.stop())
  return {
    transport,
    url,
    log,
    env,
    app,
    tasks: defineTasks(app, log),
    python,
    newApp,
    waiting:
      waiting ??
      (async (queue) => {
        const { ready, delayed } = await app.broker.depth(queue)
        return { ready, delayed }
      }),
    lines: () => (existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []),
    gate: () => {
      gates += 1
      const path = join(folder, `gate-${gates}`)
      return { path, open: () => writeFileSync(path, '') }
    },
    startPythonWorker: (more = {}) =>
      startPythonWorker({ appFile: join(pythonFolder, 'service.py'), env, queues: ['python'], ...more }),
  }
}

const endings: (() => Promise<unknown>)[] = []

afterAll(async () => {
  const problems: unknown[] = []
  for (const end of endings.splice(0).reverse()) await end().catch((problem) => problems.push(problem))
  expect(problems).toEqual([])
})

/** An application whose close hangs is named, and does not keep the rest from being ended. */
async function closeInTime(app: Celeriac): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`the application on ${app.config.broker} did not close`)), 15_000)
  })
  await Promise.race([app.close(), tooLate]).finally(() => clearTimeout(timer))
}

/** What differs between the brokers, seen from here. */
interface Server {
  readonly url: string
  /** Where ours keeps results. */
  readonly results: true | string
  /** Where Python keeps them. */
  readonly backend: string
  /** Undefined: as the driver tells it. */
  readonly waiting: ((queue: string) => Promise<Waiting>) | undefined
}

async function onRedis({ visibilityS }: SiteOptions): Promise<Server> {
  const { url } = await startRedis()
  const results = url.replace(/0$/, '1')
  const visibility = visibilityS === undefined ? '' : `?visibility_timeout=${visibilityS}`
  return { url: `${url}${visibility}`, results, backend: results, waiting: undefined }
}

async function onRabbitmq({ maxPriority, resultsOnRedis = false }: SiteOptions): Promise<Server> {
  const redis = resultsOnRedis ? (await startRedis()).url : undefined
  const { url, vhost, api } = await rabbitmq()
  const priorities = maxPriority === undefined ? '' : `?max_priority=${maxPriority}`
  const counting = await connect(url)
  endings.push(() => counting.close())
  const channel = await counting.createChannel()
  const ready = async (queue: string): Promise<number> => (await channel.checkQueue(queue)).messageCount
  const waiting = async (queue: string): Promise<Waiting> => {
    const queues = (await api('GET', `/api/queues/${vhost}?disable_stats=true`)) as { name: string }[]
    // They are shared by all queues of the vhost.
    const delays = queues.map(({ name }) => name).filter((name) => name.startsWith('celeriac.delay.'))
    let delayed = 0
    for (const delay of delays) delayed += await ready(delay)
    return { ready: await ready(queue), delayed }
  }
  return { url: `${url}${priorities}`, results: redis ?? true, backend: redis ?? 'rpc://', waiting }
}

export function until(condition: () => boolean | Promise<boolean>, timeout = 25_000): Promise<unknown> {
  return vi.waitUntil(condition, { interval: 10, timeout })
}
