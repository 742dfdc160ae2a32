/**
 * The logical clock of a fleet: orders what its members tell each other, whatever their own clocks say
 * (L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System", 1978; kombu's `LamportClock`).
 */
export class LamportClock {
  #value = 0

  get value(): number {
    return this.#value
  }

  /** The time of something that is sent now. */
  tick(): number {
    this.#value += 1
    return this.#value
  }

  /** Moves past a time that was received. What is no whole number is ignored: others' messages may say anything. */
  observe(received: unknown): void {
    if (typeof received !== 'number' || !Number.isSafeInteger(received)) return
    this.#value = Math.max(this.#value, received) + 1
  }
}
