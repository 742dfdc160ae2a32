/**
 * What one `memory://name` holds: queues, results, listeners, locks, limits and schedules, shared by every connection of the process and
 * gone with it. Nothing here waits or sets timers. Time is told to it: whoever looks passes the present time, and what
 * fell due meanwhile is done first.
 */
import { type OutgoingMessage, priorityOf } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import { BusHub } from './bus-hub.ts'
import { LimitTable } from './limit-table.ts'
import { LockTable } from './lock-table.ts'
import { type Holder, MemoryQueue } from './queue.ts'
import { ResultTable } from './result-table.ts'
import { ScheduleTable } from './schedule-table.ts'
import { storeMessage } from './stored-message.ts'

/** What the memory driver's broker, bus, results, locks and limits are opened with. Those with one store work together. */
export interface MemoryOptions {
  readonly store: MemoryStore
  /** @default the system's */
  readonly clock?: Clock
  /** How long results are kept, in ms; Infinity keeps them. @default 86_400_000 */
  readonly resultExpiresMs?: number
}

/** One day, as Celery. */
export const defaultResultExpiresMs = 86_400_000

export class MemoryStore {
  readonly results = new ResultTable()
  readonly bus = new BusHub()
  readonly locks = new LockTable()
  readonly limits = new LimitTable()
  readonly #queues = new Map<string, MemoryQueue>()
  readonly #schedules = new Map<string, ScheduleTable>()
  /** Lost consumers that still have messages, until their leases run out. */
  readonly #lost = new Set<Holder>()

  /** The queue, if anybody has used it. */
  findQueue(name: string): MemoryQueue | undefined {
    return this.#queues.get(name)
  }

  /** The queue, which is there from its first use on. */
  queue(name: string): MemoryQueue {
    const known = this.#queues.get(name)
    if (known !== undefined) return known
    const queue = new MemoryQueue(name)
    this.#queues.set(name, queue)
    return queue
  }

  /** Those of one scope. */
  schedules(scope: string): ScheduleTable {
    const known = this.#schedules.get(scope) ?? new ScheduleTable()
    this.#schedules.set(scope, known)
    return known
  }

  queues(): MemoryQueue[] {
    return [...this.#queues.values()].sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  /**
   * Readies messages for publishing. All that can be refused is refused here, so that the returned step, which does
   * publish them, can be one of several that happen together.
   *
   * @throws CeleriacError `PAYLOAD_TOO_LARGE`, `PAYLOAD_INVALID`
   */
  prepare(messages: readonly OutgoingMessage[], nowMs: number): () => void {
    const prepared = messages.map((outgoing) => ({ ...outgoing, message: storeMessage(outgoing) }))
    return () => {
      for (const { queue, message, properties, delayMs = 0 } of prepared) {
        this.queue(queue).add(message, priorityOf(properties, 0), delayMs, nowMs)
      }
    }
  }

  /** A consumer was lost: its messages stay away until its lease is over. */
  lose(holder: Holder, nowMs: number): void {
    holder.lapsesAtMs = nowMs + holder.leaseMs
    this.#lost.add(holder)
    // Whoever waits for these messages now knows until when.
    for (const { queue } of holder.loans) queue.bell.ring()
  }

  /** When the next lease of a lost consumer runs out; Infinity when no consumer is lost. */
  get nextLapseAtMs(): number {
    let nextMs = Number.POSITIVE_INFINITY
    for (const holder of this.#lost) {
      for (const loan of holder.loans) nextMs = Math.min(nextMs, Math.max(holder.lapsesAtMs, loan.extendedToMs))
    }
    return nextMs
  }

  /** Takes back what lost consumers held, where the lease is over. */
  recoverLapsed(nowMs: number): void {
    for (const holder of this.#lost) {
      if (holder.lapsesAtMs > nowMs) continue
      for (const queue of this.#queues.values()) queue.consumers.delete(holder)
      for (const loan of holder.loans) if (loan.extendedToMs <= nowMs) loan.queue.recover(loan, nowMs)
      if (holder.loans.size === 0) this.#lost.delete(holder)
    }
  }
}

/** The number is to change with the shape of `MemoryStore`, so that two versions in one process do not share. */
const registryKey = Symbol.for('celeriac.memory.3')

/** The store of `memory://name`, the same for the whole process, also where this module is loaded twice. */
export function memoryStore(name = ''): MemoryStore {
  const shared = globalThis as { [registryKey]?: Map<string, MemoryStore> }
  shared[registryKey] ??= new Map()
  const stores = shared[registryKey]
  const store = stores.get(name) ?? new MemoryStore()
  stores.set(name, store)
  return store
}
