/**
 * Notices when something holds up the event loop, where every other task then waits, and names who it was: for the part of
 * a task before it first waits, for certain; for later parts, as far as it must be one of those that run.
 */
import type { Clock } from '../clock.ts'

/** Held up for longer than this, it is said. In ms. */
export const heldUpMs = 500
const lookMs = 100

export class LoopWatch {
  readonly #clock: Clock
  readonly #onHeldUp: (lagMs: number) => void
  #timer: NodeJS.Timeout | undefined
  #dueAt = 0
  /** Somebody was named for the lag of this time. */
  #isExplained = false
  #lagMs = 0

  constructor(clock: Clock, onHeldUp: (lagMs: number) => void) {
    this.#clock = clock
    this.#onHeldUp = onHeldUp
  }

  /** How late the last look was, in ms. */
  get lagMs(): number {
    return this.#lagMs
  }

  start(): void {
    this.#dueAt = this.#clock.monotonic() + lookMs
    this.#timer = setInterval(() => this.#look(), lookMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** By how much a look is late at this moment, if nobody was named for it. In ms. */
  overdueMs(now: number): number {
    return this.#isExplained ? 0 : now - this.#dueAt
  }

  /** The next look will be late, and it is known why. */
  explained(): void {
    this.#isExplained = true
  }

  #look(): void {
    const now = this.#clock.monotonic()
    this.#lagMs = Math.max(0, now - this.#dueAt)
    this.#dueAt = now + lookMs
    if (this.#lagMs >= heldUpMs && !this.#isExplained) this.#onHeldUp(this.#lagMs)
    this.#isExplained = false
  }
}
