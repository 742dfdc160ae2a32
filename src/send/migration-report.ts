/** What the migration of a queue comes to. */
import type { Delivery } from '../broker/broker.ts'

/** A message that the target cannot take. It stays at the source. */
export interface Refused {
  /** Task id; the empty string where the message has none. */
  readonly id: string
  readonly reason: string
}

export interface QueueReport {
  readonly queue: string
  /** Moved by this run; `delayed` of them with a delay. */
  readonly moved: number
  readonly delayed: number
  /** Moved by an earlier run that was ended before it could take them off the source; taken off now. */
  readonly settled: number
  /** The first of those the target cannot take; `refusedCount` tells how many were met. */
  readonly refused: readonly Refused[]
  readonly refusedCount: number
  /** Still at the source, free to be fetched or delayed: refused, or not got to. */
  readonly left: number
  /** On loan to workers of the source. */
  readonly running: number
}

/** The same while it is under way. */
export interface Tally {
  moved: number
  delayed: number
  settled: number
  refused: Refused[]
  refusedCount: number
}

/** Refused messages that are named. */
const refusedShown = 20

/** The message stays on loan until the end of the run, out of the way, and then goes back to its place. */
export function refuse(delivery: Delivery, reason: string, tally: Tally): void {
  const { id } = delivery.message.headers
  tally.refusedCount += 1
  if (tally.refused.length < refusedShown) tally.refused.push({ id: typeof id === 'string' ? id : '', reason })
}

export function newTally(): Tally {
  return { moved: 0, delayed: 0, settled: 0, refused: [], refusedCount: 0 }
}
