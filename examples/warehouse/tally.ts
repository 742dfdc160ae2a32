/** Counts what the logbook tells, stage by stage, while it is being written. */
import type { Entry } from './logbook.ts'

export interface Count {
  /** Runs that went well. */
  done: number
  /** Runs that ended with an error. */
  failures: number
  /** Runs begun because an earlier one failed. */
  retries: number
}

/** Rates are taken over this much of the past, in ms. */
const windowMs = 3_000

export class Tally {
  readonly #counts = new Map<string, Count>()
  readonly #recent = new Map<string, number[]>()

  add(entries: readonly Entry[]): void {
    for (const entry of entries) {
      const count = this.of(entry.task)
      if (entry.what === 'began') {
        if (entry.retries > 0) count.retries++
      } else if (entry.error !== null) {
        count.failures++
      } else {
        count.done++
        this.#doneAt(entry.task).push(entry.at)
      }
    }
  }

  of(task: string): Count {
    const count = this.#counts.get(task) ?? { done: 0, failures: 0, retries: 0 }
    this.#counts.set(task, count)
    return count
  }

  /** Runs that went well, per second of the last few. */
  perSecond(task: string, now: number): number {
    const recent = this.#doneAt(task).filter((at) => at > now - windowMs)
    this.#recent.set(task, recent)
    return recent.length / (windowMs / 1_000)
  }

  #doneAt(task: string): number[] {
    const recent = this.#recent.get(task) ?? []
    this.#recent.set(task, recent)
    return recent
  }
}
