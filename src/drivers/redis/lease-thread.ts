/**
 * A thread with its own connection, so that a task that blocks the event loop keeps its lease. It renews the leases of
 * this process's consumers, gives back what lapsed consumers held, and what Python's dead workers did, and answers pings.
 */
import { parentPort, workerData } from 'node:worker_threads'
import type { Bus, Subscription } from '../../broker/bus.ts'
import { answerPings } from '../../broker/pings.ts'
import { systemClock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { RedisConnection } from './connection.ts'
import { replyCode } from './failures.ts'
import { renewScript } from './scripts.ts'
import type { RedisSettings } from './settings.ts'

export interface LeaseThreadData {
  readonly settings: RedisSettings
  readonly url: string
}

export type LeaseOrder =
  | { hold: string; leaseMs: number }
  | { drop: string }
  | { answerPings: string }
  | { endPings: string }
  | { close: true }

/** That it renews leases, or that pings for a node are answered from now on. */
export type LeaseNews = 'running' | { answering: string }

/** Renewals within one lease, so that a few that come late do not cost it. */
const renewalsPerLease = 6
const longestPauseMs = 5_000
const longestRestoreMs = 10_000
const retryMs = 100
/** An answer that cannot be sent within this time is not waited for any more. In ms. */
const pingTimeoutMs = 2_000

const { settings, url } = workerData as LeaseThreadData
const restoreEveryMs = Math.min(longestRestoreMs, settings.visibilityTimeoutMs / 4)
const ignore = (): void => undefined
const silent: Logger = { debug: ignore, info: ignore, warn: ignore, error: ignore }
const connection = new RedisConnection({
  settings,
  clock: systemClock,
  logger: silent,
  name: 'celeriac-leases',
  onReady: () => queueMicrotask(tick),
})
const leases = new Map<string, number>()
let timer: NodeJS.Timeout | undefined
let restoredAt = Number.NEGATIVE_INFINITY
let isRunning = false
let isKnownToRun = false
let isClosed = false

connection.open()
parentPort?.on('message', (order: LeaseOrder) => {
  if ('close' in order) {
    isClosed = true
    clearTimeout(timer)
    connection.close()
    void closeBus().finally(() => parentPort?.close())
    return
  }
  if ('answerPings' in order) return void startAnswering(order.answerPings)
  if ('endPings' in order) return void stopAnswering(order.endPings)
  if ('drop' in order) leases.delete(order.drop)
  else leases.set(order.hold, order.leaseMs)
  plan(0)
})

/** The nodes that are answered for, and the bus by which they are; it is loaded when there is one. */
const answered = new Map<string, Promise<Subscription>>()
let bus: Promise<Bus> | undefined

async function startAnswering(node: string): Promise<void> {
  if (answered.has(node)) return
  bus ??= openBus()
  // Kept from the first moment, so that an end asked for meanwhile finds what it has to end.
  const answering = bus.then((opened) => answerPings(opened, node))
  answered.set(node, answering)
  try {
    await answering
    parentPort?.postMessage({ answering: node } satisfies LeaseNews)
  } catch {
    // The worker goes on answering by itself.
    answered.delete(node)
    bus = undefined
  }
}

async function stopAnswering(node: string): Promise<void> {
  const answering = answered.get(node)
  answered.delete(node)
  await (await answering?.catch(ignore))?.close()
}

async function openBus(): Promise<Bus> {
  const [{ RedisBus }, { RedisClient }] = await Promise.all([import('./bus.ts'), import('./client.ts')])
  const opened = new RedisBus(
    new RedisClient({ url, resultExpiresMs: 0, publishTimeoutMs: pingTimeoutMs, clock: systemClock, logger: silent }),
  )
  await opened.open()
  return opened
}

async function closeBus(): Promise<void> {
  await (await bus?.catch(ignore))?.close()
}

function plan(ms: number): void {
  clearTimeout(timer)
  // A renewal that the end cuts off must not set the next one: the thread would never end.
  if (isClosed) return
  timer = setTimeout(tick, ms)
}

async function tick(): Promise<void> {
  if (isRunning) return
  isRunning = true
  const shortest = Math.min(...leases.values())
  try {
    const restores = performance.now() - restoredAt > restoreEveryMs
    await renew(restores)
    if (!isKnownToRun) parentPort?.postMessage('running' satisfies LeaseNews)
    isKnownToRun = true
    if (restores) restoredAt = performance.now()
    plan(Math.min(longestPauseMs, restoreEveryMs, shortest / renewalsPerLease))
  } catch {
    plan(retryMs)
  } finally {
    isRunning = false
  }
}

async function renew(restores: boolean): Promise<void> {
  const { prefix, visibilityTimeoutMs } = settings
  const args = [
    prefix,
    restores ? 1 : 0,
    visibilityTimeoutMs,
    ...[...leases].flatMap(([id, leaseMs]) => [id, Math.ceil(leaseMs)]),
  ]
  try {
    await connection.send('EVALSHA', [renewScript.sha, 0, ...args])
  } catch (error) {
    if (replyCode(error) !== 'NOSCRIPT') throw error
    await connection.send('EVAL', [renewScript.lua, 0, ...args])
  }
}
