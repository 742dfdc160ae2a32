/**
 * A quorum queue that is asked before it has a leader, as while its server starts, never answers: it neither takes a
 * message nor refuses it. So for some time after a connection came up, what stays unconfirmed is called overdue.
 */
import type { Clock, Timer } from '../../clock.ts'

/** How long after the connection came up this goes on, in ms. Later, slow answers are only slow. */
const watchMs = 30_000
/** A healthy server confirms within milliseconds. In ms. */
const overdueMs = 2_000
const lookMs = 500

export class ConfirmWatch {
  readonly #clock: Clock
  readonly #oldestWrittenAt: () => number | undefined
  readonly #onOverdue: () => void
  #timer: Timer | undefined

  /** @param oldestWrittenAt when the oldest unconfirmed message was written, in ms on the monotonic clock */
  constructor(clock: Clock, oldestWrittenAt: () => number | undefined, onOverdue: () => void) {
    this.#clock = clock
    this.#oldestWrittenAt = oldestWrittenAt
    this.#onOverdue = onOverdue
  }

  /** The connection came up. */
  start(): void {
    this.stop()
    const until = this.#clock.monotonic() + watchMs
    const look = (): void => {
      const now = this.#clock.monotonic()
      if (now - (this.#oldestWrittenAt() ?? now) >= overdueMs) this.#onOverdue()
      this.#timer = now < until ? this.#clock.after(lookMs, look) : undefined
    }
    this.#timer = this.#clock.after(lookMs, look)
  }

  stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }
}
