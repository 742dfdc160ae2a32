/**
 * One process's connection to the file, shared by its broker, results, bus, locks and limits; and the group commit.
 *
 * Whatever is asked for in one turn of the event loop is written in one transaction at the end of it, in a fixed order
 * of phases, and every promise resolves after the commit. If the commit fails, all of the turn fails and nothing is
 * stored. While another process writes, the turn waits with short random sleeps, and later turns join it.
 */
import { resolve as resolvePath } from 'node:path'
import type { Message } from '../../broker/broker.ts'
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import { Bell } from './bell.ts'
import { type Database, isBusy, openDatabase, type Row, type SqlValue, type Statement, translate } from './binding.ts'
import { configure, type Durability, isOurs, migrate } from './schema.ts'

/** The order within a transaction: what was settled, then what that sent and saved, then what may be claimed. */
export const phases = { settle: 0, publish: 1, save: 2, other: 3, claim: 4 } as const

/** Somebody with work for the next commit. `apply` runs within the transaction and may enlist later phases. */
export interface Participant {
  readonly phase: number
  apply(): void
  committed(): void
  failed(error: unknown): void
}

/** A consumer of this process that waits for messages. Both are called within the transaction that publishes some. */
export interface Sleeper {
  /** Takes the one message there is, straight from its publisher, if nothing speaks against it. */
  take(message: PublishedMessage): boolean
  /** Claims at the end of the transaction, and spares the next one. */
  claim(): void
}

export interface PublishedMessage {
  readonly id: number
  readonly queueName: string
  readonly queue: number
  readonly rank: number
  readonly head: string
  readonly body: string | Uint8Array
  /** The same before it was encoded, where reading it back would give nothing else. */
  readonly message: Message | undefined
}

export interface SqliteStoreOptions {
  readonly path: string
  /** @default 'group' */
  readonly durability?: Durability
  /** How long results are kept, in ms; Infinity keeps them. @default 86_400_000 */
  readonly resultExpiresMs?: number
  /** How long to wait for other processes' locks before giving up, in ms. @default 10_000 */
  readonly busyTimeoutMs?: number
  readonly clock?: Clock
}

/** Another's transaction is mostly over within a millisecond: so long we may block, in short random pieces. */
const spinTries = 8
const longestSpinMs = 0.3

export class SqliteStore {
  readonly path: string
  readonly clock: Clock
  readonly durability: Durability
  readonly resultExpiresMs: number
  readonly #busyTimeoutMs: number
  readonly #statements = new Map<string, Statement>()
  readonly #listeners = new Set<() => void>()
  readonly #sleepers = new Set<Sleeper>()
  readonly #phases: Participant[][] = [[], [], [], [], []]
  #db: Database | undefined
  #bell: Bell | undefined
  #users = 0
  #opening: Promise<void> | undefined
  #scheduled = false
  #flushing = false
  #waitingSince: number | undefined
  readonly #idle: (() => void)[] = []
  #ringAfterCommit = false
  /** Of the messages that this transaction publishes. */
  #firstPublishedId = Number.POSITIVE_INFINITY
  #unclaimed = 0

  constructor(options: SqliteStoreOptions) {
    this.path = resolvePath(options.path)
    this.clock = options.clock ?? systemClock
    this.durability = options.durability ?? 'group'
    this.resultExpiresMs = options.resultExpiresMs ?? 86_400_000
    this.#busyTimeoutMs = options.busyTimeoutMs ?? 10_000
  }

