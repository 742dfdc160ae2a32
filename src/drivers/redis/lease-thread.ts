/**
 * A thread with its own connection, so that a task that blocks the event loop keeps its lease. It renews the leases of
 * this process's consumers, and gives back what lapsed consumers held, and what Python's dead workers did.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { systemClock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { RedisConnection } from './connection.ts'
import { replyCode } from './failures.ts'
import { renewScript } from './scripts.ts'
import type { RedisSettings } from './settings.ts'

export interface LeaseThreadData {
  readonly settings: RedisSettings
}

export type LeaseOrder = { hold: string; leaseMs: number } | { drop: string } | { close: true }

/** Renewals within one lease, so that a few that come late do not cost it. */
const renewalsPerLease = 6
const longestPauseMs = 5_000
const longestRestoreMs = 10_000
const retryMs = 100

const { settings } = workerData as LeaseThreadData
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
    parentPort?.close()
    return
  }
  if ('drop' in order) leases.delete(order.drop)
  else leases.set(order.hold, order.leaseMs)
  plan(0)
})

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
    if (!isKnownToRun) parentPort?.postMessage('running')
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
