/** The monitor's memory: everything that is kept in its file, and the limits of it. */
import type { Clock } from '../../clock.ts'
import { MonitorDatabase } from './database.ts'
import { MessageStore } from './message-store.ts'
import { Audit, Facts } from './records.ts'
import { resolutions } from './series.ts'
import { SeriesStore } from './series-store.ts'
import { StateCounts } from './state-counts.ts'
import { TaskQuery } from './task-query.ts'
import { TaskStore } from './task-store.ts'
import { Words } from './words.ts'

export interface StoreLimits {
  readonly maxTasks: number
  /** How long tasks are kept after they were heard of first. */
  readonly maxAgeMs: number
  /** Size of the file; the oldest tasks go when it is reached. */
  readonly maxBytes: number
}

export interface StoreOptions extends StoreLimits {
  readonly path: string
  readonly clock: Clock
}

/** Deleted in one go: a few ms, in which nothing else is done. */
const pruneStep = 500
/** A message is worth keeping as long as somebody may want to send it again, and takes more room than a task. */
const messagesPerTask = 0.2

export class MonitorStore {
  readonly db: MonitorDatabase
  readonly words: Words
  readonly tasks: TaskStore
  readonly query: TaskQuery
  readonly states: StateCounts
  readonly series: SeriesStore
  readonly messages: MessageStore
  readonly facts: Facts
  readonly audit: Audit
  readonly #limits: StoreLimits
  readonly #clock: Clock

  /** @throws CeleriacError `BROKER_UNAVAILABLE`, `STORAGE_BUSY`, `STORAGE_CORRUPT`, `CONFIG_INVALID` */
  constructor({ path, clock, ...limits }: StoreOptions) {
    this.#limits = limits
    this.#clock = clock
    this.db = new MonitorDatabase(path)
    this.words = new Words(this.db, clock)
    this.tasks = new TaskStore(this.db, this.words, clock)
    this.query = new TaskQuery(this.db, this.words)
    this.states = new StateCounts(this.query, clock)
    this.series = new SeriesStore(this.db, this.words, clock)
    this.messages = new MessageStore(this.db, clock)
    this.facts = new Facts(this.db, clock)
    this.audit = new Audit(this.db, clock)
  }

  /** All of it or nothing; in memory too. */
  write<T>(work: () => T): T {
    try {
      return this.db.transaction(work)
    } catch (error) {
      this.words.reload()
      this.tasks.forgetMemory()
      throw error
    }
  }

  /** Forgets a part of what is beyond the limits. @returns whether there is more of it */
  prune(): boolean {
    return this.write(() => {
      const nowMs = this.#clock.now()
      const { maxTasks, maxAgeMs, maxBytes } = this.#limits
      this.series.prune()
      this.audit.prune()
      this.messages.prune(Math.ceil(maxTasks * messagesPerTask), nowMs - maxAgeMs)
      this.facts.prune(nowMs - maxAgeMs)
      const coarsest = resolutions.at(-1)?.keepMs ?? 0
      // A day more: the days on which words were used are noted no finer.
      this.words.forgetBefore(nowMs - Math.max(maxAgeMs, coarsest) - 2 * 86_400_000)
      const pruned = this.#pruneTasks(nowMs - maxAgeMs, maxTasks, maxBytes)
      this.db.shrink()
      return pruned === pruneStep
    })
  }

  close(): void {
    this.db.close()
  }

  /** The oldest of those that are too many, too old, or make the file too large. */
  #pruneTasks(beforeMs: number, maxTasks: number, maxBytes: number): number {
    const isTooLarge = this.db.size() > maxBytes
    const rows = this.db.all(
      `SELECT no, uuid FROM tasks
       WHERE no <= (SELECT max(no) FROM tasks) - ?1 OR seen_at < ?2 OR ?3 ORDER BY no LIMIT ?4`,
      [maxTasks, beforeMs, Number(isTooLarge), pruneStep],
    )
    const last = rows.at(-1)
    if (last === undefined) return 0
    const no = Number(last.no)
    this.db.run('DELETE FROM events WHERE task <= ?', [no])
    this.db.run('DELETE FROM task_text WHERE rowid <= ?', [no])
    this.db.run('DELETE FROM tasks WHERE no <= ?', [no])
    this.tasks.forget(rows.map(({ uuid }) => String(uuid)))
    return rows.length
  }
}