  /** Opens the file for one more user; `close` must be called as often. */
  open(): Promise<void> {
    this.#users += 1
    this.#opening ??= this.#openFile().catch((error) => {
      this.#users = 0
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  async close(): Promise<void> {
    if (this.#users === 0) return
    this.#users -= 1
    if (this.#users > 0) return
    await this.settled()
    this.#bell?.close()
    this.#foldLog()
    this.#db?.close()
    this.#statements.clear()
    this.#bell = undefined
    this.#db = undefined
    this.#opening = undefined
  }

  /** Takes part in the commit at the end of this turn. */
  enlist(participant: Participant): void {
    if (this.#db === undefined) {
      return participant.failed(new CeleriacError('CLOSED', `the database ${this.path} is closed`))
    }
    this.#phase(participant.phase).push(participant)
    this.#schedule()
  }

  /** Runs one piece of writing within the next commit. It may refuse with a `CeleriacError` before it has written. */
  write<T>(work: () => T): Promise<T> {
    return new Promise((resolve, reject) => {
      let value: T
      let error: unknown
      this.enlist({
        phase: phases.other,
        apply: () => {
          try {
            value = work()
          } catch (refusal) {
            if (!(refusal instanceof CeleriacError)) throw refusal
            error = refusal
          }
        },
        committed: () => (error === undefined ? resolve(value) : reject(error)),
        failed: reject,
      })
    })
  }

  /** Reads at once, outside any transaction of ours; tries again while the file is being recovered by another process. */
  async read<T>(work: () => T): Promise<T> {
    const since = this.clock.monotonic()
    for (;;) {
      if (this.#db === undefined) throw new CeleriacError('CLOSED', `the database ${this.path} is closed`)
      try {
        return work()
      } catch (error) {
        if (!isBusy(error) || this.clock.monotonic() - since > this.#busyTimeoutMs) throw translate(error, this.path)
      }
      await pause(randomMs(2, 10))
    }
  }

  run(sql: string, ...values: SqlValue[]): number {
    return Number(this.#prepare(sql).run(values).changes)
  }

  /** Runs an INSERT and tells the id of its last row. */
  insert(sql: string, ...values: SqlValue[]): number {
    return Number(this.#prepare(sql).run(values).lastInsertRowid)
  }

  /** `run` for a list of values that is there already. */
  runList(sql: string, values: readonly SqlValue[]): void {
    this.#prepare(sql).run(values)
  }

  all(sql: string, ...values: SqlValue[]): Row[] {
    return this.#prepare(sql).all(values)
  }

  first(sql: string, ...values: SqlValue[]): Row | undefined {
    return this.#prepare(sql).all(values)[0]
  }

  /** To be called by a participant whose commit others should hear of, in this process and in others. */
  ringAfterCommit(): void {
    this.#ringAfterCommit = true
  }

  /** Tells the ids of messages put into the transaction. Others hear of it, unless all are claimed in it too. */
  published(firstId: number, count: number): void {
    this.#firstPublishedId = firstId
    this.#unclaimed = count
  }

  claimed(id: number): void {
    if (id >= this.#firstPublishedId) this.#unclaimed -= 1
  }

  /** Hears, maybe needlessly, that somebody committed something worth a look. Returns how to stop. */
  onRing(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Adds a sleeper of this process. Returns how to take it off. */
  onPublishing(sleeper: Sleeper): () => void {
    this.#sleepers.add(sleeper)
    return () => this.#sleepers.delete(sleeper)
  }

  /** Within the transaction: whether a sleeper has taken this message, so that it need not be placed. */
  handOver(message: PublishedMessage): boolean {
    for (const sleeper of this.#sleepers) if (sleeper.take(message)) return true
    return false
  }

  /** Within the transaction: lets sleepers claim in it. */
  wakeSleepers(): void {
    for (const sleeper of [...this.#sleepers]) sleeper.claim()
  }

  /** Resolves once everything enlisted so far is committed or has failed. */
  settled(): Promise<void> {
    if (!this.#hasWork() && !this.#flushing) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  async #openFile(): Promise<void> {
    const since = this.clock.monotonic()
    const db = openDatabase(this.path)
    for (;;) {
      try {
        isOurs(db, this.path) // Throws if not, before anything is changed.
        configure(db, this.durability)
        db.exec('BEGIN IMMEDIATE')
        try {
          migrate(db, this.path)
          db.exec('COMMIT')
        } catch (error) {
          db.exec('ROLLBACK')
          throw error
        }
        break
      } catch (error) {
        if (!isBusy(error) || this.clock.monotonic() - since > this.#busyTimeoutMs) {
          db.close()
          throw translate(error, this.path)
        }
      }
      await pause(randomMs(2, 10))
    }
    this.#db = db
    this.#bell = new Bell(this.path, this.clock, () => this.#heard())
  }

  /**
   * The last to close leaves one whole file. SQLite would see to it, but libsql truly closes only when the connection's
   * statements are collected as garbage, which at the end of a process is never.
   */
  #foldLog(): void {
    try {
      this.#db?.exec('PRAGMA wal_checkpoint(TRUNCATE)')
    } catch {
      // Others are at work on it, or the disk is full: the log stays, and nothing is lost.
    }
  }

  #prepare(sql: string): Statement {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      if (this.#db === undefined) throw new CeleriacError('CLOSED', `the database ${this.path} is closed`)
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #phase(index: number): Participant[] {
    return this.#phases[index] as Participant[]
  }

  #hasWork(): boolean {
    return this.#phases.some((participants) => participants.length > 0)
  }

  #takeAll(): Participant[] {
    return this.#phases.flatMap((participants) => participants.splice(0))
  }

  #schedule(): void {
    if (this.#scheduled || this.#flushing) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#flush(0)
    })
  }

  #flush(tries: number): void {
    this.#flushing = true
    try {
      this.run('BEGIN IMMEDIATE')
    } catch (error) {
      return this.#waitForLock(error, tries)
    }
    this.#waitingSince = undefined
    const applied: Participant[] = []
    try {
      for (const participants of this.#phases) {
        for (const participant of participants.splice(0)) {
          applied.push(participant)
          participant.apply()
        }
      }
      this.run('COMMIT')
    } catch (error) {
      this.#rollback()
      this.#end([...applied, ...this.#takeAll()], translate(error, this.path))
      return
    }
    this.#end(applied, undefined)
  }

  /** A short block for a lock that is held for microseconds; timers for one that is held longer; then the error. */
  #waitForLock(error: unknown, tries: number): void {
    this.#waitingSince ??= this.clock.monotonic()
    const waitedMs = this.clock.monotonic() - this.#waitingSince
    if (!isBusy(error) || waitedMs > this.#busyTimeoutMs) {
      this.#waitingSince = undefined
      this.#end(this.#takeAll(), translate(error, this.path))
    } else if (tries < spinTries) {
      Atomics.wait(neverNotified, 0, 0, Math.random() * longestSpinMs)
      this.#flush(tries + 1)
    } else {
      setTimeout(() => this.#flush(0), randomMs(1, 3))
    }
  }

  #rollback(): void {
    try {
      this.run('ROLLBACK')
    } catch {
      // SQLite has rolled back by itself, as it does when the disk is full.
    }
  }

  #end(participants: readonly Participant[], error: unknown): void {
    const ring = (this.#ringAfterCommit || this.#unclaimed > 0) && error === undefined
    this.#ringAfterCommit = false
    this.#firstPublishedId = Number.POSITIVE_INFINITY
    this.#unclaimed = 0
    this.#flushing = false
    // Claims come last and hear of it first: a task must not wait for what its publisher does next.
    for (const participant of participants.toReversed()) {
      if (error === undefined) participant.committed()
      else participant.failed(error)
    }
    if (ring) {
      this.#bell?.ring()
      this.#heard()
    }
    if (this.#hasWork()) this.#schedule()
    else for (const resolve of this.#idle.splice(0)) resolve()
  }

  #heard(): void {
    for (const listener of this.#listeners) listener()
  }
}

const neverNotified = new Int32Array(new SharedArrayBuffer(4))

function randomMs(from: number, to: number): number {
  return from + Math.random() * (to - from)
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
