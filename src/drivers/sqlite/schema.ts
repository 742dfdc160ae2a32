/**
 * The tables, and how the file is set up.
 *
 * A message is one wide row in `payload` (written once, deleted once) and one narrow row that says where it stands:
 * in `ready`, `delayed` or `leased`. Moving it between those never rewrites the payload, and each of the three is its
 * own index, so a claim reads the next rows of `ready` however many there are.
 *
 * - `head` is the JSON of a message's headers and properties: one column, since each costs on its way through the binding.
 * - `rank` is 9 − priority: rows sort by urgency, then by id, which is the order of publishing.
 * - `due` of a leased row: it was claimed while it was kept back, and goes back there; null for what was ready.
 * - A lease belongs to a consumer, not to a message: renewing it is one row however much is in flight, and whoever finds
 *   it lapsed moves all of its messages back at once.
 * - `join_state` counts what is in `join_part`: `added` members were brought along by others, `failed` is the first member
 *   that did not succeed. See `joins.ts`.
 * - `counter` numbers the saved results: a subscriber who has seen one number finds all that came after it.
 */
import { CeleriacError } from '../../errors.ts'
import type { Database } from './binding.ts'

/** Raised when the tables change; a file of a version without an upgrade is refused. */
const schemaVersion = 5

/** Buckets, slots and claims, see `broker/limiter.ts` and `broker/token-bucket.ts`. There may be many of the first and the last. */
const limitTables = `
CREATE TABLE bucket(
  key TEXT PRIMARY KEY, since INTEGER NOT NULL, taken INTEGER NOT NULL, tokens REAL NOT NULL, per_ms REAL NOT NULL,
  expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX bucket_expires ON bucket(expires);

CREATE TABLE slot(
  key TEXT, holder TEXT, expires INTEGER NOT NULL, PRIMARY KEY(key, holder)) WITHOUT ROWID;

CREATE TABLE claim(key TEXT PRIMARY KEY, value TEXT NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX claim_expires ON claim(expires);
`

/** Who belongs to a group, as JSON. */
const groupTable = `
CREATE TABLE task_group(group_id TEXT PRIMARY KEY, expires INTEGER, record TEXT NOT NULL) WITHOUT ROWID;
`

/** Entries of beats, see `broker/schedule-store.ts`; and the names of those that a leader is to look at again. */
const scheduleTables = `
CREATE TABLE schedule(
  scope TEXT, name TEXT, revision INTEGER NOT NULL, value TEXT NOT NULL, PRIMARY KEY(scope, name)) WITHOUT ROWID;

CREATE TABLE schedule_change(scope TEXT, name TEXT, PRIMARY KEY(scope, name)) WITHOUT ROWID;
`

const tables = `
CREATE TABLE queue(id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, paused INTEGER NOT NULL DEFAULT 0);

CREATE TABLE payload(
  id INTEGER PRIMARY KEY, published INTEGER NOT NULL, head TEXT NOT NULL, body NOT NULL);

CREATE TABLE ready(
  queue INTEGER, rank INTEGER, id INTEGER, deliveries INTEGER NOT NULL,
  PRIMARY KEY(queue, rank, id)) WITHOUT ROWID;

CREATE TABLE delayed(
  due INTEGER, id INTEGER, queue INTEGER NOT NULL, rank INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  PRIMARY KEY(due, id)) WITHOUT ROWID;

CREATE TABLE leased(
  consumer INTEGER, id INTEGER, queue INTEGER NOT NULL, rank INTEGER NOT NULL, deliveries INTEGER NOT NULL,
  due INTEGER, PRIMARY KEY(consumer, id)) WITHOUT ROWID;

CREATE TABLE consumer(
  id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL, queues TEXT NOT NULL, expires INTEGER NOT NULL);

CREATE TABLE result(
  seq INTEGER PRIMARY KEY, task_id TEXT NOT NULL UNIQUE, fence INTEGER NOT NULL, status TEXT NOT NULL,
  expires INTEGER, record TEXT NOT NULL);

CREATE TABLE counter(value INTEGER NOT NULL);
INSERT INTO counter VALUES (0);

CREATE TABLE join_state(
  group_id TEXT PRIMARY KEY, size INTEGER, closed INTEGER NOT NULL DEFAULT 0, expires INTEGER,
  joined INTEGER NOT NULL DEFAULT 0, added INTEGER NOT NULL DEFAULT 0, failed TEXT) WITHOUT ROWID;

CREATE TABLE join_part(group_id TEXT, member_id TEXT, idx INTEGER NOT NULL, part TEXT NOT NULL,
  PRIMARY KEY(group_id, member_id)) WITHOUT ROWID;

CREATE TABLE lock(name TEXT PRIMARY KEY, token INTEGER NOT NULL, expires INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE bus(id INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, topic TEXT NOT NULL, reply_to TEXT,
  payload TEXT NOT NULL, headers TEXT NOT NULL DEFAULT '{}');
${limitTables}${groupTable}${scheduleTables}`

