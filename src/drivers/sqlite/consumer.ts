/**
 * A consumer: claims messages in the turn's transaction, waits for the bell when there are none, and holds its lease
 * through the lease thread. If the lease was lost (the process was suspended), the next claim takes a new one.
 */
import { AbortWatch } from '../../abort-watch.ts'
import type { Consumer, Delivery, Effects, FetchOptions } from '../../broker/broker.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import { claimDelayed, claimReady, promoteDue } from './claim.ts'
import { type Loan, SqliteDelivery } from './delivery.ts'
import { giveBackAll } from './give-back.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import type { Outbox } from './outbox.ts'
import { encodeRecords } from './result-writer.ts'
import type { Settlements } from './settlements.ts'
import { type PublishedMessage, phases, type SqliteStore } from './store.ts'

export interface ConsumerParts {
  readonly store: SqliteStore
  readonly outbox: Outbox
  readonly settlements: Settlements
  readonly leases: LeaseKeeper
  readonly onClose: (consumer: SqliteConsumer) => void
}

export interface ConsumerSettings {
  readonly leaseMs: number
  readonly name: string
  /** Of what is kept back, not of what is ready. */
  readonly delayed: boolean
}

const defaultWaitMs = 5_000
/** A shorter lease could lapse before its thread has started, so the start is waited for. */
const shortLeaseMs = 5_000

export class SqliteConsumer implements Consumer, Loan {
  readonly #parts: ConsumerParts
  readonly #aborts = new AbortWatch()
  readonly #queues: Set<string>
  readonly #leaseMs: number
  readonly #name: string
  readonly #delayed: boolean
  #stopListening: () => void = () => undefined
  /** The row of `consumer` under which we claim; 0 before `open`. */
  #lease = 0
  #turn = 0
  #rings = 0
  #closed = false
  /** Ends the wait for messages that is under way, and the due time up to which it would sleep. */
  #wake: (() => void) | undefined
  #sleepsUntil = Number.POSITIVE_INFINITY

  constructor(parts: ConsumerParts, queues: readonly string[], settings: ConsumerSettings) {
    this.#parts = parts
    this.#queues = new Set(queues)
    this.#leaseMs = settings.leaseMs
    this.#name = settings.name
    this.#delayed = settings.delayed
  }

  /** Takes the lease. */
  async open(): Promise<void> {
    const running = this.#parts.leases.start()
    if (this.#leaseMs < shortLeaseMs) await running
    await this.#parts.store.write(() => {
      for (const queue of this.#queues) this.#parts.outbox.queueId(queue)
      this.#takeLease()
    })
    this.#stopListening = this.#parts.store.onRing(() => this.#onRing())
  }

