/** What the raw loops of the three stores have in common. */
import type { Exactness } from '../harness/tally.ts'
import type { Store } from '../sides/side.ts'

export interface RawParams {
  readonly count: number
  /** Messages in a transaction, a script call, or an acknowledgement. */
  readonly batch: number
  /** Batches under way at once. */
  readonly inFlight: number
  /** Bytes of headers and body together. */
  readonly messageBytes: number
}

export interface RawFillResult {
  readonly perSecond: number
  readonly exactness: Exactness
}

export interface RawDrainResult extends RawFillResult {
  readonly cpuUsPerTask: number
}

export type RawFill = (store: Store, params: RawParams) => Promise<RawFillResult>
export type RawDrain = (store: Store, params: RawParams) => Promise<RawDrainResult>

export function heldOf(sent: number, held: number): Exactness {
  return { doubles: Math.max(0, held - sent), misses: Math.max(0, sent - held) }
}

/** A message of so many bytes that begins with its index, in `indexDigits` digits. */
export function rawMessage(i: number, bytes: number): string {
  return String(i).padStart(indexDigits, '0').padEnd(bytes, 'x')
}

export const indexDigits = 12
