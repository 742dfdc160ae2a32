/** Locks in the file. A row stays when its lease is over, so that tokens go on growing. */
import type { Lock, LockLease } from '../../broker/lock.ts'
import type { SqliteStore } from './store.ts'

export class SqliteLock implements Lock {
  readonly #store: SqliteStore

  constructor(store: SqliteStore) {
    this.#store = store
  }

  open(): Promise<void> {
    return this.#store.open()
  }

  acquire(name: string, leaseMs: number): Promise<LockLease | null> {
    const store = this.#store
    return store.write(() => {
      const now = store.clock.now()
      const row = store.first('SELECT token, expires FROM lock WHERE name = ?', name)
      if (row !== undefined && Number(row.expires) > now) return null
      const token = Number(row?.token ?? 0) + 1
      store.run('REPLACE INTO lock(name, token, expires) VALUES (?, ?, ?)', name, token, now + leaseMs)
      return new SqliteLockLease(store, name, token)
    })
  }

  close(): Promise<void> {
    return this.#store.close()
  }
}

class SqliteLockLease implements LockLease {
  readonly name: string
  readonly token: number
  readonly #store: SqliteStore

  constructor(store: SqliteStore, name: string, token: number) {
    this.#store = store
    this.name = name
    this.token = token
  }

  async renew(leaseMs: number): Promise<boolean> {
    const renewed = await this.#expireAt((now) => now + leaseMs)
    return renewed > 0
  }

  async release(): Promise<void> {
    await this.#expireAt(() => 0)
  }

  #expireAt(at: (now: number) => number): Promise<number> {
    const store = this.#store
    return store.write(() => {
      const now = store.clock.now()
      return store.run(
        'UPDATE lock SET expires = ? WHERE name = ? AND token = ? AND expires > ?',
        at(now),
        this.name,
        this.token,
        now,
      )
    })
  }
}
