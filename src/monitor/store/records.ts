/** Small things that are kept: what was known last of something, and who changed what. */
import type { Clock } from '../../clock.ts'
import type { MonitorDatabase } from './database.ts'

export interface Fact<Data> {
  readonly subject: string
  /** When it was learned, epoch ms. */
  readonly at: number
  readonly data: Data
}

/** What was known last of workers, queues and so on, by kind. Known again after a restart. */
export class Facts {
  readonly #db: MonitorDatabase
  readonly #clock: Clock

  constructor(db: MonitorDatabase, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  set(kind: string, subject: string, data: unknown): void {
    this.#db.run('INSERT OR REPLACE INTO facts (kind, subject, at, data) VALUES (?, ?, ?, ?)', [
      kind,
      subject,
      this.#clock.now(),
      JSON.stringify(data),
    ])
  }

  all<Data>(kind: string): Fact<Data>[] {
    return this.#db
      .all('SELECT subject, at, data FROM facts WHERE kind = ?', [kind])
      .map(({ subject, at, data }) => ({ subject: String(subject), at: Number(at), data: JSON.parse(String(data)) }))
  }

  forget(kind: string, subject: string): void {
    this.#db.run('DELETE FROM facts WHERE kind = ? AND subject = ?', [kind, subject])
  }

  prune(beforeMs: number): void {
    this.#db.run('DELETE FROM facts WHERE at < ?', [beforeMs])
  }
}

export interface AuditEntry {
  readonly no: number
  /** Epoch ms. */
  readonly at: number
  readonly user: string
  readonly role: string
  readonly action: string
  /** What it was done to: names, filters, numbers; secrets hidden. */
  readonly target: Readonly<Record<string, unknown>>
  /** `done`, or why it was not. */
  readonly outcome: string
}

const maxAuditEntries = 100_000
const maxTargetLength = 4_000

/** Every change that somebody asked for, and every refusal. */
export class Audit {
  readonly #db: MonitorDatabase
  readonly #clock: Clock

  constructor(db: MonitorDatabase, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  add({ user, role, action, target, outcome }: Omit<AuditEntry, 'no' | 'at'>): void {
    const text = JSON.stringify(target)
    this.#db.run('INSERT INTO audit (at, user, role, action, target, outcome) VALUES (?, ?, ?, ?, ?, ?)', [
      this.#clock.now(),
      user.slice(0, 255),
      role,
      action,
      text.length <= maxTargetLength ? text : JSON.stringify({ cut: text.slice(0, maxTargetLength) }),
      outcome.slice(0, 1_000),
    ])
  }

  /** The latest first. */
  page(limit: number, before: number | null = null): { entries: AuditEntry[]; next: number | null } {
    const rows = this.#db.all('SELECT * FROM audit WHERE no < ? ORDER BY no DESC LIMIT ?', [
      before ?? Number.MAX_SAFE_INTEGER,
      limit + 1,
    ])
    const entries = rows.slice(0, limit).map((row) => ({
      no: Number(row.no),
      at: Number(row.at),
      user: String(row.user),
      role: String(row.role),
      action: String(row.action),
      target: JSON.parse(String(row.target)) as Record<string, unknown>,
      outcome: String(row.outcome),
    }))
    return { entries, next: rows.length > limit ? (entries.at(-1)?.no ?? null) : null }
  }

  prune(): void {
    this.#db.run('DELETE FROM audit WHERE no <= (SELECT max(no) FROM audit) - ?', [maxAuditEntries])
  }
}
