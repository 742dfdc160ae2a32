/** Work that is done again and again: one round at a time, and the next so long after the end of the last. */
import type { Clock, Timer } from '../../clock.ts'

export class Rounds {
  readonly #clock: Clock
  readonly #everyMs: number
  readonly #work: () => Promise<void> | void
  readonly #onError: (error: unknown) => void
  #timer: Timer | undefined
  #isStopped = false
  #running: Promise<void> | undefined

  constructor(clock: Clock, everyMs: number, work: () => Promise<void> | void, onError: (error: unknown) => void) {
    this.#clock = clock
    this.#everyMs = everyMs
    this.#work = work
    this.#onError = onError
  }

  /** Begins with a round. */
  start(): void {
    this.#round()
  }

  /** After the round that is under way. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    await this.#running
  }

  #round(): void {
    this.#running = this.#attempt().then(() => {
      if (!this.#isStopped) this.#timer = this.#clock.after(this.#everyMs, () => this.#round())
    })
  }

  async #attempt(): Promise<void> {
    try {
      await this.#work()
    } catch (error) {
      this.#onError(error)
    }
  }
}
