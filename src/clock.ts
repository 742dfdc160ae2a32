/**
 * Time, injected. Everything that waits or stamps goes through a `Clock`, so that tests drive retries, delays and
 * leases with a manual one. Epoch time is for what is stored or sent; elapsed time is measured monotonically.
 */
export interface Clock {
  /** Milliseconds since the epoch, UTC, whole. */
  now(): number
  /** Milliseconds on a clock that never steps back, for measuring. */
  monotonic(): number
  /** Calls back once after `ms`. The timer does not keep the process alive. */
  after(ms: number, callback: () => void): Timer
}

export interface Timer {
  cancel(): void
}

/** The longest wait a Node timer takes (2^31 − 1 ms, about 24.8 days); longer ones would fire at once. */
const maxTimerMs = 0x7fff_ffff

export const systemClock: Clock = {
  now: Date.now,
  monotonic: () => performance.now(),
  after(ms, callback) {
    const timer = setTimeout(callback, Math.min(Math.max(0, ms), maxTimerMs))
    timer.unref()
    return { cancel: () => clearTimeout(timer) }
  },
}

/** Resolves after `ms`, or at once when the signal aborts. Never rejects. */
export function sleep(clock: Clock, ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve()
    const done = (): void => {
      timer.cancel()
      signal?.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(ms, done)
    signal?.addEventListener('abort', done, { once: true })
  })
}
