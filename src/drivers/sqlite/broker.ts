/** Queues in a SQLite file. See `schema.ts` for the tables and `store.ts` for the group commit. */
import type {
  Broker,
  BrokerCapabilities,
  ConsumeOptions,
  Consumer,
  Depth,
  OutgoingMessage,
  PeekedMessage,
  QueueInfo,
  ServerInfo,
} from '../../broker/broker.ts'
import { CeleriacError } from '../../errors.ts'
import { SqliteConsumer } from './consumer.ts'
import { messageOf } from './delivery.ts'
import { LeaseKeeper } from './lease-keeper.ts'
import { maxMessageBytes, Outbox } from './outbox.ts'
import { ResultWriter } from './result-writer.ts'
import { Settlements } from './settlements.ts'
import type { SqliteStore } from './store.ts'

export const sqliteCapabilities: BrokerCapabilities = {
  maxDelayMs: Number.POSITIVE_INFINITY,
  priorityLevels: 10,
  unsetPriority: 0,
  silentPeek: true,
  lease: 'timed',
  maxMessageBytes,
  atomicSettle: true,
}

const defaultLeaseMs = 30_000

export class SqliteBroker implements Broker {
  readonly capabilities = sqliteCapabilities
  readonly store: SqliteStore
  /** Shared with whoever publishes within a transaction of its own. */
  readonly outbox: Outbox
  readonly #settlements: Settlements
  readonly #leases: LeaseKeeper
  readonly #consumers = new Set<SqliteConsumer>()
  #closing: Promise<void> | undefined

  constructor(store: SqliteStore) {
    this.store = store
    this.outbox = new Outbox(store)
    this.#settlements = new Settlements(store, this.outbox, new ResultWriter(store))
    this.#leases = new LeaseKeeper(store)
  }

  open(): Promise<void> {
    return this.store.open()
  }

  async publish(messages: Iterable<OutgoingMessage>): Promise<void> {
    this.#refuseClosed()
    await this.outbox.publish(messages)
  }

  async consume(queues: readonly string[], options: ConsumeOptions = {}): Promise<Consumer> {
    this.#refuseClosed()
    const consumer = new SqliteConsumer(
      {
        store: this.store,
        outbox: this.outbox,
        settlements: this.#settlements,
        leases: this.#leases,
        onClose: (closed) => this.#consumers.delete(closed),
      },
      queues,
      {
        leaseMs: options.leaseMs ?? defaultLeaseMs,
        name: options.name ?? `consumer-${process.pid}`,
        delayed: options.delayed ?? false,
      },
    )
    await consumer.open()
    this.#consumers.add(consumer)
    return consumer
  }

  async queues(): Promise<QueueInfo[]> {
    this.#refuseClosed()
    return this.store.read(() => {
      const count = (table: string): Map<unknown, number> =>
        new Map(
          this.store
            .all(`SELECT queue, count(*) AS n FROM ${table} GROUP BY queue`)
            .map((row) => [row.queue, Number(row.n)]),
        )
      const [ready, due, delayed, inFlight] = [
        count('ready'),
        count(`delayed WHERE due <= ${this.store.clock.now()}`),
        count('delayed'),
        count('leased'),
      ]
      const consumed = this.store
        .all('SELECT queues FROM consumer WHERE expires > ?', Date.now())
        .flatMap((row) => JSON.parse(String(row.queues)) as string[])
      return this.store.all('SELECT id, name, paused FROM queue ORDER BY name').map(({ id, name, paused }) => ({
        queue: String(name),
        ready: (ready.get(id) ?? 0) + (due.get(id) ?? 0),
        delayed: (delayed.get(id) ?? 0) - (due.get(id) ?? 0),
        inFlight: inFlight.get(id) ?? 0,
        paused: paused === 1,
        consumers: consumed.filter((queue) => queue === name).length,
        oldestMs: this.#oldestMs(Number(id)),
      }))
    })
  }

  async server(): Promise<ServerInfo> {
    this.#refuseClosed()
    return this.store.read(() => {
      const of = (pragma: string): unknown => Object.values(this.store.first(`PRAGMA ${pragma}`) ?? {})[0] ?? ''
      const version = String(Object.values(this.store.first('SELECT sqlite_version()') ?? {})[0])
      return {
        ...{ product: 'SQLite', version, memoryBytes: null, memoryLimitBytes: null, connections: null },
        fileBytes: Number(of('page_count')) * Number(of('page_size')),
        facts: { file: this.store.path, journal_mode: String(of('journal_mode')), durability: this.store.durability },
      }
    })
  }

