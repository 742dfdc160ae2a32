/**
 * The aisles: an inventory database with stock on shelves, and one lock row per aisle, because only one picker fits
 * into an aisle at a time.
 *
 * A trip takes the goods of one order or of several, in three steps: lock their aisles, walk to each shelf, and then, in
 * one transaction, take the stock and write down which order has taken it. Only that transaction decides what is right:
 * - killed before it, nothing was taken; killed after it, the next run finds the picks and takes nothing again;
 * - two trips for one order at once: the second transaction sees the picks of the first;
 * - all lines of an order or none, and stock never goes below zero.
 * The locks decide only who has to wait. One left behind by a killed picker lapses by itself.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import Database from 'libsql'
import type { Order } from './order.ts'
import type { Sku } from './orders/skus.ts'

/** Somebody else is in one of the aisles, or in the database. Worth another try. */
export class AisleBusy extends Error {
  override readonly name = 'AisleBusy'
}

/** The shelf holds less than was ordered. Trying again will not help, new stock will. */
export class OutOfStock extends Error {
  override readonly name = 'OutOfStock'
}

export interface Pick {
  readonly orderId: string
  readonly sku: string
  readonly quantity: number
}

export interface Stock {
  readonly sku: string
  /** Everything that ever lay on the shelf. */
  readonly received: number
  /** What lies there now. */
  readonly left: number
}

/** Ways into the aisles that brought goods back, and the orders they were for. */
export interface Trips {
  readonly trips: number
  readonly orders: number
}

export interface AisleOptions {
  /** The time it takes to walk down an aisle and back, for however many shelves, in ms. @default 10 */
  readonly walkMs?: number
  /** How long a picker waits at an aisle for each order of the trip before giving it up, in ms. @default 15 */
  readonly patienceMs?: number
  /** A lock older than this belongs to a dead picker, in ms. @default 1_000 */
  readonly lockMs?: number
}

const schema = `
  CREATE TABLE IF NOT EXISTS aisles (aisle TEXT PRIMARY KEY, picker TEXT, locked_until_ms INTEGER NOT NULL DEFAULT 0);
  CREATE TABLE IF NOT EXISTS stock (
    sku TEXT PRIMARY KEY, aisle TEXT NOT NULL REFERENCES aisles, received INTEGER NOT NULL,
    left_over INTEGER NOT NULL CHECK (left_over BETWEEN 0 AND received)
  );
  CREATE TABLE IF NOT EXISTS picks (
    order_id TEXT NOT NULL, sku TEXT NOT NULL, quantity INTEGER NOT NULL, PRIMARY KEY (order_id, sku)
  );
  CREATE TABLE IF NOT EXISTS trips (picker TEXT NOT NULL, orders INTEGER NOT NULL);`

/** How long a statement waits for another process's transaction. Waiting blocks the event loop, so hardly at all. */
const busyMs = 50

export class Aisles {
  readonly #db: Database.Database
  readonly #walkMs: number
  readonly #patienceMs: number
  readonly #lockMs: number

