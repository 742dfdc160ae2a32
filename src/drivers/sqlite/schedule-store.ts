/** Schedules in the file. Entries advance in the transaction that publishes what became due. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Advance, EntryChange, ScheduleLead, ScheduleStore, StoredEntry } from '../../broker/schedule-store.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import type { Row } from './binding.ts'
import type { SqliteBroker } from './broker.ts'
import { SqliteLock } from './lock.ts'
import { phases, type SqliteStore } from './store.ts'

/** Entries read without letting anything else happen. */
const pageSize = 1_000

export class SqliteScheduleStore implements ScheduleStore {
  readonly #store: SqliteStore
  readonly #broker: SqliteBroker
  readonly #scope: string
  readonly #lock: SqliteLock
  #isClosed = false

  constructor(broker: SqliteBroker, scope: string) {
    this.#store = broker.store
    this.#broker = broker
    this.#scope = scope
    this.#lock = new SqliteLock(broker.store)
  }

  async open(): Promise<void> {
    this.#refuseClosed()
    return this.#store.open()
  }

  async *list(): AsyncIterable<StoredEntry[]> {
    this.#refuseClosed()
    // A page comes as one text: a hundred thousand rows would each be an object of the binding, and slow to be forgotten.
    const page = 'SELECT name, revision, value FROM schedule WHERE scope = ? AND name > ? ORDER BY name LIMIT ?'
    const sql = `SELECT json_group_array(json_array(name, revision, value)) AS page FROM (${page})`
    for (let behind = ''; ; ) {
      const row = await this.#store.read(() => this.#store.first(sql, this.#scope, behind, pageSize))
      const found = JSON.parse(String(row?.page)) as [name: string, revision: number, value: string][]
      const entries = found.map(([name, revision, value]) => ({ name, revision, value }))
      yield entries
      if (entries.length < pageSize) return
      behind = entries[entries.length - 1]?.name ?? ''
      await nextTurn()
    }
  }

  async load(names: readonly string[]): Promise<StoredEntry[]> {
    this.#refuseClosed()
    return this.#store.read(() => names.flatMap((name) => this.#find(name) ?? []))
  }

  async write(changes: readonly EntryChange[]): Promise<string[]> {
    this.#refuseClosed()
    return this.#store.write(() =>
      changes
        .filter((change) => {
          if (!this.#writeOne(change)) return true
          this.#store.run('INSERT OR IGNORE INTO schedule_change(scope, name) VALUES (?, ?)', this.#scope, change.name)
          return false
        })
        .map(({ name }) => name),
    )
  }

  async lead(leaseMs: number): Promise<ScheduleLead | null> {
    this.#refuseClosed()
    const lockName = `celeriac.beat:${this.#scope}`
    const lease = await this.#lock.acquire(lockName, leaseMs)
    if (lease === null) return null
    await this.#store.write(() => this.#forgetChanges())
    return {
      renew: (newLeaseMs) => lease.renew(newLeaseMs),
      changes: () => this.#takeChanges(),
      advance: (steps) => this.#advance(steps, lockName, lease.token),
      release: () => lease.release(),
    }
  }

  async close(): Promise<void> {
    if (this.#isClosed) return
    this.#isClosed = true
    await this.#store.close()
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new CeleriacError('CLOSED', `the schedules in ${this.#store.path} are closed`)
  }

  #find(name: string): StoredEntry | undefined {
    const sql = 'SELECT name, revision, value FROM schedule WHERE scope = ? AND name = ?'
    const row = this.#store.first(sql, this.#scope, name)
    return row === undefined ? undefined : entryOf(row)
  }

  /** Most of the time there are none, and looking takes no transaction. */
  async #takeChanges(): Promise<string[]> {
    const find = (): Row[] => this.#store.all('SELECT name FROM schedule_change WHERE scope = ?', this.#scope)
    if ((await this.#store.read(find)).length === 0) return []
    return this.#store.write(() => {
      const names = find().map(({ name }) => String(name))
      this.#forgetChanges()
      return names
    })
  }

  /** Within a transaction. */
  #forgetChanges(): void {
    this.#store.run('DELETE FROM schedule_change WHERE scope = ?', this.#scope)
  }

  /** Within a transaction. @returns whether it had the revision */
  #writeOne({ name, revision, value }: EntryChange): boolean {
    const store = this.#store
    const scope = this.#scope
    if (value === null) {
      if (revision === 0) return this.#find(name) === undefined
      return store.run('DELETE FROM schedule WHERE scope = ? AND name = ? AND revision = ?', scope, name, revision) > 0
    }
    if (revision === 0) {
      // Begins with the time, so that an entry which is made anew has no revision of its predecessor's.
      const sql = 'INSERT OR IGNORE INTO schedule(scope, name, revision, value) VALUES (?, ?, ?, ?)'
      return store.run(sql, scope, name, store.clock.now(), value) > 0
    }
    const sql = 'UPDATE schedule SET revision = revision + 1, value = ? WHERE scope = ? AND name = ? AND revision = ?'
    return store.run(sql, value, scope, name, revision) > 0
  }

  /** In the phase of settlements: what it publishes comes later in the same transaction. */
  async #advance(steps: readonly Advance[], lockName: string, token: number): Promise<string[]> {
    this.#refuseClosed()
    const store = this.#store
    const { outbox } = this.#broker
    const encoded = steps.map(({ publish }) => outbox.encode(publish))
    return new Promise((resolve, reject) => {
      let stale: string[] = []
      let isLost = false
      store.enlist({
        phase: phases.settle,
        apply: () => {
          isLost = Number(store.first('SELECT token FROM lock WHERE name = ?', lockName)?.token) !== token
          if (isLost) return
          stale = []
          for (const [index, step] of steps.entries()) {
            if (this.#writeOne(step)) outbox.add(encoded[index] ?? [])
            else stale.push(step.name)
          }
        },
        committed: () => (isLost ? reject(new LeaseLostError('another beat leads')) : resolve(stale)),
        failed: reject,
      })
    })
  }
}

function entryOf({ name, revision, value }: Row): StoredEntry {
  return { name: String(name), revision: Number(revision), value: String(value) }
}
