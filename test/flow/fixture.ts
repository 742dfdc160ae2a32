/**
 * What the specifications of a task's life stand on: applications on real brokers, and an end at which everything is
 * closed. A test whose worker does not stop, or leaves a consumer behind, fails.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Celeriac, type CeleriacError, type CeleriacOptions, type Logger, systemClock } from 'celeriac'
import { afterAll, afterEach, expect, vi } from 'vitest'
import { connect } from '../../src/connect.ts'

let files = 0
const folder = mkdtempSync(join(tmpdir(), 'celeriac-flow-'))
const apps: Celeriac[] = []

/** URL of a database of its own. */
export function sqliteUrl(): string {
  files += 1
  return `sqlite://${join(folder, `${files}.db`)}`
}

/** URL of a memory store of its own. */
export function memoryUrl(): string {
  files += 1
  return `memory://flow-${files}`
}

/** For `describe.each`: what a specification holds on. */
export const brokers = [
  { broker: 'memory', url: memoryUrl },
  { broker: 'sqlite', url: sqliteUrl },
] as const

/** An application that keeps results, by itself on a fresh memory broker. It is closed after the test. */
export function newApp(options: CeleriacOptions = {}): Celeriac {
  const app = new Celeriac('flow', { broker: memoryUrl(), results: true, logger: silent, ...options })
  apps.push(app)
  return app
}

export const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }

function ignore(): void {}

/** A logger, and what it was told: `level: message`. */
export function recordingLogger(): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const record =
    (level: string) =>
    (_fields: object, message: string): void => {
      lines.push(`${level}: ${message}`)
    }
  return { lines, logger: { debug: ignore, info: record('info'), warn: record('warn'), error: record('error') } }
}

/** Resolves once the condition holds. A limit that is reached means something hangs: loaded machines are slow. */
export function until(condition: () => boolean | Promise<boolean>, timeout = 25_000): Promise<unknown> {
  return vi.waitUntil(condition, { interval: 5, timeout })
}

/** A promise that the test keeps: tasks wait at it until it is opened. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open: () => void = ignore
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open: () => open() }
}

const { now, monotonic } = systemClock
let aheadMs = 0

/** The clock of every application in this process jumps ahead. Timers that are set already are not shortened. */
export function skipAhead(ms: number): void {
  aheadMs += ms
  vi.spyOn(systemClock, 'now').mockImplementation(() => now() + aheadMs)
  vi.spyOn(systemClock, 'monotonic').mockImplementation(() => monotonic() + aheadMs)
}

/** What a promise was rejected with. */
export async function rejection(promise: Promise<unknown>): Promise<CeleriacError> {
  const error = await promise.then(
    (value) => expect.fail(`it should have been rejected, and gave ${JSON.stringify(value)}`),
    (reason: unknown) => reason,
  )
  return error as CeleriacError
}

/** What a function throws. */
export function thrown(call: () => unknown): CeleriacError {
  let error: unknown
  try {
    call()
  } catch (caught) {
    error = caught
  }
  return (error as CeleriacError) ?? expect.fail('it should have thrown')
}

/** The number of messages, wherever they stand. */
export async function depthOf(
  app: Celeriac,
  queue = 'celery',
): Promise<[ready: number, delayed: number, held: number]> {
  const { ready, delayed, inFlight } = await app.broker.depth(queue)
  return [ready, delayed, inFlight]
}

interface Foreign {
  readonly queue?: string
  readonly id?: string
  readonly args?: readonly unknown[]
  readonly kwargs?: Readonly<Record<string, unknown>>
  readonly embed?: unknown
  readonly headers?: Readonly<Record<string, unknown>>
  readonly contentType?: string
  /** Instead of args, kwargs and embed. */
  readonly body?: string | Uint8Array
}

/** Publishes a message as another program would, with no more than Celery's protocol asks for. */
export async function publishForeign(app: Celeriac, task: string, foreign: Foreign = {}): Promise<string> {
  const { queue = 'celery', id = `foreign-${++files}`, args = [], kwargs = {}, embed = {}, contentType } = foreign
  const message = {
    queue,
    headers: { task, id, ...foreign.headers },
    properties: { contentType: contentType ?? 'application/json', contentEncoding: 'utf-8' },
    body: foreign.body ?? JSON.stringify([args, kwargs, embed]),
  }
  await app.broker.publish([message])
  return id
}

/** A worker whose tasks do not end holds the test for this long, and fails it. */
const closeWithinMs = 8_000

afterEach(async () => {
  const used = new Set<string>()
  try {
    for (const app of apps.splice(0)) {
      if (isOpen(app)) used.add(app.config.broker)
      await within(closeWithinMs, app.close(), 'the application did not close: a task still runs, or an outcome waits')
    }
    for (const url of used) expect(await leftovers(url), `what is left on ${url}`).toEqual([])
  } finally {
    vi.restoreAllMocks()
    aheadMs = 0
  }
})

afterAll(() => {
  rmSync(folder, { recursive: true, force: true })
})

function isOpen(app: Celeriac): boolean {
  try {
    return app.broker !== undefined
  } catch {
    return false
  }
}

/** Queues that somebody still consumes, or has messages of, when every application is closed. */
async function leftovers(url: string): Promise<string[]> {
  const { broker } = await connect(url, {
    durability: 'group',
    resultExpiresMs: 0,
    publishTimeoutMs: 10_000,
    logger: silent,
    clock: systemClock,
  })
  await broker.open()
  try {
    const queues = await broker.queues()
    return queues
      .filter(({ consumers, inFlight }) => consumers + inFlight > 0)
      .map(({ queue, consumers, inFlight }) => `${queue}: ${consumers} consumers, ${inFlight} on loan`)
  } finally {
    await broker.close()
  }
}

async function within(ms: number, work: Promise<void>, complaint: string): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const tooLate = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(complaint)), ms)
  })
  await Promise.race([work, tooLate]).finally(() => clearTimeout(timer))
}
