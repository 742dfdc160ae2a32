/**
 * How many messages to have at hand beyond the free slots: what the slots will start within a short horizon. Tasks of
 * microseconds are fetched by the hundred, so that a round trip serves many; long ones are left for other workers. In
 * between one is at hand, so that no slot is idle for a round trip after each task.
 */

/** Work fetched ahead is started within about this time. */
const horizonMs = 5
/** One message is at hand where a slot comes free so soon: it would wait as long as a round trip costs, or little more. */
const nextWithinMs = 15
/** No more than this ahead, however short the tasks: a fetch of so many already costs next to nothing for each. */
const maxAhead = 500
/** Weight of the newest run in the moving average. */
const newest = 0.1

export class Prefetch {
  readonly #concurrency: () => number
  readonly #fixed: number | undefined
  #averageRunMs: number | undefined
  #isStalled = false

  /** `fixed` = at most so many at hand in all, running ones included. */
  constructor(concurrency: () => number, fixed: number | undefined) {
    this.#concurrency = concurrency
    this.#fixed = fixed
  }

  ran(runMs: number): void {
    this.#isStalled = false
    const average = this.#averageRunMs
    this.#averageRunMs = average === undefined ? runMs : average + newest * (runMs - average)
  }

  /** 0 before the first run is over. */
  get averageRunMs(): number {
    return this.#averageRunMs ?? 0
  }

  /** Nothing was started for so long: tasks are longer than the average says. Until one ends, only slots are filled. */
  stalled(forMs: number): void {
    this.#isStalled = true
    this.#averageRunMs = Math.max(this.#averageRunMs ?? 0, forMs)
  }

  /** Messages to ask for, given those running and those waiting for a slot. Never negative. */
  room(running: number, waiting: number): number {
    const concurrency = this.#concurrency()
    if (this.#fixed !== undefined) {
      const atHand = this.#isStalled ? Math.min(this.#fixed, concurrency) : this.#fixed
      return Math.max(0, atHand - running - waiting)
    }
    const ahead = this.#ahead(concurrency)
    const free = concurrency + ahead - running - waiting
    // A fetch for each task that ends would cost more than many tasks do.
    if (free < ahead / 4) return 0
    // By halves: one is run while the broker gets the other.
    const most = Math.max(concurrency, Math.ceil((concurrency + ahead) / 2))
    return Math.max(0, Math.min(most, free))
  }

  /** The same where a run takes many calls: as many as fill a batch for each free slot, and none beyond. */
  roomForBatches(runs: number, waiting: number, callsPerRun: number): number {
    const free = (this.#concurrency() - runs) * callsPerRun - waiting
    return Math.max(0, this.#fixed === undefined ? free : Math.min(free, this.#fixed - waiting))
  }

  /** How many of those that wait are more than should be at hand. */
  surplus(running: number, waiting: number): number {
    const concurrency = this.#concurrency()
    const atHand = this.#fixed ?? concurrency + this.#ahead(concurrency)
    return Math.max(0, Math.min(waiting, running + waiting - atHand))
  }

  /** Before the first run is over nothing is known, so nothing is fetched ahead. */
  #ahead(concurrency: number): number {
    if (this.#averageRunMs === undefined) return 0
    const everyMs = Math.max(this.#averageRunMs, 0.001) / concurrency
    const next = everyMs <= nextWithinMs && !this.#isStalled ? 1 : 0
    return Math.min(maxAhead, Math.max(next, Math.floor(horizonMs / everyMs)))
  }
}
