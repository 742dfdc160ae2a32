/**
 * One queue. A message is in just one of three places: ready, delayed or on loan. It keeps its number, given when it
 * was published, for good, and so finds its old place again wherever it comes back from.
 */
import type { Depth, PeekedMessage, QueueInfo } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import { Heap } from '../../heap.ts'
import { Bell } from './bell.ts'
import { readMessage, type StoredMessage } from './stored-message.ts'

interface Entry {
  readonly number: number
  readonly priority: number
  readonly message: StoredMessage
  readonly publishedAtMs: number
  /** Delayed until then, or was last. */
  dueAtMs: number
  /** Consumers lost with the message. */
  losses: number
}

/** Whoever has messages on loan: a consumer, alive or lost. */
export interface Holder {
  readonly leaseMs: number
  readonly loans: Set<Loan>
  /** When the lease runs out. Infinity for a living consumer: in its own process's memory, it cannot fail to renew. */
  lapsesAtMs: number
}

/** A message in the hands of a holder, as long as it is among the queue's loans. */
export interface Loan {
  readonly entry: Entry
  readonly queue: MemoryQueue
  readonly holder: Holder
  /** It was lent while it was kept back, until then; it goes back there. 0 = it was ready. */
  readonly keptUntilMs: number
  /** The lease was extended to this time. */
  extendedToMs: number
}

export class MemoryQueue {
  readonly name: string
  readonly consumers = new Set<Holder>()
  /** Rings when there may be something to fetch, or the time of the next message has changed. */
  readonly bell = new Bell()
  readonly #ready = new Heap<Entry>((a, b) =>
    a.priority === b.priority ? a.number < b.number : a.priority > b.priority,
  )
  readonly #delayed = new Heap<Entry>((a, b) => (a.dueAtMs === b.dueAtMs ? a.number < b.number : a.dueAtMs < b.dueAtMs))
  readonly #loans = new Set<Loan>()
  #published = 0
  #paused = false

  constructor(name: string) {
    this.name = name
  }

  add(message: StoredMessage, priority: number, delayMs: number, nowMs: number): void {
    this.#published += 1
    const entry = { number: this.#published, priority, message, publishedAtMs: nowMs, dueAtMs: nowMs, losses: 0 }
    this.#put(entry, delayMs, nowMs)
  }

  /** Lends the next message, if there is one. */
  lend(holder: Holder, nowMs: number): Loan | undefined {
    this.#promote(nowMs)
    return this.#lend(this.#ready, holder)
  }

  /** Lends what is due first of all that is kept back. */
  lendDelayed(holder: Holder): Loan | undefined {
    return this.#lend(this.#delayed, holder)
  }

  /** @throws LeaseLostError the loan has ended already */
  assertHeld(loan: Loan): void {
    if (!this.#loans.has(loan)) throw new LeaseLostError()
  }

  /** The message is done with. */
  drop(loan: Loan): void {
    this.#loans.delete(loan)
    loan.holder.loans.delete(loan)
  }

  giveBack(loan: Loan, delayMs: number, nowMs: number): void {
    this.drop(loan)
    this.#put(loan.entry, delayMs > 0 ? delayMs : loan.keptUntilMs - nowMs, nowMs)
  }

  /** Takes a lost consumer's message back. */
  recover(loan: Loan, nowMs: number): void {
    loan.entry.losses += 1
    this.giveBack(loan, 0, nowMs)
  }

  /** When the first delayed message is due; Infinity when none is. */
  get nextDueAtMs(): number {
    return this.#delayed.top?.dueAtMs ?? Number.POSITIVE_INFINITY
  }

  pause(): void {
    this.#paused = true
  }

  resume(): void {
    this.#paused = false
    this.bell.ring()
  }

  purge(): number {
    const purged = this.#ready.size + this.#delayed.size
    this.#ready.clear()
    this.#delayed.clear()
    return purged
  }

  depth(nowMs: number): Depth {
    this.#promote(nowMs)
    return { ready: this.#ready.size, delayed: this.#delayed.size, inFlight: this.#loans.size }
  }

  info(nowMs: number): QueueInfo {
    const depth = this.depth(nowMs)
    let oldestAtMs = nowMs
    for (const entry of this.#ready.values()) oldestAtMs = Math.min(oldestAtMs, entry.dueAtMs)
    return {
      queue: this.name,
      ...depth,
      paused: this.#paused,
      consumers: this.consumers.size,
      oldestMs: depth.ready === 0 ? null : nowMs - oldestAtMs,
    }
  }

  /** What is ready, then what is delayed, then what is on loan. */
  peek(limit: number, offset: number, nowMs: number): PeekedMessage[] {
    this.#promote(nowMs)
    const peeked = (entry: Entry, state: PeekedMessage['state'], at: number, deliveries: number): PeekedMessage => ({
      ...readMessage(entry.message),
      queue: this.name,
      state,
      at,
      deliveryCount: deliveries,
    })
    const looks = [
      ...this.#ready.sorted().map((entry) => () => peeked(entry, 'ready', entry.publishedAtMs, entry.losses)),
      ...this.#delayed.sorted().map((entry) => () => peeked(entry, 'delayed', entry.dueAtMs, entry.losses)),
      ...[...this.#loans].map(
        ({ entry }) =>
          () =>
            peeked(entry, 'in-flight', entry.publishedAtMs, entry.losses + 1),
      ),
    ]
    return looks.slice(offset, offset + limit).map((look) => look())
  }

  #lend(entries: Heap<Entry>, holder: Holder): Loan | undefined {
    const entry = this.#paused ? undefined : entries.pop()
    if (entry === undefined) return undefined
    const keptUntilMs = entries === this.#delayed ? entry.dueAtMs : 0
    const loan: Loan = { entry, queue: this, holder, keptUntilMs, extendedToMs: 0 }
    this.#loans.add(loan)
    holder.loans.add(loan)
    return loan
  }

  #put(entry: Entry, delayMs: number, nowMs: number): void {
    if (delayMs > 0) {
      entry.dueAtMs = nowMs + delayMs
      this.#delayed.push(entry)
    } else {
      this.#ready.push(entry)
    }
    this.bell.ring()
  }

  #promote(nowMs: number): void {
    while (this.nextDueAtMs <= nowMs) this.#ready.push(this.#delayed.pop() as Entry)
  }
}
