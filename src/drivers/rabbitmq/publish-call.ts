/** One call of `publish`: resolves when all of its messages are confirmed, rejects with the first that is not. */
import { CeleriacError } from '../../errors.ts'
import type { Outbound } from './message.ts'

/** One message on its way to the server. */
export interface Entry {
  readonly outbound: Outbound
  readonly call: PublishCall
  /** How often it was written and the server closed the channel or sent it back. */
  failures: number
  /** The server had no queue for it; its confirmation only says that it knows. */
  isReturned: boolean
}

export class PublishCall {
  readonly done: Promise<void>
  readonly total: number
  /** On the monotonic clock, in ms. */
  readonly deadline: number
  #unconfirmed: number
  #hasWritten = false
  #isOver = false
  #resolve: () => void = () => undefined
  #reject: (error: unknown) => void = () => undefined

  constructor(total: number, deadline: number) {
    this.total = total
    this.deadline = deadline
    this.#unconfirmed = total
    this.done = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
  }

  /** Whether it was answered already, so that nothing more of it is to be written. */
  get isOver(): boolean {
    return this.#isOver
  }

  written(): void {
    this.#hasWritten = true
  }

  /** @returns whether this was the last one */
  confirmed(): boolean {
    this.#unconfirmed -= 1
    if (this.#unconfirmed > 0 || this.#isOver) return false
    this.#isOver = true
    this.#resolve()
    return true
  }

  fail(error: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#reject(error)
  }

  /** @param why what it waited for, in words */
  timeOut(timeoutMs: number, why: string): void {
    const fate = this.#hasWritten
      ? `${this.total - this.#unconfirmed} of ${this.total} were confirmed; the others may have been accepted`
      : 'nothing was accepted'
    this.fail(new CeleriacError('PUBLISH_TIMEOUT', `not published within ${timeoutMs} ms: ${why}; ${fate}`))
  }
}
