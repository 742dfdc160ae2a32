import type { Advance, EntryChange, ScheduleLead, ScheduleStore, StoredEntry } from '../../broker/schedule-store.ts'
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import type { ScheduleTable } from './schedule-table.ts'
import type { MemoryOptions, MemoryStore } from './store.ts'

/** The reference store of schedules: for beats of this process. */
export class MemoryScheduleStore implements ScheduleStore {
  readonly #store: MemoryStore
  readonly #table: ScheduleTable
  readonly #lockName: string
  readonly #clock: Clock
  #closed = false

  constructor({ store, clock = systemClock }: MemoryOptions, scope: string) {
    this.#store = store
    this.#table = store.schedules(scope)
    this.#lockName = `celeriac.beat:${scope}`
    this.#clock = clock
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async *list(): AsyncIterable<StoredEntry[]> {
    this.#assertOpen()
    yield [...this.#table.entries.values()]
  }

  async load(names: readonly string[]): Promise<StoredEntry[]> {
    this.#assertOpen()
    return names.flatMap((name) => this.#table.entries.get(name) ?? [])
  }

  async write(changes: readonly EntryChange[]): Promise<string[]> {
    this.#assertOpen()
    const refused: string[] = []
    for (const change of changes) {
      if (this.#table.write(change, this.#clock.now())) this.#table.changed.add(change.name)
      else refused.push(change.name)
    }
    return refused
  }

  async lead(leaseMs: number): Promise<ScheduleLead | null> {
    this.#assertOpen()
    const { locks } = this.#store
    const name = this.#lockName
    const token = locks.acquire(name, leaseMs, this.#clock.now())
    if (token === null) return null
    this.#table.changed.clear()
    return {
      renew: async (newLeaseMs) => locks.renew(name, token, newLeaseMs, this.#clock.now()),
      changes: async () => {
        const names = [...this.#table.changed]
        this.#table.changed.clear()
        return names
      },
      advance: async (steps) => this.#advance(steps, token),
      release: async () => locks.release(name, token),
    }
  }

  async close(): Promise<void> {
    this.#closed = true
  }

  #advance(steps: readonly Advance[], token: number): string[] {
    this.#assertOpen()
    if (this.#store.locks.lastToken(this.#lockName) !== token) throw new LeaseLostError('another beat leads')
    const nowMs = this.#clock.now()
    const valid = steps.filter((step) => this.#table.has(step))
    const publish = this.#store.prepare(
      valid.flatMap((step) => step.publish),
      nowMs,
    )
    publish()
    for (const step of valid) this.#table.write(step, nowMs)
    return steps.filter((step) => !valid.includes(step)).map(({ name }) => name)
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory store of schedules is closed')
  }
}
