/**
 * Hears of aborts for somebody who waits again and again with the same signal: through one listener, since adding and
 * removing one costs as much as a short wait itself.
 */
export class AbortWatch {
  #signal: AbortSignal | undefined
  #onAbort: (() => void) | undefined

  /** Calls `onAbort` when the signal aborts, unless `stop` is called before. */
  start(signal: AbortSignal | undefined, onAbort: () => void): void {
    this.#onAbort = onAbort
    if (signal === undefined || signal === this.#signal) return
    this.#signal = signal
    signal.addEventListener('abort', () => {
      if (this.#signal === signal) this.#onAbort?.()
    })
  }

  stop(): void {
    this.#onAbort = undefined
  }
}
