import type { Clock, Timer } from '../clock.ts'

interface Waiting {
  readonly dueMs: number
  readonly callback: () => void
}

/** Turns of the event loop given to promises after each step. A chain of awaits needs none; hops through I/O need some. */
const settleTurns = 5

/**
 * A clock that moves only when told to. Timers fire in the order they are due, and what they set in motion runs until
 * it waits again before time goes on, so that a test sees the same order every time.
 *
 * @example
 * const clock = new ManualClock()
 * const app = await startApp({ clock })
 * await clock.advance(60_000)
 */
export class ManualClock implements Clock {
  readonly #startMs: number
  #nowMs: number
  /** In the order they were set; tests have few. */
  readonly #waiting = new Set<Waiting>()

  /** @param startMs where time begins, epoch ms. @default 2025-01-01T00:00:00Z */
  constructor(startMs: number = Date.UTC(2025, 0, 1)) {
    this.#startMs = startMs
    this.#nowMs = startMs
  }

  now(): number {
    return Math.floor(this.#nowMs)
  }

  monotonic(): number {
    return this.#nowMs - this.#startMs
  }

  after(ms: number, callback: () => void): Timer {
    const waiting: Waiting = { dueMs: this.#nowMs + Math.max(0, ms), callback }
    this.#waiting.add(waiting)
    return { cancel: () => void this.#waiting.delete(waiting) }
  }

  /** Timers not fired yet: 0 at the end of a test that leaks none. */
  get pendingTimers(): number {
    return this.#waiting.size
  }

  /** Ms until the next timer fires; undefined without any. */
  get nextTimerMs(): number | undefined {
    const next = this.#next(Number.POSITIVE_INFINITY)
    return next === undefined ? undefined : Math.max(0, next.dueMs - this.#nowMs)
  }

  /** Lets `ms` pass, firing what falls due on the way. Resolves when what was fired has run as far as it can. */
  async advance(ms: number): Promise<void> {
    const targetMs = this.#nowMs + ms
    await settle()
    for (let next = this.#next(targetMs); next !== undefined; next = this.#next(targetMs)) {
      this.#waiting.delete(next)
      this.#nowMs = Math.max(this.#nowMs, next.dueMs)
      next.callback()
      await settle()
    }
    this.#nowMs = Math.max(this.#nowMs, targetMs)
    await settle()
  }

  /**
   * The same in one leap: what falls due on the way fires after it, in its order, and finds the time at the end. For long
   * times in which nothing happens but that somebody looks again and again.
   */
  async leap(ms: number): Promise<void> {
    this.#nowMs += ms
    await this.advance(0)
  }

  /** The first timer due by then; of those due together, the one set first. */
  #next(byMs: number): Waiting | undefined {
    let first: Waiting | undefined
    for (const waiting of this.#waiting) {
      if (waiting.dueMs <= byMs && (first === undefined || waiting.dueMs < first.dueMs)) first = waiting
    }
    return first
  }
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < settleTurns; turn++) await new Promise((resolve) => setImmediate(resolve))
}
