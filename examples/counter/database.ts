/** A database with a row per counter, and a transaction that keeps the row locked for a while. */
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'libsql'

/** As many as a web server usually has: enough for its traffic, not for a crowd. */
const connectionCount = 20

export class CounterDatabase {
  readonly #transactionMs: number
  readonly #all: readonly Database.Database[]
  readonly #free: Database.Database[]
  readonly #waiting: ((connection: Database.Database) => void)[] = []

  constructor(file: string, transactionMs: number) {
    this.#transactionMs = transactionMs
    this.#all = Array.from({ length: connectionCount }, () => new Database(file))
    this.#free = [...this.#all]
    this.#all[0]?.exec(`PRAGMA journal_mode = WAL;
      CREATE TABLE counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL)`)
  }

  /**
   * Adds one, in a transaction that takes its time.
   * @throws Error when the row cannot be had within `patienceMs`; nothing was counted
   */
  async increment(name: string, patienceMs: number): Promise<void> {
    const deadlineMs = performance.now() + patienceMs
    const connection = await this.#take()
    try {
      while (!tryToLock(connection)) {
        if (performance.now() > deadlineMs) throw new Error('the row is locked by others')
        await sleep(5 + Math.random() * 10)
      }
      try {
        const before = read(connection, name)
        await sleep(this.#transactionMs) // whatever else belongs into this transaction
        connection.prepare('INSERT OR REPLACE INTO counters VALUES (?, ?)').run(name, before + 1)
        connection.exec('COMMIT')
      } catch (error) {
        connection.exec('ROLLBACK')
        throw error
      }
    } finally {
      this.#give(connection)
    }
  }

  value(name: string): number {
    return read(this.#all[0] as Database.Database, name)
  }

  close(): void {
    for (const connection of this.#all) connection.close()
  }

  async #take(): Promise<Database.Database> {
    return this.#free.pop() ?? new Promise((resolve) => this.#waiting.push(resolve))
  }

  #give(connection: Database.Database): void {
    const next = this.#waiting.shift()
    if (next === undefined) this.#free.push(connection)
    else next(connection)
  }
}

function read(connection: Database.Database, name: string): number {
  const [row] = connection.prepare('SELECT value FROM counters WHERE name = ?').all(name) as { value: number }[]
  return row?.value ?? 0
}

/** SQLite has one lock for all rows, which makes our point as well. */
function tryToLock(connection: Database.Database): boolean {
  try {
    connection.exec('BEGIN IMMEDIATE')
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'SQLITE_BUSY') return false
    throw error
  }
}
