/**
 * How many tasks are in each state. Counting goes through all of them, so it is done again only once so much time has
 * passed that it takes up a fiftieth of it at most.
 */
import type { Clock } from '../../clock.ts'
import type { TaskQuery } from './task-query.ts'

const atMostEveryMs = 500
const shareOfTime = 50

export class StateCounts {
  readonly #query: TaskQuery
  readonly #clock: Clock
  #counts: Readonly<Record<string, number>> = {}
  #nextMs = Number.NEGATIVE_INFINITY

  constructor(query: TaskQuery, clock: Clock) {
    this.#query = query
    this.#clock = clock
  }

  get(): Readonly<Record<string, number>> {
    const beginMs = this.#clock.monotonic()
    if (beginMs < this.#nextMs) return this.#counts
    this.#counts = this.#query.states()
    const endMs = this.#clock.monotonic()
    this.#nextMs = endMs + Math.max(atMostEveryMs, (endMs - beginMs) * shareOfTime)
    return this.#counts
  }
}
