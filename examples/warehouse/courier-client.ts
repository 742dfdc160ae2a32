/** How the warehouse calls its courier. */
import type { Order } from './order.ts'

/** The courier did not take the parcel over, or we do not know whether it did. Asking again is safe. */
export class CourierError extends Error {
  override readonly name = 'CourierError'
}

/** Longer than a slow courier takes, short enough to notice one that hangs. */
const timeoutMs = 5_000

/**
 * Hands an order's parcel to the courier and returns the tracking number. The order's id is the idempotency key: for
 * however many calls, the courier takes the parcel over once and gives the same answer.
 * @throws CourierError try again
 */
export async function handOver(courierUrl: string, order: Order, signal: AbortSignal): Promise<string> {
  const response = await fetch(new URL('/deliveries', courierUrl), {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'idempotency-key': order.id },
    body: JSON.stringify({ lines: order.lines }),
    signal: AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]),
  }).catch((error: unknown) => {
    signal.throwIfAborted() // the worker wants us to stop: that is not the courier's fault
    throw new CourierError('the courier hung up', { cause: error })
  })
  if (!response.ok) throw new CourierError(`the courier answered ${response.status}`)
  const { tracking } = (await response.json()) as { tracking: string }
  return tracking
}
