/** The SQLite binding that Celeriac itself uses on this Node, behind the four calls the raw ceiling needs. */
import { nativeImport } from './native-import.ts'

export type Value = string | number | bigint | null

export interface Statement {
  run(values: readonly Value[]): unknown
  /** The caller says what its columns are. */
  all<Row>(values: readonly Value[]): Row[]
}

export interface Database {
  exec(sql: string): unknown
  prepare(sql: string): Statement
  close(): void
}

/** How a durability reads as SQLite's setting, always with a write-ahead log. */
export const pragmaSynchronous = { full: 'FULL', group: 'NORMAL', relaxed: 'OFF' } as const

const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)

/** `node:sqlite` where Node has it without a flag, libsql before that. */
export const bindingName = major > 22 || (major === 22 && minor >= 13) ? 'node:sqlite' : 'libsql'

interface LibSql {
  readonly default: new (path: string) => Database
}

interface NodeSqlite {
  readonly DatabaseSync: new (
    path: string,
  ) => {
    exec(sql: string): void
    prepare(sql: string): { run(...values: Value[]): unknown; all(...values: Value[]): unknown[] }
    close(): void
  }
}

export async function openDatabase(path: string): Promise<Database> {
  // libsql takes the values as one array, which is its quickest way in.
  if (bindingName === 'libsql') return new ((await nativeImport('libsql')) as LibSql).default(path)
  const { DatabaseSync } = (await nativeImport('node:sqlite')) as NodeSqlite
  const database = new DatabaseSync(path)
  return {
    exec: (sql) => database.exec(sql),
    prepare(sql) {
      const statement = database.prepare(sql)
      return {
        run: (values) => statement.run(...values),
        all: <Row>(values: readonly Value[]) => statement.all(...values) as Row[],
      }
    },
    close: () => database.close(),
  }
}
