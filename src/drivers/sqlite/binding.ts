/**
 * The port through which this driver speaks SQL: open, exec, prepare (run and all), close. Two bindings fit behind it,
 * `node:sqlite` where Node has it (22.13 and newer) and `libsql` below that; both are synchronous.
 *
 * `translate` says their errors in this package's words. A busy database is waited for by the store, never in SQLite:
 * its own busy handler can starve one of two busy processes for a second.
 */
import { createRequire } from 'node:module'
import { CeleriacError } from '../../errors.ts'

export type SqlValue = string | number | Uint8Array | null
export type Row = Readonly<Record<string, SqlValue>>

/** Values are given as one list: `libsql` copies them otherwise, row by row. */
export interface Statement {
  run(values: readonly SqlValue[]): { readonly changes: number | bigint; readonly lastInsertRowid: number | bigint }
  all(values: readonly SqlValue[]): Row[]
}

export interface Database {
  exec(sql: string): void
  prepare(sql: string): Statement
  close(): void
}

type Opener = (path: string) => Database

const require = createRequire(import.meta.url)

let opener: Opener | undefined

function binding(): Opener {
  return hasNodeSqlite() ? nodeSqlite() : libsql()
}

function hasNodeSqlite(): boolean {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  return major > 22 || (major === 22 && minor >= 13)
}

function libsql(): Opener {
  const Libsql = require('libsql') as new (path: string) => Database
  return (path) => new Libsql(path)
}

interface NodeStatement {
  run(...values: readonly SqlValue[]): ReturnType<Statement['run']>
  all(...values: readonly SqlValue[]): Row[]
}

interface NodeDatabase {
  exec(sql: string): void
  prepare(sql: string): NodeStatement
  close(): void
}

function nodeSqlite(): Opener {
  const { DatabaseSync } = withoutExperimentalWarning(
    () => require('node:sqlite') as { DatabaseSync: new (path: string) => NodeDatabase },
  )
  return (path) => {
    const db = new DatabaseSync(path)
    return {
      exec: (sql) => db.exec(sql),
      prepare(sql) {
        const statement = db.prepare(sql)
        return { run: (values) => statement.run(...values), all: (values) => statement.all(...values) }
      },
      close: () => db.close(),
    }
  }
}

/** Which binding serves here, and the SQLite in it. */
export function describeBinding(): { readonly name: string; readonly sqliteVersion: string } {
  const db = openDatabase(':memory:')
  const [row] = db.prepare('SELECT sqlite_version() AS version').all([])
  db.close()
  return { name: hasNodeSqlite() ? 'node:sqlite' : 'libsql', sqliteVersion: String(row?.version) }
}

/** Node 22 prints a warning the first time `node:sqlite` is loaded; it concerns us, not our users. */
function withoutExperimentalWarning<T>(load: () => T): T {
  const { emitWarning } = process
  process.emitWarning = (() => undefined) as typeof process.emitWarning
  try {
    return load()
  } finally {
    process.emitWarning = emitWarning
  }
}

/** @throws CeleriacError `BROKER_UNAVAILABLE` when the file cannot be opened or created */
export function openDatabase(path: string): Database {
  try {
    opener ??= binding()
    return opener(path)
  } catch (error) {
    throw new CeleriacError(
      'BROKER_UNAVAILABLE',
      `the database ${path} cannot be opened: check that its folder exists and may be written (${messageOf(error)})`,
      { cause: error },
    )
  }
}

// The result codes of https://www.sqlite.org/rescode.html that mean something to a caller.
const SQLITE_BUSY = 5
const SQLITE_READONLY = 8
const SQLITE_CORRUPT = 11
const SQLITE_FULL = 13
const SQLITE_NOTADB = 26

/** The primary result code, however the binding writes it (`errcode` in node:sqlite, `rawCode` in libsql). */
function resultCode(error: unknown): number {
  const { errcode, rawCode } = error as { errcode?: number; rawCode?: number }
  return (errcode ?? rawCode ?? 0) & 0xff
}

export function isBusy(error: unknown): boolean {
  return resultCode(error) === SQLITE_BUSY
}

/** Says a binding's error in this package's words. Errors of our own pass through. */
export function translate(error: unknown, path: string): unknown {
  if (error instanceof CeleriacError) return error
  const options = { cause: error }
  switch (resultCode(error)) {
    case SQLITE_FULL:
      return new CeleriacError(
        'STORAGE_FULL',
        `the disk that holds ${path} is full; nothing was stored. Free some space and try again`,
        options,
      )
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return new CeleriacError(
        'STORAGE_CORRUPT',
        `${path} is not a readable SQLite database. If it is another file, choose another path; if it was damaged, ` +
          'restore a backup or recover it with `sqlite3 FILE .recover`',
        options,
      )
    case SQLITE_BUSY:
      return new CeleriacError('STORAGE_BUSY', `another process holds a lock on ${path}; nothing was stored`, options)
    case SQLITE_READONLY:
      return new CeleriacError('BROKER_UNAVAILABLE', `${path} is read-only for this process`, options)
    default:
      return new CeleriacError('BROKER_UNAVAILABLE', `the database ${path} failed: ${messageOf(error)}`, options)
  }
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
