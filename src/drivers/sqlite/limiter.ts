/** Limits in the file. Rows whose time is over count for nothing; the lease thread clears them away. */
import type { Limiter, Slot, SlotAsk, TokenAsk } from '../../broker/limiter.ts'
import { assertTokenAsks, freeAt, reserveToken, type TokenBucket } from '../../broker/token-bucket.ts'
import type { SqliteStore } from './store.ts'

export class SqliteLimiter implements Limiter {
  readonly #store: SqliteStore

  constructor(store: SqliteStore) {
    this.#store = store
  }

  open(): Promise<void> {
    return this.#store.open()
  }

  async reserve(asks: readonly TokenAsk[]): Promise<(number | null)[]> {
    assertTokenAsks(asks)
    return this.#write((now) => {
      const buckets = new Map<string, TokenBucket>()
      const waits = asks.map((ask) => {
        const reserved = reserveToken(buckets.get(ask.key) ?? this.#bucket(ask.key), ask, now)
        if (reserved === null) return null
        buckets.set(ask.key, reserved.bucket)
        return reserved.waitMs
      })
      for (const [key, bucket] of buckets) this.#save(key, bucket)
      return waits
    })
  }

  acquire(asks: readonly SlotAsk[], leaseMs: number): Promise<boolean[]> {
    return this.#write((now) =>
      asks.map(({ key, limit, holder }) => {
        if (this.#renew({ key, holder }, leaseMs, now)) return true
        const held = this.#store.first('SELECT count(*) AS n FROM slot WHERE key = ? AND expires > ?', key, now)
        if (Number(held?.n) >= limit) return false
        this.#store.run('REPLACE INTO slot(key, holder, expires) VALUES (?, ?, ?)', key, holder, now + leaseMs)
        return true
      }),
    )
  }

  renew(slots: readonly Slot[], leaseMs: number): Promise<Slot[]> {
    return this.#write((now) => slots.filter((slot) => !this.#renew(slot, leaseMs, now)))
  }

  release(slots: readonly Slot[]): Promise<void> {
    return this.#write(() => {
      for (const { key, holder } of slots) {
        this.#store.run('DELETE FROM slot WHERE key = ? AND holder = ?', key, holder)
      }
    })
  }

  claim(key: string, value: string, ttlMs: number): Promise<string> {
    return this.#write((now) => {
      const held = this.#store.first('SELECT value FROM claim WHERE key = ? AND expires > ?', key, now)?.value
      if (held !== undefined && held !== value) return String(held)
      this.#store.run('REPLACE INTO claim(key, value, expires) VALUES (?, ?, ?)', key, value, now + ttlMs)
      return value
    })
  }

  unclaim(key: string, value: string): Promise<void> {
    return this.#write(() => void this.#store.run('DELETE FROM claim WHERE key = ? AND value = ?', key, value))
  }

  close(): Promise<void> {
    return this.#store.close()
  }

  /** All that is asked for in one turn is one transaction, at one time. */
  #write<T>(work: (now: number) => T): Promise<T> {
    return this.#store.write(() => work(this.#store.clock.now()))
  }

  #bucket(key: string): TokenBucket | undefined {
    const row = this.#store.first('SELECT since, taken, tokens, per_ms FROM bucket WHERE key = ?', key)
    if (row === undefined) return undefined
    return {
      sinceMs: Number(row.since),
      taken: Number(row.taken),
      limit: Number(row.tokens),
      perMs: Number(row.per_ms),
    }
  }

  #save(key: string, bucket: TokenBucket): void {
    const { sinceMs, taken, limit, perMs } = bucket
    this.#store.run(
      'REPLACE INTO bucket(key, since, taken, tokens, per_ms, expires) VALUES (?, ?, ?, ?, ?, ?)',
      key,
      sinceMs,
      taken,
      limit,
      perMs,
      Math.ceil(freeAt(bucket)),
    )
  }

  #renew({ key, holder }: Slot, leaseMs: number, now: number): boolean {
    const expires = now + leaseMs
    const sql = 'UPDATE slot SET expires = ? WHERE key = ? AND holder = ? AND expires > ?'
    return this.#store.run(sql, expires, key, holder, now) > 0
  }
}
