import type { Slot, SlotAsk, TokenAsk } from '../../broker/limiter.ts'
import { freeAt, reserveToken, type TokenBucket } from '../../broker/token-bucket.ts'

interface Claim {
  readonly value: string
  readonly expiresAtMs: number
}

const purgeIntervalMs = 30_000

/** Buckets, slots and claims by their keys. What is over is no longer seen, and thrown out now and then. */
export class LimitTable {
  readonly #buckets = new Map<string, TokenBucket>()
  /** key → holder → when the lease is over */
  readonly #slots = new Map<string, Map<string, number>>()
  readonly #claims = new Map<string, Claim>()
  #purgeAtMs = 0

  /** How many buckets, slots and claims lie here, those included that are over and not yet thrown out. */
  get size(): number {
    let slots = 0
    for (const holders of this.#slots.values()) slots += holders.size
    return this.#buckets.size + slots + this.#claims.size
  }

  reserve(ask: TokenAsk, nowMs: number): number | null {
    this.#purgeNowAndThen(nowMs)
    const reserved = reserveToken(this.#buckets.get(ask.key), ask, nowMs)
    if (reserved === null) return null
    this.#buckets.set(ask.key, reserved.bucket)
    return reserved.waitMs
  }

  acquire({ key, limit, holder }: SlotAsk, leaseMs: number, nowMs: number): boolean {
    this.#purgeNowAndThen(nowMs)
    const holders = this.#slots.get(key) ?? new Map<string, number>()
    forgetLapsed(holders, nowMs)
    if (!holders.has(holder) && holders.size >= limit) return false
    holders.set(holder, nowMs + leaseMs)
    this.#slots.set(key, holders)
    return true
  }

  /** @returns whether it was not lost */
  renew({ key, holder }: Slot, leaseMs: number, nowMs: number): boolean {
    const holders = this.#slots.get(key)
    if (holders === undefined || (holders.get(holder) ?? 0) <= nowMs) return false
    holders.set(holder, nowMs + leaseMs)
    return true
  }

  release({ key, holder }: Slot): void {
    const holders = this.#slots.get(key)
    holders?.delete(holder)
    if (holders?.size === 0) this.#slots.delete(key)
  }

  claim(key: string, value: string, ttlMs: number, nowMs: number): string {
    this.#purgeNowAndThen(nowMs)
    const held = this.#claims.get(key)
    if (held !== undefined && held.value !== value && held.expiresAtMs > nowMs) return held.value
    this.#claims.set(key, { value, expiresAtMs: nowMs + ttlMs })
    return value
  }

  unclaim(key: string, value: string): void {
    if (this.#claims.get(key)?.value === value) this.#claims.delete(key)
  }

  /** Throws out what is over. */
  purge(nowMs: number): void {
    for (const [key, bucket] of this.#buckets) if (freeAt(bucket) <= nowMs) this.#buckets.delete(key)
    for (const [key, { expiresAtMs }] of this.#claims) if (expiresAtMs <= nowMs) this.#claims.delete(key)
    for (const [key, holders] of this.#slots) {
      forgetLapsed(holders, nowMs)
      if (holders.size === 0) this.#slots.delete(key)
    }
  }

  #purgeNowAndThen(nowMs: number): void {
    if (nowMs < this.#purgeAtMs) return
    this.#purgeAtMs = nowMs + purgeIntervalMs
    this.purge(nowMs)
  }
}

function forgetLapsed(holders: Map<string, number>, nowMs: number): void {
  for (const [holder, expiresAtMs] of holders) if (expiresAtMs <= nowMs) holders.delete(holder)
}
