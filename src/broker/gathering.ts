import type { Clock, Timer } from '../clock.ts'
import type { RequestOptions } from './bus.ts'

/** The replies to one request: they come until there are as many as wanted, the time is over, or somebody ends it. */
export class Gathering {
  /** Resolves with them, in the order they came. Never rejects. */
  readonly over: Promise<unknown[]>
  readonly #replies: unknown[] = []
  readonly #wanted: number
  readonly #timer: Timer
  #resolve: (replies: unknown[]) => void = () => undefined
  #isOver = false

  /** The time begins now. */
  constructor(clock: Clock, { timeoutMs, replies = Number.POSITIVE_INFINITY }: RequestOptions) {
    this.#wanted = replies
    this.over = new Promise((resolve) => {
      this.#resolve = resolve
    })
    this.#timer = clock.after(timeoutMs, () => this.end())
  }

  /** One that comes too late is dropped. */
  add(reply: unknown): void {
    if (this.#isOver) return
    this.#replies.push(reply)
    if (this.#replies.length >= this.#wanted) this.end()
  }

  end(): void {
    this.#isOver = true
    this.#timer.cancel()
    this.#resolve(this.#replies)
  }
}