/** What brings a file of an older version to the next one. */
const upgrades: Readonly<Record<number, string>> = {
  1: 'ALTER TABLE leased ADD COLUMN due INTEGER',
  2: `ALTER TABLE bus ADD COLUMN headers TEXT NOT NULL DEFAULT '{}'; ${limitTables}`,
  3: `ALTER TABLE join_state ADD COLUMN joined INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE join_state ADD COLUMN added INTEGER NOT NULL DEFAULT 0;
      ALTER TABLE join_state ADD COLUMN failed TEXT; ${groupTable}`,
  4: scheduleTables,
}

/**
 * What a resolved promise has survived:
 * `full` = a loss of power (fsync at each group commit); `group` = the death of any process; after a loss of power the
 * file is whole but may lack the last commits; `relaxed` = the same for a process, but power loss may corrupt the file.
 */
export type Durability = 'full' | 'group' | 'relaxed'

const synchronous: Record<Durability, string> = { full: 'FULL', group: 'NORMAL', relaxed: 'OFF' }

/**
 * The log is folded back every 4 MiB: the process whose commit is the thousandth page waits for the disk, and with larger
 * pieces that wait was what the slowest hundredth of all tasks waited for.
 */
export function configure(db: Database, durability: Durability): void {
  db.exec('PRAGMA busy_timeout = 0')
  db.exec('PRAGMA auto_vacuum = INCREMENTAL')
  db.exec('PRAGMA journal_mode = WAL')
  db.exec(`PRAGMA synchronous = ${synchronous[durability]}`)
  db.exec('PRAGMA wal_autocheckpoint = 1000')
  db.exec('PRAGMA cache_size = -65536')
  db.exec('PRAGMA temp_store = MEMORY')
}

/** Creates what is missing, and brings an older file up to date. To be called within a write transaction, so that two processes do not both create. */
export function migrate(db: Database, path: string): void {
  let version = versionOf(db)
  if (version === schemaVersion) return
  if (!isOurs(db, path)) db.exec(tables)
  else for (; version < schemaVersion; version++) db.exec(upgrades[version] as string)
  db.exec(`PRAGMA user_version = ${schemaVersion}`)
}

/**
 * Whether the tables are there; false for a new file. Only reads, and is to be asked before `configure`, which would
 * change a stranger's file.
 *
 * @throws CeleriacError `STORAGE_CORRUPT` for the file of another application or version
 */
export function isOurs(db: Database, path: string): boolean {
  const version = versionOf(db)
  if (version === schemaVersion || upgrades[version] !== undefined) return true
  const foreign = db.prepare("SELECT count(*) AS n FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").all([])[0]
  if (version !== 0 || Number(foreign?.n) > 0) {
    throw new CeleriacError(
      'STORAGE_CORRUPT',
      version === 0
        ? `${path} is a SQLite database of something else; choose another path`
        : `${path} was made by another version of celeriac (layout ${version}, this one reads ${schemaVersion})`,
    )
  }
  return false
}

function versionOf(db: Database): number {
  return Number(db.prepare('PRAGMA user_version').all([])[0]?.user_version ?? 0)
}
