/** How a run's deliveries differ from "each task exactly once". Exact when both are zero. */
export interface Exactness {
  readonly doubles: number
  readonly misses: number
}

/** Counts how often each task of a run was seen. A task runs in a few nanoseconds here, so this is one array access. */
export class Tally {
  readonly #seen: Uint8Array
  /** Tasks seen at least once. */
  distinct = 0
  #doubles = 0

  constructor(count: number) {
    this.#seen = new Uint8Array(count)
  }

  add(i: number): void {
    const before = this.#seen[i]
    if (before === undefined) throw new Error(`task ${i} is none of the ${this.#seen.length} of this run`)
    if (before === 0) {
      this.#seen[i] = 1
      this.distinct += 1
    } else {
      this.#doubles += 1
    }
  }

  exactness(): Exactness {
    return { doubles: this.#doubles, misses: this.#seen.length - this.distinct }
  }
}
