/**
 * Tasks as their events tell of them, stored. An event is taken in by `apply`, within a transaction of many, and the
 * rows that follow from it are written once by `write`. Those heard of lately are in memory; of others the events are
 * read again, so that one that comes days later still changes what it should.
 */
import type { Clock } from '../../clock.ts'
import { type FleetTask, FleetTaskRecord } from '../../events/fleet-task.ts'
import type { ReceivedEvent } from '../../events/received-event.ts'
import { stampOf } from '../../events/stamp.ts'
import type { MonitorDatabase } from './database.ts'
import type { Words } from './words.ts'

/** A task as it is stored. */
export interface StoredTask extends FleetTask {
  /** Grows with the time at which the task was heard of first. */
  readonly no: number
  /** When it was heard of first, by our time: epoch ms. */
  readonly seenAt: number
}

/** An event as it is stored: secrets hidden, long texts cut. */
export interface StoredEvent {
  readonly type: string
  /** Epoch ms, by the sender's host. */
  readonly at: number
  readonly hostname: string
  readonly clock: number
  readonly data: Readonly<Record<string, unknown>>
}

interface Entry {
  readonly uuid: string
  readonly no: number
  readonly seenAt: number
  record: FleetTaskRecord
  events: number
  /** Learned in another way than from its events. */
  queue: string | null
  /** What the index of texts has. */
  text: string
}

/** Tasks in memory: enough for all that are under way in most fleets. */
const maxEntries = 5_000
/** Events kept of one task: a storm of retries must not fill the file. The first ones and the last ones tell the story. */
const maxEvents = 200
const keptFirst = 5
const maxTextLength = 20_000
const maxFieldLength = 64_000
/** Ids are compared and shown; Celery's have 36 characters. */
export const maxIdLength = 255

/** Fields with a column of their own, or of no use later. */
const ownColumns = new Set(['type', 'hostname', 'timestamp', 'clock', 'uuid', 'utcoffset'])

export class TaskStore {
  readonly #db: MonitorDatabase
  readonly #words: Words
  readonly #clock: Clock
  /** The one heard of last comes last. */
  readonly #entries = new Map<string, Entry>()
  readonly #touched = new Set<Entry>()
  #lastSeenAt: number

  constructor(db: MonitorDatabase, words: Words, clock: Clock) {
    this.#db = db
    this.#words = words
    this.#clock = clock
    this.#lastSeenAt = Number(db.first('SELECT max(seen_at) AS at FROM tasks')?.at ?? 0)
  }

