/** Writes the messages of one turn: many rows a statement, because a statement's overhead exceeds a row's. */
import { type Message, type OutgoingMessage, priorityOf } from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import type { SqlValue } from './binding.ts'
import { type Participant, phases, type SqliteStore } from './store.ts'

export const maxMessageBytes = 64 * 1024 * 1024

/** Messages with the same fate and neighbouring ids, placed by one statement. */
interface Run {
  readonly queue: number
  readonly rank: number
  /** 0 = ready at once. */
  readonly due: number
  readonly first: number
  last: number
}

/** A message as it will stand in its row. */
export interface EncodedMessage {
  readonly queue: string
  readonly rank: number
  readonly due: number
  readonly head: string
  readonly body: string | Uint8Array
  readonly message: Message
}

/** Property that says: these bytes are a text. Ours alone; it is taken off when the message is read. */
export const textMark = 'isText'

const rowsPerStatement = 32

const insertPayloads = (rows: number): string =>
  `INSERT INTO payload(id, published, head, body) VALUES ${Array(rows).fill('(?,?,?,?)').join(',')}`
const columns = 4
const insertMany = insertPayloads(rowsPerStatement)
const insertOne = insertPayloads(1)

export class Outbox implements Participant {
  readonly phase = phases.publish
  readonly #store: SqliteStore
  readonly #queueIds = new Map<string, number>()
  #rows: EncodedMessage[] = []
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #enlisted = false

  constructor(store: SqliteStore) {
    this.#store = store
  }

  publish(messages: Iterable<OutgoingMessage>): Promise<void> {
    const rows = this.encode(messages)
    if (rows.length === 0) return Promise.resolve()
    return new Promise((resolve, reject) => {
      for (const row of rows) this.#rows.push(row)
      this.#waiting.push({ resolve, reject })
      this.#enlist()
    })
  }

  /** Adds to the transaction under way; its owner answers for the outcome. */
  add(messages: readonly EncodedMessage[]): void {
    for (const message of messages) this.#rows.push(message)
    this.#enlist()
  }

  /** @throws CeleriacError `PAYLOAD_TOO_LARGE` */
  encode(messages: Iterable<OutgoingMessage>): EncodedMessage[] {
    const now = this.#store.clock.now()
    const encoded: EncodedMessage[] = []
    for (const message of messages) encoded.push(encode(message, now))
    return encoded
  }

  /** Within a transaction: the number of a queue, made on its first use. */
  queueId(name: string): number {
    let id = this.#queueIds.get(name)
    if (id === undefined) {
      this.#store.run('INSERT OR IGNORE INTO queue(name) VALUES (?)', name)
      id = Number(this.#store.first('SELECT id FROM queue WHERE name = ?', name)?.id)
      this.#queueIds.set(name, id)
    }
    return id
  }

  apply(): void {
    const store = this.#store
    const now = store.clock.now()
    const runs: Run[] = []
    const values: SqlValue[] = []
    let id = 0
    for (const row of this.#rows) {
      // The first row is told its id by SQLite, the others follow on.
      if (id === 0) id = store.insert(insertOne, null, now, row.head, row.body)
      else values.push(id, now, row.head, row.body)
      if (values.length === rowsPerStatement * columns) store.runList(insertMany, values.splice(0))
      addToRuns(runs, this.queueId(row.queue), row, id)
      id += 1
    }
    for (let at = 0; at < values.length; at += columns) {
      store.runList(insertOne, values.slice(at, at + columns))
    }
    if (this.#isHandedOver(runs)) return
    for (const run of runs) this.#place(run)
    store.published(id - this.#rows.length, this.#rows.length)
    if (runs.some((run) => run.due === 0)) store.wakeSleepers()
  }

  committed(): void {
    for (const { resolve } of this.#reset()) resolve()
  }

  failed(error: unknown): void {
    this.#queueIds.clear()
    for (const { reject } of this.#reset()) reject(error)
  }

  /** A single message for which a worker of this process sleeps goes straight to it. */
  #isHandedOver(runs: readonly Run[]): boolean {
    const [row] = this.#rows
    const [run] = runs
    if (row === undefined || run === undefined || this.#rows.length > 1 || run.due > 0) return false
    const { head, body, message } = row
    const { headers, properties } = message
    return this.#store.handOver({
      id: run.first,
      queueName: row.queue,
      queue: run.queue,
      rank: run.rank,
      head,
      body,
      message: typeof body === 'string' ? { headers, properties, body } : undefined,
    })
  }

  #place({ queue, rank, due, first, last }: Run): void {
    const store = this.#store
    const ids = 'FROM payload WHERE id BETWEEN ? AND ?'
    if (due > 0) {
      const rows = `SELECT ?, id, ?, ?, 0 ${ids}`
      store.run(`INSERT INTO delayed(due, id, queue, rank, deliveries) ${rows}`, due, queue, rank, first, last)
    } else if (first === last) {
      store.run('INSERT INTO ready(queue, rank, id, deliveries) VALUES (?, ?, ?, 0)', queue, rank, first)
    } else {
      store.run(`INSERT INTO ready(queue, rank, id, deliveries) SELECT ?, ?, id, 0 ${ids}`, queue, rank, first, last)
    }
  }

  #enlist(): void {
    if (this.#enlisted) return
    this.#enlisted = true
    this.#store.enlist(this)
  }

  #reset(): { resolve: () => void; reject: (error: unknown) => void }[] {
    const waiting = this.#waiting
    this.#rows = []
    this.#waiting = []
    this.#enlisted = false
    return waiting
  }
}

function addToRuns(runs: Run[], queue: number, { rank, due }: EncodedMessage, id: number): void {
  const run = runs[runs.length - 1]
  if (run !== undefined && run.queue === queue && run.rank === rank && run.due === due) run.last = id
  else runs.push({ queue, rank, due, first: id, last: id })
}

function encode(message: OutgoingMessage, now: number): EncodedMessage {
  const { queue, properties, body, delayMs = 0 } = message
  // SQLite ends a text at its first NUL, so such a text is stored as bytes, with a mark.
  const isCut = typeof body === 'string' && body.includes('\0')
  const head = JSON.stringify([message.headers, isCut ? { ...properties, [textMark]: true } : properties])
  refuseTooLarge(head, body)
  return {
    queue,
    rank: 9 - priorityOf(properties, 0),
    due: delayMs > 0 ? Math.ceil(now + delayMs) : 0,
    head,
    message,
    body: isCut ? Buffer.from(body) : body,
  }
}

/** A character takes at most three bytes, so most texts need no exact measure. */
function refuseTooLarge(head: string, body: string | Uint8Array): void {
  if ((head.length + body.length) * 3 <= maxMessageBytes) return
  const bytes = Buffer.byteLength(head) + (typeof body === 'string' ? Buffer.byteLength(body) : body.length)
  if (bytes <= maxMessageBytes) return
  throw new CeleriacError(
    'PAYLOAD_TOO_LARGE',
    `a message of ${bytes} bytes exceeds the ${maxMessageBytes} this broker takes; nothing was sent`,
  )
}
