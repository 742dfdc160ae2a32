/**
 * The receiver's ledger: which orders it has accepted, and the tasks each of them became.
 *
 * An order gets into the ledger after the broker holds its tasks. Should the receiver die in between, its customer had
 * no answer and sends the order again; the tasks then exist twice, which their being idempotent makes harmless.
 */
import Database from 'libsql'
import type { Order } from './order.ts'

export interface AcceptedOrder {
  readonly order: Order
  /** Ids of the chain's tasks, in the order of its steps. */
  readonly taskIds: readonly string[]
}

export class Ledger {
  readonly #db: Database.Database

  constructor(file: string) {
    this.#db = new Database(file)
    this.#db.exec(`PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
      CREATE TABLE IF NOT EXISTS orders (id TEXT PRIMARY KEY, content TEXT NOT NULL, task_ids TEXT NOT NULL)`)
  }

  add({ order, taskIds }: AcceptedOrder): void {
    this.#db
      .prepare('INSERT OR IGNORE INTO orders VALUES (?, ?, ?)')
      .run(order.id, JSON.stringify(order), JSON.stringify(taskIds))
  }

  find(orderId: string): AcceptedOrder | undefined {
    return this.#read('WHERE id = ?', [orderId])[0]
  }

  all(): AcceptedOrder[] {
    return this.#read('ORDER BY id', [])
  }

  close(): void {
    this.#db.close()
  }

  #read(which: string, parameters: readonly string[]): AcceptedOrder[] {
    const rows = this.#db.prepare(`SELECT content, task_ids AS taskIds FROM orders ${which}`).all(...parameters)
    return (rows as { content: string; taskIds: string }[]).map(({ content, taskIds }) => ({
      order: JSON.parse(content) as Order,
      taskIds: JSON.parse(taskIds) as string[],
    }))
  }
}
