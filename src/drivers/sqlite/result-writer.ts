/** Writes the result records of one turn, passing over those that an older attempt left behind. */
import { type ResultRecord, withoutAddress } from '../../result/result-store.ts'
import type { SqlValue } from './binding.ts'
import { type Participant, phases, type SqliteStore } from './store.ts'

/** A record and its JSON. */
export interface EncodedRecord {
  readonly record: ResultRecord
  readonly json: string
}

export function encodeRecords(records: readonly ResultRecord[]): EncodedRecord[] {
  return records.map((record) => ({ record, json: JSON.stringify(withoutAddress(record)) }))
}

const rowsPerStatement = 16
const columns = 6

/** A record goes over a stored one of an older attempt, of the same attempt short of its success, or past its time. */
const saveRows = (rows: number): string => `
  INSERT INTO result(seq, task_id, fence, status, expires, record) VALUES ${Array(rows).fill('(?,?,?,?,?,?)').join(',')}
  ON CONFLICT(task_id) DO UPDATE SET seq = excluded.seq, fence = excluded.fence, status = excluded.status,
    expires = excluded.expires, record = excluded.record
  WHERE excluded.fence > fence OR (excluded.fence = fence AND status <> 'SUCCESS') OR expires <= ?`
const saveMany = saveRows(rowsPerStatement)
const saveOne = saveRows(1)

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

  /** Every stored row has a new `seq`, which is how subscribers find what is new. */
  apply(): void {
    const store = this.#store
    const { resultExpiresMs, clock } = store
    const now = clock.now()
    const expires = Number.isFinite(resultExpiresMs) ? now + resultExpiresMs : null
    store.run('UPDATE counter SET value = value + ?', this.#records.length)
    let seq = Number(store.first('SELECT value FROM counter')?.value) - this.#records.length
    let values: SqlValue[] = []
    for (const { record, json } of this.#records) {
      seq += 1
      values.push(seq, record.taskId, record.fence, record.status, expires, json)
      if (values.length === rowsPerStatement * columns) {
        store.runList(saveMany, [...values, now])
        values = []
      }
    }
    for (let at = 0; at < values.length; at += columns) {
      store.runList(saveOne, [...values.slice(at, at + columns), now])
    }
    store.ringAfterCommit()
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
