/** Actions on many tasks, as they are kept: what is to be done, and how far it has come. */
import type { MonitorDatabase } from './database.ts'

export type JobState = 'running' | 'done' | 'cancelled' | 'failed'

export interface Job<Work = unknown> {
  readonly id: string
  /** Epoch ms. */
  readonly at: number
  readonly user: string
  readonly state: JobState
  /** What is to be done, and what to. */
  readonly work: Work
  /** Counted when it began. */
  readonly total: number
  readonly done: number
  readonly failed: number
  /** The first things that went wrong, for people. */
  readonly errors: readonly string[]
  /** Where it goes on; null at the beginning. */
  readonly cursor: number | null
}

const maxJobs = 500

export class JobStore {
  readonly #db: MonitorDatabase

  constructor(db: MonitorDatabase) {
    this.#db = db
  }

  save({ id, at, user, state, ...rest }: Job): void {
    this.#db.run('INSERT OR REPLACE INTO jobs (id, at, user, state, data) VALUES (?, ?, ?, ?, ?)', [
      id,
      at,
      user,
      state,
      JSON.stringify(rest),
    ])
    this.#db.run(
      `DELETE FROM jobs WHERE state != 'running' AND id NOT IN (SELECT id FROM jobs ORDER BY at DESC LIMIT ?)`,
      [maxJobs],
    )
  }

  get(id: string): Job | undefined {
    const row = this.#db.first('SELECT * FROM jobs WHERE id = ?', [id])
    return row && jobOf(row)
  }

  /** The latest first. */
  all(): Job[] {
    return this.#db.all('SELECT * FROM jobs ORDER BY at DESC LIMIT ?', [maxJobs]).map(jobOf)
  }
}

function jobOf(row: Readonly<Record<string, unknown>>): Job {
  const rest = JSON.parse(String(row.data)) as Omit<Job, 'id' | 'at' | 'user' | 'state'>
  return { id: String(row.id), at: Number(row.at), user: String(row.user), state: row.state as JobState, ...rest }
}
