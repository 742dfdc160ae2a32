/** Rules and channels of alerts, what became of them, and how they stand. */
import type { Clock } from '../../clock.ts'
import type { MonitorDatabase } from './database.ts'
import type { Facts } from './records.ts'

export interface AlertRecord {
  readonly no: number
  /** Epoch ms. */
  readonly at: number
  readonly rule: string
  readonly target: string
  readonly event: 'firing' | 'resolved' | 'sent' | 'not-sent' | 'test'
  readonly message: string
}

const maxRecords = 10_000
const stateKind = 'alerts'

export class AlertStore {
  readonly #db: MonitorDatabase
  readonly #facts: Facts
  readonly #clock: Clock

  constructor(db: MonitorDatabase, facts: Facts, clock: Clock) {
    this.#db = db
    this.#facts = facts
    this.#clock = clock
  }

  /** @param table of rules, or of channels */
  all<Data>(table: 'alert_rules' | 'alert_channels'): (Data & { readonly id: string })[] {
    return this.#db
      .all(`SELECT id, data FROM ${table} ORDER BY id`)
      .map(({ id, data }) => ({ ...(JSON.parse(String(data)) as Data), id: String(id) }))
  }

  save(table: 'alert_rules' | 'alert_channels', id: string, data: unknown): void {
    this.#db.run(`INSERT OR REPLACE INTO ${table} (id, data) VALUES (?, ?)`, [id, JSON.stringify(data)])
  }

  remove(table: 'alert_rules' | 'alert_channels', id: string): void {
    this.#db.run(`DELETE FROM ${table} WHERE id = ?`, [id])
  }

  note(record: Omit<AlertRecord, 'no' | 'at'>): void {
    const { rule, target, event, message } = record
    this.#db.run('INSERT INTO alert_history (at, rule, target, event, message) VALUES (?, ?, ?, ?, ?)', [
      ...[this.#clock.now(), rule, target, event],
      message.slice(0, 2_000),
    ])
    this.#db.run('DELETE FROM alert_history WHERE no <= (SELECT max(no) FROM alert_history) - ?', [maxRecords])
  }

  /** The latest first. */
  history(limit: number, before: number | null): { entries: AlertRecord[]; next: number | null } {
    const rows = this.#db.all('SELECT * FROM alert_history WHERE no < ? ORDER BY no DESC LIMIT ?', [
      before ?? Number.MAX_SAFE_INTEGER,
      limit + 1,
    ])
    const entries = rows.slice(0, limit).map((row) => ({
      ...{ no: Number(row.no), at: Number(row.at), rule: String(row.rule), target: String(row.target) },
      ...{ event: row.event as AlertRecord['event'], message: String(row.message) },
    }))
    return { entries, next: rows.length > limit ? (entries.at(-1)?.no ?? null) : null }
  }

  /** How rules stood when it was written last. */
  state<State>(): State | undefined {
    return this.#facts.all<State>(stateKind)[0]?.data
  }

  saveState(state: unknown): void {
    this.#facts.set(stateKind, 'state', state)
  }
}
