/** How a run ended. The worker turns each kind into what is stored, sent and acknowledged. */
import type { AnyCanvas } from '../canvas/canvas.ts'
import type { GiveUpReason } from '../task/retry-policy.ts'

export type RunOutcome =
  | { readonly kind: 'success'; readonly value: unknown; readonly added?: readonly AnyCanvas[] }
  /** The task threw what `ctx.replace` gave it. */
  | { readonly kind: 'replaced'; readonly canvas: AnyCanvas }
  | { readonly kind: 'retry'; readonly error: unknown; readonly countdownMs: number }
  | { readonly kind: 'failure'; readonly error: unknown; readonly reason: GiveUpReason }
  /** The task threw `Ignore`. */
  | { readonly kind: 'ignored' }
  /** It called `ctx.sleep`: to be run again then. `steps`: what those that it has done gave, as JSON. */
  | { readonly kind: 'asleep'; readonly delayMs: number; readonly steps: string }
  /** Cut short by the worker's shutdown: back to the queue, as if it had not been taken. */
  | { readonly kind: 'interrupted' }
  /** Cut short because somebody revoked the task. */
  | { readonly kind: 'revoked'; readonly terminated: boolean; readonly signum: string | number | null }
  /** The child that ran it ended before the task did. */
  | { readonly kind: 'lost'; readonly error: unknown }

/** How the calls of a batch ended, in their order. What concerns the run as a whole is a `RunOutcome` for all of them. */
export interface BatchOutcome {
  readonly kind: 'batch'
  readonly outcomes: readonly RunOutcome[]
}
