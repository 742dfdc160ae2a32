/** How an attempt ended: its run, or why it was not run. */
import type { RunOutcome } from '../pool/outcome.ts'

export type Outcome =
  | RunOutcome
  /** Its time to start was over. */
  | { readonly kind: 'expired' }
  /** It can never be run: unreadable, unknown, or it was with too many workers that were lost. */
  | { readonly kind: 'poison'; readonly error: unknown; readonly reason: string }
  /** Its time has not come, or its place is taken: back to the broker until then. */
  | { readonly kind: 'early'; readonly delayMs: number }
  /** The same, with the token of a rate limit that is there then, at an epoch ms. */
  | { readonly kind: 'reserved'; readonly delayMs: number; readonly reservedMs: number }