  /** Opens the database, creating what is missing. Closed by `close()`. */
  constructor(file: string, options: AisleOptions = {}) {
    this.#db = new Database(file, { timeout: busyMs })
    // WAL: readers and the writer do not wait for each other. NORMAL: a commit survives the death of any process.
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; ${schema}`)
    this.#walkMs = options.walkMs ?? 10
    this.#patienceMs = options.patienceMs ?? 15
    this.#lockMs = options.lockMs ?? 1_000
  }

  /** Puts the catalogue on the shelves of an empty warehouse; one that was opened before stays as it is. */
  fill(skus: readonly Sku[]): void {
    this.#write(() => {
      const aisle = this.#db.prepare('INSERT OR IGNORE INTO aisles (aisle) VALUES (?)')
      const stock = this.#db.prepare('INSERT OR IGNORE INTO stock VALUES (?, ?, ?, ?)')
      for (const sku of skus) {
        aisle.run(sku.aisle)
        stock.run(sku.sku, sku.aisle, sku.stock, sku.stock)
      }
    })
  }

  /** Puts more on a shelf, and tells how much lies there now; undefined for a SKU there is no shelf for. */
  restock(sku: string, quantity: number): number | undefined {
    return this.#write(() => {
      this.#db
        .prepare('UPDATE stock SET received = received + ?, left_over = left_over + ? WHERE sku = ?')
        .run(quantity, quantity, sku)
      return this.stock().find((shelf) => shelf.sku === sku)?.left
    })
  }

  /**
   * Takes the goods of an order off the shelves, once for however many runs, and tells the aisle of each line.
   * `picker` is the run that takes them, different for each run.
   * @throws AisleBusy nothing was taken, try again
   * @throws OutOfStock nothing was taken
   */
  async take(order: Order, picker: string, signal?: AbortSignal): Promise<string[]> {
    const [taken] = (await this.takeAll([order], picker, signal)) as [string[] | OutOfStock]
    if (taken instanceof OutOfStock) throw taken
    return taken
  }

  /**
   * The same for several orders in one trip, which goes to each shelf once: the aisles of each one's lines, or why its
   * goods were not taken.
   * @throws AisleBusy nothing was taken, try again
   */
  async takeAll(
    orders: readonly Order[],
    picker: string,
    signal?: AbortSignal,
  ): Promise<(readonly string[] | OutOfStock)[]> {
    const aisles = orders.map((order) => this.#aislesOf(order))
    const open = orders.filter((order, index) => !(aisles[index] instanceof OutOfStock) && !this.#taken(order.id))
    if (open.length === 0) return aisles
    for (const aisle of new Set(open.flatMap(({ lines }) => lines.map(({ sku }) => this.#aisleOf(sku))).sort())) {
      await this.#enter(aisle, picker, this.#patienceMs * open.length, signal)
      try {
        await sleep(this.#walkMs, undefined, signal && { signal })
      } finally {
        this.#write(() => this.#db.prepare('UPDATE aisles SET picker = NULL WHERE picker = ?').run(picker))
      }
    }
    const refused = new Map<Order, OutOfStock>()
    this.#write(() => {
      for (const order of open) {
        const reason = this.#takeOnce(order)
        if (reason !== undefined) refused.set(order, reason)
      }
      this.#db.prepare('INSERT INTO trips VALUES (?, ?)').run(picker, open.length)
    })
    return aisles.map((lines, index) => refused.get(orders[index] as Order) ?? lines)
  }

  trips(): Trips {
    const [row] = this.#db.prepare('SELECT count(*) AS trips, coalesce(sum(orders), 0) AS orders FROM trips').all()
    return row as Trips
  }

  stock(): Stock[] {
    return this.#db.prepare('SELECT sku, received, left_over AS left FROM stock ORDER BY sku').all() as Stock[]
  }

  picks(): Pick[] {
    return this.#db.prepare('SELECT order_id AS orderId, sku, quantity FROM picks ORDER BY order_id').all() as Pick[]
  }

  close(): void {
    this.#db.close()
  }

  #aislesOf({ lines }: Order): string[] | OutOfStock {
    try {
      return lines.map(({ sku }) => this.#aisleOf(sku))
    } catch (error) {
      if (error instanceof OutOfStock) return error
      throw error
    }
  }

  #aisleOf(sku: string): string {
    const [row] = this.#db.prepare('SELECT aisle FROM stock WHERE sku = ?').all(sku) as { aisle: string }[]
    if (row === undefined) throw new OutOfStock(`no shelf for ${sku}`)
    return row.aisle
  }

  #taken(orderId: string): boolean {
    return this.#db.prepare('SELECT 1 FROM picks WHERE order_id = ? LIMIT 1').all(orderId).length > 0
  }

  /** Locks an aisle, looking a few times whether it is free. @throws AisleBusy */
  async #enter(aisle: string, picker: string, patienceMs: number, signal: AbortSignal | undefined): Promise<void> {
    const deadlineMs = performance.now() + patienceMs
    for (;;) {
      try {
        return this.#write(() => this.#lock(aisle, picker))
      } catch (error) {
        if (!(error instanceof AisleBusy) || performance.now() > deadlineMs) throw error
      }
      await sleep(2 + Math.random() * 4, undefined, signal && { signal })
    }
  }

  #lock(aisle: string, picker: string): void {
    const lock = this.#db.prepare(
      'UPDATE aisles SET picker = ?, locked_until_ms = ? WHERE aisle = ? AND (picker IS NULL OR locked_until_ms < ?)',
    )
    const now = Date.now()
    const { changes } = lock.run(picker, now + this.#lockMs, aisle, now)
    if (changes === 0) throw new AisleBusy(`another picker is in aisle ${aisle}`)
  }

  /** All lines of an order or none; why none. */
  #takeOnce(order: Order): OutOfStock | undefined {
    if (this.#taken(order.id)) return undefined
    for (const { sku, quantity } of order.lines) {
      const [shelf] = this.#db.prepare('SELECT left_over AS left FROM stock WHERE sku = ?').all(sku) as {
        left: number
      }[]
      if ((shelf?.left ?? 0) < quantity) return new OutOfStock(`fewer than ${quantity} of ${sku} left`)
    }
    const take = this.#db.prepare('UPDATE stock SET left_over = left_over - ? WHERE sku = ?')
    const note = this.#db.prepare('INSERT INTO picks VALUES (?, ?, ?)')
    for (const { sku, quantity } of order.lines) {
      take.run(quantity, sku)
      note.run(order.id, sku, quantity)
    }
    return undefined
  }

  /** One transaction that has the write lock from its beginning, and is undone as a whole by whatever is thrown. */
  #write<T>(change: () => T): T {
    try {
      return this.#db.transaction(change).immediate()
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'SQLITE_BUSY') {
        throw new AisleBusy('the inventory database is busy', { cause: error })
      }
      throw error
    }
  }
}