  async fetch(max: number, { waitMs = defaultWaitMs, signal }: FetchOptions = {}): Promise<Delivery[]> {
    const { clock } = this.#parts.store
    const deadline = clock.monotonic() + waitMs
    this.#refuseClosed()
    for (;;) {
      if (signal?.aborted || this.#closed) return []
      const rings = this.#rings
      const deliveries = await this.#claim(max)
      const remainingMs = deadline - clock.monotonic()
      if (deliveries.length > 0 || remainingMs <= 0) return deliveries
      // An abort during the claim is over: nobody would tell the sleep of it.
      if (signal?.aborted || this.#closed) return []
      if (rings === this.#rings || !this.#isWorthWaking()) {
        const early = await this.#sleep(max, remainingMs, signal)
        if (early.length > 0) return early
      }
    }
  }

  async add(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#queues.add(queue)
    await this.#saveQueues()
    this.#wake?.()
  }

  async cancel(queue: string): Promise<void> {
    this.#refuseClosed()
    this.#queues.delete(queue)
    await this.#saveQueues()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.abandon()
    const { store } = this.#parts
    await store.write(() => {
      giveBackAll(store, this.#lease, 'uncounted')
      store.ringAfterCommit()
    })
  }

  /** Lets the lease lapse without giving anything back, as a killed process does. For tests. */
  abandon(): void {
    this.#closed = true
    this.#stopListening()
    this.#parts.leases.drop(this.#lease)
    this.#parts.onClose(this)
    this.#wake?.()
  }

  settle(lease: number, id: number, effects: Effects | undefined): Promise<void> {
    const { outbox, settlements } = this.#parts
    if (effects === undefined)
      return settlements.add({ lease, id, to: 'gone', due: 0, publish: undefined, save: undefined })
    try {
      const publish = effects.publish?.length ? outbox.encode(effects.publish) : undefined
      const save = effects.save?.length ? encodeRecords(effects.save) : undefined
      return settlements.add({ lease, id, to: 'gone', due: 0, publish, save })
    } catch (refusal) {
      return Promise.reject(refusal)
    }
  }

  release(lease: number, id: number, delayMs: number, keptUntil: number): Promise<void> {
    const due = delayMs > 0 ? Math.ceil(this.#parts.store.clock.now() + delayMs) : keptUntil
    const to = due > 0 ? 'delayed' : 'ready'
    return this.#parts.settlements.add({ lease, id, to, due, publish: undefined, save: undefined })
  }

  async extend(lease: number, leaseMs: number): Promise<void> {
    const { store } = this.#parts
    const held = await store.write(() =>
      store.run('UPDATE consumer SET expires = max(expires, ?) WHERE id = ?', Date.now() + leaseMs, lease),
    )
    if (held === 0) throw new LeaseLostError()
  }

  #refuseClosed(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the consumer is closed')
  }

  #takeLease(): void {
    const { store, leases } = this.#parts
    leases.drop(this.#lease)
    // Leases are kept in real time, whatever clock the store has: other processes judge them.
    this.#lease = store.insert(
      'INSERT INTO consumer(name, queues, expires) VALUES (?, ?, ?)',
      this.#name,
      JSON.stringify([...this.#queues]),
      Date.now() + this.#leaseMs,
    )
    leases.hold(this.#lease, this.#leaseMs)
  }

  #saveQueues(): Promise<void> {
    const { store, outbox } = this.#parts
    return store.write(() => {
      for (const queue of this.#queues) outbox.queueId(queue)
      store.run('UPDATE consumer SET queues = ? WHERE id = ?', JSON.stringify([...this.#queues]), this.#lease)
    })
  }

  #claim(max: number): Promise<Delivery[]> {
    return new Promise((resolve, reject) => {
      let deliveries: Delivery[] = []
      this.#parts.store.enlist({
        phase: phases.claim,
        apply: () => {
          deliveries = this.#claimNow(max)
        },
        committed: () => resolve(deliveries),
        failed: reject,
      })
    })
  }

  #claimNow(max: number): Delivery[] {
    if (this.#closed) return []
    const { store, outbox } = this.#parts
    const { due, held, paused } = this.#lookAround()
    if (due && !this.#delayed) promoteDue(store)
    if (!held) this.#takeLease()
    const open = [...this.#queues].filter((queue) => !paused.includes(queue))
    const queues = (open.length > 1 ? rotate(open, this.#turn++) : open).map((name) => ({
      name,
      id: outbox.queueId(name),
    }))
    const claim = this.#delayed ? claimDelayed : claimReady
    const now = store.clock.now()
    return claim(store, this.#lease, queues, max).flatMap(({ queue, rows }) =>
      rows.map((row) => new SqliteDelivery(this, this.#lease, queue, row, now)),
    )
  }

  /** Everything a claim must know beforehand, by one statement: whether delays are over, our lease, what is paused. */
  #lookAround(): { due: boolean; held: boolean; paused: string[] } {
    const row = this.#parts.store.first(
      `SELECT EXISTS (SELECT 1 FROM delayed WHERE due <= ?) AS due, EXISTS (SELECT 1 FROM consumer WHERE id = ?) AS held,
       (SELECT json_group_array(name) FROM queue WHERE paused = 1) AS paused`,
      this.#parts.store.clock.now(),
      this.#lease,
    )
    return { due: row?.due === 1, held: row?.held === 1, paused: JSON.parse(String(row?.paused)) as string[] }
  }

  /**
   * Until something may be there, or the wait is over. Resolves with messages where this process itself published some:
   * they are taken or claimed in the transaction that publishes them.
   */
  #sleep(max: number, waitMs: number, signal: AbortSignal | undefined): Promise<Delivery[]> {
    const { clock } = this.#parts.store
    this.#sleepsUntil = this.#nextDue()
    return new Promise((resolve) => {
      const end = (deliveries: Delivery[]): void => {
        this.#wake = undefined
        timer.cancel()
        stopHearing()
        this.#aborts.stop()
        resolve(deliveries)
      }
      let isClaiming = false
      const wake = (): void => {
        if (!isClaiming) end([])
      }
      /** From here on nothing else may end the sleep: what the transaction gives us must not get lost. */
      const claims = (): void => {
        isClaiming = true
        this.#wake = undefined
      }
      const stopHearing = this.#parts.store.onPublishing({
        take: (message) => {
          if (isClaiming || !this.#take(message, end)) return false
          claims()
          return true
        },
        claim: () => {
          if (isClaiming) return
          claims()
          this.#claim(max).then(end, () => end([]))
        },
      })
      const timer = clock.after(Math.min(waitMs, this.#sleepsUntil - clock.now()), wake)
      this.#aborts.start(signal, wake)
      this.#wake = wake
    })
  }

  /**
   * Leases a message that was never ready for others, if a claim would find it and nothing before it: by one statement,
   * since an idle worker waits for it. Whether it did; `end` is told the outcome of the transaction.
   */
  #take(
    { id, queueName, queue, rank, head, body, message }: PublishedMessage,
    end: (deliveries: Delivery[]) => void,
  ): boolean {
    if (this.#closed || this.#delayed || !this.#queues.has(queueName)) return false
    const { store } = this.#parts
    const taken = store.run(
      `INSERT INTO leased(consumer, id, queue, rank, deliveries) SELECT id, ?, ?, ?, 1 FROM consumer WHERE id = ?
       AND NOT EXISTS (SELECT 1 FROM queue WHERE id = ? AND paused = 1)
       AND NOT EXISTS (SELECT 1 FROM delayed WHERE due <= ?) AND NOT EXISTS (SELECT 1 FROM ready WHERE queue = ?)`,
      id,
      queue,
      rank,
      this.#lease,
      queue,
      store.clock.now(),
      queue,
    )
    if (taken === 0) return false
    const delivery = new SqliteDelivery(this, this.#lease, queueName, { id, deliveries: 0, head, body }, 0, message)
    store.enlist({
      phase: phases.claim,
      apply: () => undefined,
      committed: () => end([delivery]),
      failed: () => end([]),
    })
    return true
  }

  #onRing(): void {
    this.#rings += 1
    if (this.#wake !== undefined && this.#isWorthWaking()) this.#wake()
  }

  /** A look without the write lock, so that idle workers do not queue for it at every bell. */
  #isWorthWaking(): boolean {
    try {
      const found = this.#parts.store.first(
        `SELECT 1 FROM queue q WHERE q.paused = 0 AND q.name IN (SELECT value FROM json_each(?))
         AND EXISTS (SELECT 1 FROM ${this.#delayed ? 'delayed' : 'ready'} r WHERE r.queue = q.id) LIMIT 1`,
        JSON.stringify([...this.#queues]),
      )
      return found !== undefined || this.#nextDue() < this.#sleepsUntil
    } catch {
      return true // The claim will meet the same trouble, and say it.
    }
  }

  /** When the next delayed message of any queue is due, epoch ms. Who takes what is kept back does not wait for that. */
  #nextDue(): number {
    if (this.#delayed) return Number.POSITIVE_INFINITY
    return Number(
      this.#parts.store.first('SELECT due FROM delayed ORDER BY due LIMIT 1')?.due ?? Number.POSITIVE_INFINITY,
    )
  }
}

function rotate<T>(items: readonly T[], by: number): T[] {
  const start = items.length === 0 ? 0 : by % items.length
  return [...items.slice(start), ...items.slice(0, start)]
}
