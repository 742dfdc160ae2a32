/**
 * The file of the monitor's memory. It belongs to one monitor: the lock is held while it is open, so that a second one
 * on the same file is refused and not half served.
 */
import { chmodSync, closeSync, openSync } from 'node:fs'
import {
  type Database,
  isBusy,
  openDatabase,
  type Row,
  type SqlValue,
  translate,
} from '../../drivers/sqlite/binding.ts'
import { CeleriacError } from '../../errors.ts'
import { applicationId, schema, schemaVersion } from './schema.ts'

/** A path of a file that lives in memory and is gone with the process. */
export const inMemory = ':memory:'

export class MonitorDatabase {
  readonly path: string
  readonly #db: Database
  readonly #statements = new Map<string, ReturnType<Database['prepare']>>()
  #isInTransaction = false

  /** @throws CeleriacError `BROKER_UNAVAILABLE`, `STORAGE_BUSY` while another monitor has it, `STORAGE_CORRUPT` */
  constructor(path: string) {
    this.path = path
    if (path !== inMemory) keepPrivate(path)
    this.#db = openDatabase(path)
    try {
      this.#prepareFile()
    } catch (error) {
      this.#db.close()
      if (!isBusy(error)) throw translate(error, path)
      throw new CeleriacError(
        'STORAGE_BUSY',
        `another monitor uses ${path}; end it, or give this one a file of its own with --db`,
        { cause: error },
      )
    }
  }

  run(sql: string, values: readonly SqlValue[] = []): number {
    return Number(this.#guarded(() => this.#statement(sql).run(values).changes))
  }

  /** @returns the new row's number */
  insert(sql: string, values: readonly SqlValue[]): number {
    return Number(this.#guarded(() => this.#statement(sql).run(values).lastInsertRowid))
  }

  all(sql: string, values: readonly SqlValue[] = []): Row[] {
    return this.#guarded(() => this.#statement(sql).all(values))
  }

  first(sql: string, values: readonly SqlValue[] = []): Row | undefined {
    return this.all(sql, values)[0]
  }

  /** All of it or nothing. One in another belongs to that. */
  transaction<T>(work: () => T): T {
    if (this.#isInTransaction) return work()
    this.#guarded(() => this.#db.exec('BEGIN IMMEDIATE'))
    this.#isInTransaction = true
    try {
      const value = work()
      this.#guarded(() => this.#db.exec('COMMIT'))
      return value
    } catch (error) {
      this.#rollBack()
      throw error
    } finally {
      this.#isInTransaction = false
    }
  }

  /** Bytes of the file that are in use. */
  size(): number {
    const number = (pragma: string): number => Number(Object.values(this.first(`PRAGMA ${pragma}`) ?? {})[0] ?? 0)
    return (number('page_count') - number('freelist_count')) * number('page_size')
  }

  /** Gives what was freed back to the file system, a part at a time. */
  shrink(): void {
    this.#guarded(() => this.#db.exec('PRAGMA incremental_vacuum(2000)'))
  }

  close(): void {
    this.#statements.clear()
    try {
      // A binding may keep a closed file open until its statements are collected: the lock is given back before.
      this.#db.exec('PRAGMA journal_mode = DELETE; PRAGMA locking_mode = NORMAL')
      this.#db.prepare('SELECT count(*) FROM sqlite_schema').all([])
    } catch {
      // On a full disk the journal stays, and is read by the next one who opens the file.
    }
    this.#db.close()
  }

  #prepareFile(): void {
    // Before anything is written: a file that is there keeps what it has.
    this.#db.exec('PRAGMA auto_vacuum = INCREMENTAL; PRAGMA locking_mode = EXCLUSIVE; PRAGMA journal_mode = WAL')
    // What the last seconds told may be lost with the power: it is a memory of facts, not the facts.
    this.#db.exec('PRAGMA synchronous = NORMAL; PRAGMA cache_size = -32000; PRAGMA journal_size_limit = 67108864')
    const version = Number(this.first('PRAGMA user_version')?.user_version)
    const id = Number(this.first('PRAGMA application_id')?.application_id)
    if (version === 0 && id === 0 && this.first('SELECT 1 FROM sqlite_schema LIMIT 1') === undefined) this.#create()
    else if (id !== applicationId || version !== schemaVersion) throw this.#strangeFile(id, version)
    // Takes the lock now, not with the first event.
    this.#db.exec(`BEGIN IMMEDIATE; PRAGMA user_version = ${schemaVersion}; COMMIT`)
  }

  #create(): void {
    this.#db.exec(
      `BEGIN IMMEDIATE; PRAGMA application_id = ${applicationId}; PRAGMA user_version = ${schemaVersion}; ${schema}; COMMIT`,
    )
  }

  #strangeFile(id: number, version: number): CeleriacError {
    const why = id === applicationId ? `is of another version (${version}, not ${schemaVersion})` : "is not a monitor's"
    return new CeleriacError('CONFIG_INVALID', `the database ${this.path} ${why}; give --db another path`)
  }

  #statement(sql: string): ReturnType<Database['prepare']> {
    let statement = this.#statements.get(sql)
    if (statement === undefined) {
      statement = this.#db.prepare(sql)
      this.#statements.set(sql, statement)
    }
    return statement
  }

  #guarded<T>(work: () => T): T {
    try {
      return work()
    } catch (error) {
      throw translate(error, this.path)
    }
  }

  #rollBack(): void {
    try {
      this.#db.exec('ROLLBACK')
    } catch {
      // A full disk has rolled it back already; the first error is the one to tell.
    }
  }
}

/** It holds arguments of tasks. SQLite gives the files beside it the same mode. */
function keepPrivate(path: string): void {
  try {
    closeSync(openSync(path, 'a', 0o600))
    chmodSync(path, 0o600)
  } catch {
    // What is wrong with the path is said when it is opened.
  }
}
