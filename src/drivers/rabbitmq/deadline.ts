/** A wait that ends. Requests to a server that lives can still hang, on a queue that has lost its majority for example. */
import type { Clock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'

/** Longest wait for the answer to one request, in ms. */
export const requestTimeoutMs = 5_000

/** @throws CeleriacError `BROKER_UNAVAILABLE` when the promise takes longer */
export async function withDeadline<T>(clock: Clock, ms: number, what: string, promise: Promise<T>): Promise<T> {
  // Who waits no longer must not be what makes a late rejection unhandled.
  promise.catch(() => undefined)
  let cancel = (): void => undefined
  const late = new Promise<never>((_, reject) => {
    const timer = clock.after(ms, () => {
      reject(new CeleriacError('BROKER_UNAVAILABLE', `RabbitMQ did not answer within ${ms} ms: ${what}`))
    })
    cancel = () => timer.cancel()
  })
  try {
    return await Promise.race([promise, late])
  } finally {
    cancel()
  }
}
