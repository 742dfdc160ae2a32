/**
 * A thread with its own connection, so that a task that blocks the event loop keeps its lease. It renews the leases of
 * this process's consumers, gives back what lapsed consumers of any process held, and clears away what has expired.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { strike } from './bell.ts'
import { type Database, isBusy, openDatabase, type SqlValue } from './binding.ts'
import { cleanUp } from './clean-up.ts'
import { giveBackAll } from './give-back.ts'
import { configure, type Durability } from './schema.ts'
import { Turnstile } from './turnstile.ts'

export interface LeaseThreadData {
  readonly path: string
  readonly durability: Durability
  readonly turnstile: Int32Array
}

export type LeaseOrder = { hold: number; leaseMs: number } | { drop: number } | { close: true }

/** Renewals within one lease, so that a few that come late do not cost it. */
const renewalsPerLease = 6
const cleaningIntervalMs = 30_000
const busyRetryMs = 2

const { path, durability, turnstile: shared } = workerData as LeaseThreadData
const turnstile = new Turnstile(shared)
const db = turnstile.pass(openWhenFree) as Database
const leases = new Map<number, number>()
let timer: NodeJS.Timeout | undefined
let cleanAt = Date.now() + cleaningIntervalMs

parentPort?.postMessage('running')
parentPort?.on('message', (order: LeaseOrder) => {
  if ('close' in order) {
    clearTimeout(timer)
    turnstile.pass(() => db.close())
    parentPort?.close()
    return
  }
  if ('drop' in order) leases.delete(order.drop)
  else leases.set(order.hold, order.leaseMs)
  tick()
})

function openWhenFree(): Database {
  const opened = openDatabase(path)
  for (;;) {
    try {
      configure(opened, durability)
      return opened
    } catch (error) {
      if (!isBusy(error)) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, busyRetryMs)
    }
  }
}

/** One round; sleeps until the next renewal, or the instant the next stranger's lease lapses. */
function tick(): void {
  clearTimeout(timer)
  let sleepMs = busyRetryMs
  try {
    sleepMs = turnstile.pass(() => transaction(round)) ?? sleepMs
  } catch (error) {
    // Busy: try again at once. Anything else (a full disk, say) is met and reported by the main thread too.
    if (!isBusy(error)) sleepMs = 100
  }
  timer = setTimeout(tick, sleepMs)
}

/** Returns how long there is nothing to do. */
function round(): number {
  renew()
  giveBackLapsed()
  if (Date.now() >= cleanAt) clean()
  return untilNext()
}

function renew(): void {
  for (const [lease, leaseMs] of leases) {
    run('UPDATE consumer SET expires = max(expires, ?) WHERE id = ?', Date.now() + leaseMs, lease)
  }
}

function giveBackLapsed(): void {
  const lapsed = db.prepare('SELECT id FROM consumer WHERE expires <= ?').all([Date.now()])
  for (const { id } of lapsed) giveBackAll({ run }, Number(id), 'counted')
  if (lapsed.length > 0) ringAfterCommit = true
}

function untilNext(): number {
  const next = db.prepare('SELECT min(expires) AS at FROM consumer').all([])[0]?.at
  const untilLapse = next === null || next === undefined ? Number.POSITIVE_INFINITY : Number(next) - Date.now() + 1
  const renewal = Math.min(5_000, ...[...leases.values()].map((leaseMs) => leaseMs / renewalsPerLease))
  return Math.max(1, Math.min(renewal, untilLapse))
}

function clean(): void {
  cleanAt = Date.now() + cleaningIntervalMs
  cleanUp({ run }, Date.now())
  db.exec('PRAGMA incremental_vacuum(1000)')
}

let ringAfterCommit = false

function transaction<T>(work: () => T): T {
  db.exec('BEGIN IMMEDIATE')
  try {
    const value = work()
    db.exec('COMMIT')
    if (ringAfterCommit) strike(path)
    ringAfterCommit = false
    return value
  } catch (error) {
    db.exec('ROLLBACK')
    throw error
  }
}

function run(sql: string, ...values: SqlValue[]): number {
  return Number(db.prepare(sql).run(values).changes)
}