  async depth(queue: string): Promise<Depth> {
    this.#refuseClosed()
    return this.store.read(() => {
      const due = this.#count('delayed', queue, `AND due <= ${this.store.clock.now()}`)
      return {
        ready: this.#count('ready', queue) + due,
        delayed: this.#count('delayed', queue) - due,
        inFlight: this.#count('leased', queue),
      }
    })
  }

  async peek(queue: string, limit: number, offset = 0): Promise<PeekedMessage[]> {
    this.#refuseClosed()
    const places = [
      { state: 'ready', table: 'ready', order: 'r.rank, r.id', at: 'p.published', count: 'r.deliveries' },
      { state: 'delayed', table: 'delayed', order: 'r.due, r.id', at: 'r.due', count: 'r.deliveries' },
      { state: 'in-flight', table: 'leased', order: 'r.id', at: 'p.published', count: 'r.deliveries - 1' },
    ] as const
    return this.store.read(() => {
      const found: PeekedMessage[] = []
      let skip = offset
      for (const { state, table, order, at, count } of places) {
        const from = `FROM ${table} r JOIN payload p ON p.id = r.id WHERE r.queue = (SELECT id FROM queue WHERE name = ?)`
        const rows = this.store.all(
          `SELECT ${at} AS at, ${count} AS count, p.head, p.body ${from} ORDER BY ${order} LIMIT ? OFFSET ?`,
          queue,
          limit - found.length,
          skip,
        )
        for (const row of rows) {
          const deliveryCount = Number(row.count) + 1
          found.push({ ...messageOf(row), queue, state, at: Number(row.at), deliveryCount })
        }
        if (found.length === limit) break
        skip = rows.length > 0 ? 0 : Math.max(0, skip - this.#count(table, queue))
      }
      return found
    })
  }

  async purge(queue: string): Promise<number> {
    this.#refuseClosed()
    return this.store.write(() => {
      let purged = 0
      for (const table of ['ready', 'delayed']) {
        const where = 'WHERE queue = (SELECT id FROM queue WHERE name = ?)'
        this.store.run(`DELETE FROM payload WHERE id IN (SELECT id FROM ${table} ${where})`, queue)
        purged += this.store.run(`DELETE FROM ${table} ${where}`, queue)
      }
      return purged
    })
  }

  async pause(queue: string): Promise<void> {
    await this.#setPaused(queue, 1)
  }

  async resume(queue: string): Promise<void> {
    await this.#setPaused(queue, 0)
  }

  /** Nothing listens outside of the event loop. */
  answerPings(): () => void {
    return () => undefined
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    await Promise.all([...this.#consumers].map((consumer) => consumer.close()))
    await this.store.settled()
    await this.#leases.close()
    await this.store.close()
  }

  async #setPaused(queue: string, paused: 0 | 1): Promise<void> {
    this.#refuseClosed()
    return this.store.write(() => {
      this.store.run('UPDATE queue SET paused = ? WHERE id = ?', paused, this.outbox.queueId(queue))
      this.store.ringAfterCommit()
    })
  }

  /** The store may well be open still, for the results it also keeps. */
  #refuseClosed(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', `the broker on ${this.store.path} is closed`)
  }

  #count(table: string, queue: string, condition = ''): number {
    const where = `WHERE queue = (SELECT id FROM queue WHERE name = ?) ${condition}`
    return Number(this.store.first(`SELECT count(*) AS n FROM ${table} ${where}`, queue)?.n)
  }

  /** The lowest id of each rank is its oldest message; ten index look-ups, whatever the depth. */
  #oldestMs(queue: number): number | null {
    const row = this.store.first(
      `SELECT min(published) AS published FROM payload WHERE id IN (${ranks
        .map((rank) => `(SELECT min(id) FROM ready WHERE queue = ?1 AND rank = ${rank})`)
        .join(',')})`,
      queue,
    )
    return typeof row?.published === 'number' ? Math.max(0, this.store.clock.now() - row.published) : null
  }
}

const ranks = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
