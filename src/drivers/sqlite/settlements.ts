/**
 * Settles the deliveries of one turn. A lease belongs to a consumer, so one look at its row tells whether it still
 * holds all it was given or nothing at all; messages with neighbouring ids leave by one statement.
 */
import { LeaseLostError } from '../../errors.ts'
import type { EncodedMessage, Outbox } from './outbox.ts'
import type { EncodedRecord, ResultWriter } from './result-writer.ts'
import { type Participant, phases, type SqliteStore } from './store.ts'

export interface Settlement {
  /** The consumer's row at the time of the claim. */
  readonly lease: number
  readonly id: number
  /** Where it goes: off the queue, back to its place, or into a delay (`due`, epoch ms). */
  readonly to: 'gone' | 'ready' | 'delayed'
  readonly due: number
  readonly publish: readonly EncodedMessage[] | undefined
  readonly save: readonly EncodedRecord[] | undefined
}

interface Waiting extends Settlement {
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

/** Above so many runs of neighbouring ids, one statement with a list of ids is cheaper than one for each run. */
const maxRuns = 24

export class Settlements implements Participant {
  readonly phase = phases.settle
  readonly #store: SqliteStore
  readonly #outbox: Outbox
  readonly #results: ResultWriter
  #settlements: Waiting[] = []
  #lost = new Set<number>()
  #enlisted = false

  constructor(store: SqliteStore, outbox: Outbox, results: ResultWriter) {
    this.#store = store
    this.#outbox = outbox
    this.#results = results
  }

  /** @throws LeaseLostError nothing has happened */
  add({ lease, id, to, due, publish, save }: Settlement): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#settlements.push({ lease, id, to, due, publish, save, resolve, reject })
      if (this.#enlisted) return
      this.#enlisted = true
      this.#store.enlist(this)
    })
  }

  apply(): void {
    const gone = new Map<number, number[]>()
    for (const settlement of this.#settlements) {
      const ids = this.#idsOf(settlement.lease, gone)
      if (ids === undefined) continue
      if (settlement.to === 'gone') ids.push(settlement.id)
      else this.#giveBack(settlement)
      if (settlement.publish !== undefined) this.#outbox.add(settlement.publish)
      if (settlement.save !== undefined) this.#results.add(settlement.save)
    }
    for (const [lease, ids] of gone) this.#delete(lease, ids)
  }

  committed(): void {
    const lost = this.#lost
    for (const { lease, resolve, reject } of this.#reset()) {
      if (lost.has(lease)) reject(new LeaseLostError())
      else resolve()
    }
  }

  failed(error: unknown): void {
    for (const { reject } of this.#reset()) reject(error)
  }

  /** The list to add acknowledged ids to, or undefined when the lease is lost. */
  #idsOf(lease: number, gone: Map<number, number[]>): number[] | undefined {
    let ids = gone.get(lease)
    if (ids === undefined && !this.#lost.has(lease)) {
      if (this.#store.first('SELECT 1 FROM consumer WHERE id = ?', lease) === undefined) this.#lost.add(lease)
      else {
        ids = []
        gone.set(lease, ids)
      }
    }
    return ids
  }

  #giveBack({ lease, id, to, due }: Settlement): void {
    const source = 'FROM leased WHERE consumer = ? AND id = ?'
    if (to === 'ready') {
      this.#store.run(
        `INSERT INTO ready(queue, rank, id, deliveries) SELECT queue, rank, id, deliveries - 1 ${source}`,
        lease,
        id,
      )
    } else {
      this.#store.run(
        `INSERT INTO delayed(due, id, queue, rank, deliveries) SELECT ?, id, queue, rank, deliveries - 1 ${source}`,
        due,
        lease,
        id,
      )
    }
    this.#store.run('DELETE FROM leased WHERE consumer = ? AND id = ?', lease, id)
    this.#store.ringAfterCommit()
  }

  #delete(lease: number, ids: number[]): void {
    const runs = runsOf(ids)
    if (runs.length > maxRuns) {
      const list = JSON.stringify(ids)
      this.#store.run('DELETE FROM leased WHERE consumer = ? AND id IN (SELECT value FROM json_each(?))', lease, list)
      this.#store.run('DELETE FROM payload WHERE id IN (SELECT value FROM json_each(?))', list)
      return
    }
    for (const [first, last] of runs) {
      this.#store.run('DELETE FROM leased WHERE consumer = ? AND id BETWEEN ? AND ?', lease, first, last)
      this.#store.run('DELETE FROM payload WHERE id BETWEEN ? AND ?', first, last)
    }
  }

  #reset(): Waiting[] {
    const settlements = this.#settlements
    this.#settlements = []
    this.#lost = new Set()
    this.#enlisted = false
    return settlements
  }
}

/** First and last of each run of neighbouring numbers. */
function runsOf(ids: number[]): [number, number][] {
  const runs: [number, number][] = []
  for (const id of ids.sort((a, b) => a - b)) {
    const run = runs[runs.length - 1]
    if (run !== undefined && id === run[1] + 1) run[1] = id
    else runs.push([id, id])
  }
  return runs
}
