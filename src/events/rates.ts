/** How often something happens, over the last seconds. */

/** Looked back on, in ms. */
const windowMs = 10_000
const bucketMs = 1_000

export class Rates {
  readonly #startedAtMs: number
  /** Counts by name, for each second, the oldest first. */
  readonly #buckets = new Map<number, Map<string, number>>()

  constructor(nowMs: number) {
    this.#startedAtMs = nowMs
  }

  count(name: string, nowMs: number): void {
    const second = Math.floor(nowMs / bucketMs)
    let bucket = this.#buckets.get(second)
    if (bucket === undefined) {
      bucket = new Map()
      this.#buckets.set(second, bucket)
      this.#forgetBefore(nowMs - windowMs - bucketMs)
    }
    bucket.set(name, (bucket.get(name) ?? 0) + 1)
  }

  /** Per second. */
  of(name: string, nowMs: number): number {
    let count = 0
    for (const [second, bucket] of this.#buckets) {
      if (second * bucketMs > nowMs - windowMs) count += bucket.get(name) ?? 0
    }
    // Right after the beginning the window is shorter, but never so short that one event looks like a flood.
    const coveredMs = Math.min(windowMs, Math.max(bucketMs, nowMs - this.#startedAtMs))
    return (count * 1_000) / coveredMs
  }

  #forgetBefore(ms: number): void {
    for (const second of this.#buckets.keys()) if (second * bucketMs < ms) this.#buckets.delete(second)
  }
}