  /**
   * Takes an event of a task in.
   * @returns what is known of the task before and after it; undefined for one that was taken in already
   */
  apply(event: ReceivedEvent, receivedAtMs: number): { before: FleetTask; after: FleetTask } | undefined {
    const { uuid } = event
    if (uuid === undefined || uuid.length > maxIdLength) return undefined
    const entry = this.#entry(uuid)
    const { atMs, clock, hostname } = stampOf(event, receivedAtMs)
    const isNew = this.#db.run(
      'INSERT OR IGNORE INTO events (task, at, clock, type, host, data) VALUES (?, ?, ?, ?, ?, ?)',
      [entry.no, atMs, clock, event.type.slice(0, maxIdLength), hostname.slice(0, maxIdLength), dataOf(event)],
    )
    if (isNew === 0) return undefined
    entry.events += 1
    if (entry.events > maxEvents) this.#dropOne(entry)
    const before = entry.record.view
    entry.record.apply(event, receivedAtMs)
    this.#touched.add(entry)
    return { before, after: entry.record.view }
  }

  /** What its own events do not say: the queue it is in. */
  place(uuid: string, queue: string): void {
    const entry = this.#entries.get(uuid)
    if (entry === undefined || entry.queue === queue) return
    entry.queue = queue
    this.#touched.add(entry)
  }

  /** Writes the rows of what has changed. @returns these tasks */
  write(): StoredTask[] {
    const tasks = [...this.#touched].map((entry) => {
      const task = viewOf(entry)
      this.#writeRow(entry, task)
      return task
    })
    this.#touched.clear()
    return tasks
  }

  /** After a transaction that was rolled back: what is in memory may be ahead of the file. */
  forgetMemory(): void {
    this.#entries.clear()
    this.#touched.clear()
  }

  /** After tasks were deleted from the file. */
  forget(uuids: readonly string[]): void {
    for (const uuid of uuids) this.#entries.delete(uuid)
  }

  get(uuid: string): StoredTask | undefined {
    const row = this.#db.first('SELECT no, seen_at, view FROM tasks WHERE uuid = ?', [uuid])
    return row && storedTask(row)
  }

  /** Also of one that is not written yet. */
  isKnown(uuid: string): boolean {
    return this.#entries.has(uuid) || this.#db.first('SELECT 1 FROM tasks WHERE uuid = ?', [uuid]) !== undefined
  }

  /** Also of one that is not written yet; null where it is not known. */
  nameOf(uuid: string): string | null {
    return this.#entries.get(uuid)?.record.view.name ?? this.get(uuid)?.name ?? null
  }

  /** In the order in which they were sent. */
  events(uuid: string): StoredEvent[] {
    const rows = this.#db.all(
      `SELECT e.at, e.clock, e.type, e.host, e.data FROM tasks t JOIN events e ON e.task = t.no WHERE t.uuid = ?
       ORDER BY e.at, e.clock`,
      [uuid],
    )
    return rows.map(storedEvent)
  }

  /** All tasks of one tree, the first heard of first. At most `limit`. */
  ofRoot(root: string, limit: number): StoredTask[] {
    return this.#db
      .all('SELECT no, seen_at, view FROM tasks WHERE root = ? ORDER BY no LIMIT ?', [root, limit])
      .map(storedTask)
  }

  #entry(uuid: string): Entry {
    const known = this.#entries.get(uuid)
    if (known !== undefined) this.#entries.delete(uuid)
    const entry = known ?? this.#read(uuid) ?? this.#add(uuid)
    this.#entries.set(uuid, entry)
    if (this.#entries.size > maxEntries) this.#evict()
    return entry
  }

  #evict(): void {
    for (const [uuid, entry] of this.#entries) {
      // What is not written yet is written with its transaction, which is never larger than the memory.
      if (this.#touched.has(entry)) continue
      this.#entries.delete(uuid)
      return
    }
  }

  #read(uuid: string): Entry | undefined {
    const row = this.#db.first('SELECT no, seen_at, view FROM tasks WHERE uuid = ?', [uuid])
    if (row === undefined) return undefined
    const record = new FleetTaskRecord(uuid)
    const events = this.events(uuid)
    for (const { type, at, hostname, clock, data } of events) {
      record.apply({ ...data, type, uuid, clock, timestamp: at / 1_000, ...(hostname !== '' && { hostname }) }, at)
    }
    const stored = storedTask(row)
    const { no, seenAt, queue } = stored
    return { uuid, no, seenAt, record, events: events.length, queue, text: JSON.stringify(textsOf(stored)) }
  }

  #add(uuid: string): Entry {
    // Also where the clock of the host went back: lists by time rely on it.
    this.#lastSeenAt = Math.max(this.#lastSeenAt, this.#clock.now())
    const seenAt = this.#lastSeenAt
    const no = this.#db.insert(
      `INSERT INTO tasks (uuid, seen_at, state, name, queue, worker, view) VALUES (?, ?, 0, 0, 0, 0, '{}')`,
      [uuid, seenAt],
    )
    return { uuid, no, seenAt, record: new FleetTaskRecord(uuid), events: 0, queue: null, text: '' }
  }

  #writeRow(entry: Entry, { no, seenAt, ...task }: StoredTask): void {
    const { state, name, queue, worker, rootId, uuid } = task
    const ids = [state, name, queue, worker].map((text) => this.#words.idOf(text))
    this.#db.run(
      'UPDATE tasks SET state = ?, name = ?, queue = ?, worker = ?, root = ?, view = ? WHERE no = ?',
      // A task that is alone needs no place in the index of trees.
      [...ids, rootId === uuid ? null : rootId, JSON.stringify(task), no],
    )
    const texts = textsOf(task)
    const text = JSON.stringify(texts)
    if (text === entry.text) return
    entry.text = text
    this.#db.run('INSERT OR REPLACE INTO task_text (rowid, args, result, error) VALUES (?, ?, ?, ?)', [no, ...texts])
  }

  /** One event of the middle goes. */
  #dropOne(entry: Entry): void {
    this.#db.run(
      `DELETE FROM events WHERE task = ?1 AND (at, clock, type, host) =
         (SELECT at, clock, type, host FROM events WHERE task = ?1 ORDER BY at, clock, type, host LIMIT 1 OFFSET ?2)`,
      [entry.no, keptFirst],
    )
    entry.events -= 1
  }
}

export function storedTask(row: Readonly<Record<string, unknown>>): StoredTask {
  return { no: Number(row.no), seenAt: Number(row.seen_at), ...(JSON.parse(String(row.view)) as FleetTask) }
}

function storedEvent(row: Readonly<Record<string, unknown>>): StoredEvent {
  return {
    type: String(row.type),
    at: Number(row.at),
    hostname: String(row.host),
    clock: Number(row.clock),
    data: JSON.parse(String(row.data)) as Record<string, unknown>,
  }
}

function viewOf({ no, seenAt, record, queue }: Entry): StoredTask {
  const { view } = record
  return { no, seenAt, ...view, queue: view.queue ?? queue }
}

/** Arguments, result and error, for the index. */
function textsOf({ args, kwargs, result, exception }: FleetTask): [args: string, result: string, error: string] {
  const cut = (text: string | null): string => (text ?? '').slice(0, maxTextLength)
  return [`${cut(args)} ${cut(kwargs)}`, cut(result), cut(exception)]
}

function dataOf(event: ReceivedEvent): string {
  const fields = Object.entries(event).filter(([name, value]) => !ownColumns.has(name) && value !== null)
  const text = JSON.stringify(Object.fromEntries(fields.map(([name, value]) => [name, shortened(value)])))
  // Fields of others' may be of any size and number; those that we read are texts and numbers.
  if (text.length <= 4 * maxFieldLength) return text
  const plain = fields.filter(([, value]) => typeof value !== 'object').slice(0, 30)
  return JSON.stringify(Object.fromEntries(plain.map(([name, value]) => [name, shortened(value, 8_000)])))
}

function shortened(value: unknown, length = maxFieldLength): unknown {
  return typeof value === 'string' && value.length > length ? `${value.slice(0, length)}…` : value
}
