/** How an attempt ended. Settling turns each kind into what is stored, sent and acknowledged. */
import type { GiveUpReason } from '../task/retry-policy.ts'

export type Outcome =
  | { readonly kind: 'success'; readonly value: unknown }
  | { readonly kind: 'retry'; readonly error: unknown; readonly countdownMs: number }
  | { readonly kind: 'failure'; readonly error: unknown; readonly reason: GiveUpReason }
  /** The task threw `Ignore`. */
  | { readonly kind: 'ignored' }
  /** Its time to start was over. */
  | { readonly kind: 'expired' }
  /** It can never be run: unreadable, unknown, or it was with too many workers that were lost. */
  | { readonly kind: 'poison'; readonly error: unknown; readonly reason: string }
  /** Its time has not come: back to the broker until then. */
  | { readonly kind: 'early'; readonly delayMs: number }
  /** Cut short by the worker's shutdown: back to the queue, as if it had not been taken. */
  | { readonly kind: 'interrupted' }
