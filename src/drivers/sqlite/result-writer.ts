/** Writes the result records of one turn, passing over those that an older attempt left behind. */
import type { ResultRecord } from '../../result/result-store.ts'
import { type Participant, phases, type SqliteStore } from './store.ts'

/** A record and its JSON. */
export interface EncodedRecord {
  readonly record: ResultRecord
  readonly json: string
}

export function encodeRecords(records: readonly ResultRecord[]): EncodedRecord[] {
  return records.map((record) => ({ record, json: JSON.stringify(record) }))
}

export class ResultWriter implements Participant {
  readonly phase = phases.save
  readonly #store: SqliteStore
  #records: EncodedRecord[] = []
  #waiting: { resolve: () => void; reject: (error: unknown) => void }[] = []
  #enlisted = false

  constructor(store: SqliteStore) {
    this.#store = store
  }

  save(records: readonly ResultRecord[]): Promise<void> {
    const encoded = encodeRecords(records)
    return new Promise((resolve, reject) => {
      this.#waiting.push({ resolve, reject })
      this.add(encoded)
    })
  }

  /** Adds to the transaction under way, or to the next. */
  add(records: readonly EncodedRecord[]): void {
    for (const record of records) this.#records.push(record)
    if (this.#enlisted) return
    this.#enlisted = true
    this.#store.enlist(this)
  }

  /** Replacing a row gives it a new `seq`, which is how subscribers find what is new. */
  apply(): void {
    const { resultExpiresMs, clock } = this.#store
    const now = clock.now()
    const expires = Number.isFinite(resultExpiresMs) ? now + resultExpiresMs : null
    for (const { record, json } of this.#records) {
      const { taskId, fence, status } = record
      const stored = this.#store.first(
        'SELECT fence, status FROM result WHERE task_id = ? AND (expires IS NULL OR expires > ?)',
        taskId,
        now,
      )
      if (stored !== undefined) {
        const storedFence = Number(stored.fence)
        if (storedFence > fence || (storedFence === fence && stored.status === 'SUCCESS')) continue
      }
      this.#store.run(
        'REPLACE INTO result(task_id, fence, status, expires, record) VALUES (?, ?, ?, ?, ?)',
        taskId,
        fence,
        status,
        expires,
        json,
      )
    }
    this.#store.ringAfterCommit()
  }

  committed(): void {
    for (const { resolve } of this.#reset()) resolve()
  }

  failed(error: unknown): void {
    for (const { reject } of this.#reset()) reject(error)
  }

  #reset(): { resolve: () => void; reject: (error: unknown) => void }[] {
    const waiting = this.#waiting
    this.#records = []
    this.#waiting = []
    this.#enlisted = false
    return waiting
  }
}
