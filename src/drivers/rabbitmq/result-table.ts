/** Results that were sent to this process, and who waits for them. Bounded: what was heard of longest ago goes first. */
import type { ResultRecord } from '../../result/result-store.ts'

type Listener = (record: ResultRecord) => void

interface Kept {
  readonly record: ResultRecord
  readonly bytes: number
  readonly expiresAtMs: number
}

/** Most that is kept. */
const limits = { records: 100_000, bytes: 64 * 1024 * 1024 }
/** What a record takes besides its result, in bytes, roughly. */
const overheadBytes = 500

export class ResultTable {
  /** The front is over first. */
  readonly #kept = new Map<string, Kept>()
  readonly #listeners = new Map<string, Set<Listener>>()
  #bytes = 0

  /** @param bytes size of what the record was read from */
  put(record: ResultRecord, bytes: number, nowMs: number, expiresMs: number): void {
    const { taskId } = record
    const known = this.get(taskId, nowMs)
    if (known !== undefined && !replaces(known, record)) return
    this.#remove(taskId)
    this.#kept.set(taskId, { record, bytes: bytes + overheadBytes, expiresAtMs: nowMs + expiresMs })
    this.#bytes += bytes + overheadBytes
    this.expire(nowMs)
    for (const [oldest] of this.#kept) {
      if (this.#kept.size <= limits.records && this.#bytes <= limits.bytes) break
      this.#remove(oldest)
    }
    for (const tell of this.#listeners.get(taskId) ?? []) queueMicrotask(() => tell(structuredClone(record)))
  }

  get(taskId: string, nowMs: number): ResultRecord | undefined {
    const kept = this.#kept.get(taskId)
    return kept !== undefined && kept.expiresAtMs > nowMs ? kept.record : undefined
  }

  forget(taskId: string): void {
    this.#remove(taskId)
  }

  /** @returns how many went */
  expire(nowMs: number): number {
    const before = this.#kept.size
    for (const [taskId, { expiresAtMs }] of this.#kept) {
      if (expiresAtMs > nowMs) break
      this.#remove(taskId)
    }
    return before - this.#kept.size
  }

  /** @returns stops telling */
  subscribe(taskIds: readonly string[], listener: Listener): () => void {
    let isOpen = true
    const tell: Listener = (record) => {
      if (isOpen) listener(record)
    }
    for (const taskId of taskIds) this.#listeners.set(taskId, (this.#listeners.get(taskId) ?? new Set()).add(tell))
    return () => {
      isOpen = false
      for (const taskId of taskIds) {
        const listeners = this.#listeners.get(taskId)
        listeners?.delete(tell)
        if (listeners?.size === 0) this.#listeners.delete(taskId)
      }
    }
  }

  #remove(taskId: string): void {
    const kept = this.#kept.get(taskId)
    if (kept === undefined) return
    this.#kept.delete(taskId)
    this.#bytes -= kept.bytes
  }
}

/** Never that of a newer attempt, nor SUCCESS of the same. */
function replaces(known: ResultRecord, record: ResultRecord): boolean {
  return record.fence > known.fence || (record.fence === known.fence && known.status !== 'SUCCESS')
}
