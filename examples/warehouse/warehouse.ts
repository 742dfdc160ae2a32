/** The warehouse as a whole: opens its parts in the order in which they need each other, and closes them in reverse. */
import { once } from 'node:events'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { serve } from '@hono/node-server'
import type { Celeriac } from 'celeriac'
import { Aisles } from './aisle.ts'
import { startCourier } from './courier-process.ts'
import type { Flags } from './flags.ts'
import { createIntake } from './intake.ts'
import { Ledger } from './ledger.ts'
import { startMonitor } from './monitor-process.ts'
import { readSkus } from './orders/skus.ts'
import { createReceiver } from './receiver.ts'
import { filesIn, type Settings, toEnvironment } from './settings.ts'
import { Staff } from './staff.ts'
import { type Stage, stages, stagesWith } from './stages.ts'

/** With `--kill`, tasks of a killed worker come back this soon, so that the run does not consist of waiting for them. */
const killLeaseSeconds = 3
const leaseSeconds = 30

export interface Warehouse {
  readonly app: Celeriac
  readonly settings: Settings
  readonly files: ReturnType<typeof filesIn>
  readonly aisles: Aisles
  readonly ledger: Ledger
  readonly staff: Staff
  readonly stages: readonly Stage[]
  readonly receiverUrl: string
  /** Undefined with `--once`, where nobody has the time to look. */
  readonly monitorUrl: string | undefined
  /** Takes no more orders, lets the workers finish, and closes everything. A second call does nothing. */
  close(): Promise<void>
  /** Removes what it has written. After `close`. */
  demolish(): Promise<void>
  /** Kills the workers and removes everything at once, without waiting for anybody. */
  abandon(): void
}

export interface Callbacks {
  readonly say: (text: string) => void
  readonly onHopeless: (error: Error) => void
}

/** Parts that were opened, to be closed in reverse order. */
class Opened {
  readonly #closers: (() => unknown)[] = []

  add(close: () => unknown): void {
    this.#closers.push(close)
  }

  async close(): Promise<void> {
    for (let close = this.#closers.pop(); close !== undefined; close = this.#closers.pop()) await close()
  }
}

/** @throws Error when a part does not open; those that did are closed again */
export async function openWarehouse(flags: Flags, callbacks: Callbacks): Promise<Warehouse> {
  const folder = await newFolder()
  const opened = new Opened()
  try {
    return await open(flags, folder, callbacks, opened)
  } catch (error) {
    await opened.close()
    await rm(folder, { recursive: true, force: true })
    throw error
  }
}

async function open(flags: Flags, folder: string, callbacks: Callbacks, opened: Opened): Promise<Warehouse> {
  const files = filesIn(folder)
  const { courierFailure: failure, courierLatencyMs: latencyMs, seed } = flags
  const courier = await startCourier({ book: files.courierBook, latencyMs, failure, seed })
  opened.add(() => courier.stop())

  const settings: Settings = {
    broker: flags.broker ?? `sqlite://${join(folder, 'broker.db')}`,
    folder,
    courierUrl: courier.url,
    leaseSeconds: flags.kill ? killLeaseSeconds : leaseSeconds,
    batch: flags.batch,
  }
  // The app reads its settings when it is loaded, here as in the workers.
  Object.assign(process.env, toEnvironment(settings))
  const { app, fulfil } = await import('./app.ts')
  opened.add(() => app.close())
  await app.open()
  await refuseLeftovers(app)

  const aisles = new Aisles(files.aisles)
  opened.add(() => aisles.close())
  const skus = await readSkus(join(import.meta.dirname, 'orders', 'skus.csv'))
  aisles.fill(skus)
  const ledger = new Ledger(files.ledger)
  opened.add(() => ledger.close())

  const staffed = stagesWith(flags.pickers)
  const staff = new Staff({
    stages: staffed,
    workersPerStage: flags.workers,
    logs: files.logs,
    environment: toEnvironment(settings),
    ...callbacks,
  })
  opened.add(() => staff.stop())
  await staff.start()

  const monitor = flags.once ? undefined : await startMonitor(settings.broker, app.name, join(folder, 'monitor.db'))
  opened.add(() => monitor?.stop())

  const intake = createIntake({ app, fulfil, ledger, aisles })
  const receiver = createReceiver({ intake, skus: new Set(skus.map(({ sku }) => sku)) })
  const server = serve({ fetch: receiver.fetch, port: flags.port, hostname: '127.0.0.1' })
  opened.add(() => new Promise((resolve) => server.close(resolve)))
  await once(server, 'listening').catch((error: unknown) => {
    throw new Error(`the receiver cannot listen on port ${flags.port}; choose another with --port`, { cause: error })
  })
  const receiverUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}`

  return {
    app,
    settings,
    files,
    aisles,
    ledger,
    staff,
    stages: staffed,
    receiverUrl,
    monitorUrl: monitor?.url,
    close: () => opened.close(),
    demolish: () => rm(folder, { recursive: true, force: true }),
    abandon() {
      staff.abandon()
      // A worker may write for as long as it takes the system to end it.
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 20 })
    },
  }
}

async function newFolder(): Promise<string> {
  const all = join(import.meta.dirname, 'var')
  await mkdir(all, { recursive: true })
  return mkdtemp(join(all, 'run-'))
}

/** Orders of an earlier run would be missing from the books of this one. */
async function refuseLeftovers(app: Celeriac): Promise<void> {
  const ours = stages.flatMap(({ queue }) => [queue, `${queue}.dead`])
  const queues = await app.broker.queues()
  const full = queues.filter(
    ({ queue, ready, delayed, inFlight }) => ours.includes(queue) && ready + delayed + inFlight > 0,
  )
  if (full.length > 0) {
    const names = full.map(({ queue }) => queue).join(', ')
    throw new Error(
      `the broker still has messages of an earlier run in ${names}; let workers finish or purge them first`,
    )
  }
}
