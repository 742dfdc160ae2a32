/** When an event was sent, to be compared with others. */
import type { ReceivedEvent } from './received-event.ts'

export interface Stamp {
  /** Epoch ms, by the sender's host. */
  readonly atMs: number
  readonly clock: number
  readonly hostname: string
}

/** An event without a time counts as sent when it came. Its `utcoffset` is left alone: the time is absolute. */
export function stampOf(event: ReceivedEvent, receivedAtMs: number): Stamp {
  return {
    atMs: event.timestamp === undefined ? receivedAtMs : event.timestamp * 1_000,
    clock: event.clock ?? 0,
    hostname: event.hostname ?? '',
  }
}

/**
 * A total order: the hosts' time, then the logical clock, which tells apart what one process sent in the same moment.
 * The clock does not come first: it begins anew with every restart of a fleet, and producers' stand alone.
 */
export function compareStamps(a: Stamp, b: Stamp): number {
  return a.atMs - b.atMs || a.clock - b.clock || (a.hostname < b.hostname ? -1 : a.hostname > b.hostname ? 1 : 0)
}
