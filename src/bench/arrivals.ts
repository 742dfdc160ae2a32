/**
 * When flows are to be sent. The moments are fixed before the first one leaves and know nothing of how the pipeline gets
 * on: a sender that waited for slow answers would leave out the very requests that would have waited ("coordinated
 * omission", G. Tene, "How NOT to Measure Latency", 2013).
 */

export type Arrivals =
  /** Evenly, so many a second. */
  | { readonly kind: 'rate'; readonly perSecond: number; readonly forMs: number }
  /** More and more, or fewer and fewer, in a straight line from the one rate to the other. */
  | { readonly kind: 'ramp'; readonly fromPerSecond: number; readonly toPerSecond: number; readonly forMs: number }
  /** All at once: how long does it take until they are through? */
  | { readonly kind: 'drain'; readonly count: number }

/** How many there are in all. */
export function countOf(arrivals: Arrivals): number {
  switch (arrivals.kind) {
    case 'rate':
      return Math.floor((arrivals.perSecond * arrivals.forMs) / 1_000)
    case 'ramp':
      return Math.floor(((arrivals.fromPerSecond + arrivals.toPerSecond) / 2) * (arrivals.forMs / 1_000))
    case 'drain':
      return arrivals.count
  }
}

/** How long they take to be sent, in ms. */
export function lengthOf(arrivals: Arrivals): number {
  return arrivals.kind === 'drain' ? 0 : arrivals.forMs
}

/**
 * When one is to be sent, in ms from the beginning. `index` from 0.
 *
 * On a ramp, f + (t − f)·x/T a second at the moment x, the number sent by then is f·x + (t − f)·x²/2T; the moment of the
 * n-th is that solved for x.
 */
export function dueMs(arrivals: Arrivals, index: number): number {
  switch (arrivals.kind) {
    case 'rate':
      return (index * 1_000) / arrivals.perSecond
    case 'ramp': {
      const { fromPerSecond: from, toPerSecond: to, forMs } = arrivals
      const slope = (to - from) / (forMs / 1_000)
      if (slope === 0) return (index * 1_000) / from
      // Rounding may take it below zero at the end of a ramp down to nothing.
      const root = Math.sqrt(Math.max(0, from * from + 2 * slope * index))
      return ((root - from) / slope) * 1_000
    }
    case 'drain':
      return 0
  }
}
