/**
 * Has new workers send events of their tasks as soon as they can be told to. Python's say that they are there a moment
 * before they listen, so they are told twice.
 */
import type { Clock, Timer } from '../../clock.ts'

/** After somebody new was heard of. */
const greetAfterMs = [100, 1_500] as const

export class Greeter {
  readonly #clock: Clock
  readonly #greet: () => Promise<unknown>
  readonly #onError: (error: unknown) => void
  readonly #timers = new Map<number, Timer>()

  constructor(clock: Clock, greet: () => Promise<unknown>, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#greet = greet
    this.#onError = onError
  }

  /** Those who come at the same time are told together. */
  welcome(): void {
    for (const ms of greetAfterMs) {
      if (this.#timers.has(ms)) continue
      const timer = this.#clock.after(ms, () => {
        this.#timers.delete(ms)
        this.#greet().catch(this.#onError)
      })
      this.#timers.set(ms, timer)
    }
  }

  stop(): void {
    for (const timer of this.#timers.values()) timer.cancel()
  }
}
