/** When a failed task runs again. Pure: options and facts in, a decision out. */
import { CeleriacError, MaxRetriesExceededError, Reject, Retry } from '../errors.ts'

export type ErrorClass = abstract new (...args: never[]) => Error

/** Which errors: classes (and what extends them), or a predicate. */
export type ErrorMatch = readonly ErrorClass[] | ((error: unknown) => boolean)

export interface RetryPolicy {
  readonly autoretryFor: ErrorMatch | undefined
  readonly dontAutoretryFor: ErrorMatch | undefined
  readonly maxRetries: number
  /** Undefined = no backoff: every wait is `defaultRetryDelayMs`. */
  readonly retryBackoffMs: number | undefined
  readonly retryBackoffMaxMs: number
  readonly retryJitter: boolean
  readonly defaultRetryDelayMs: number
}

export type RetryDecision =
  | { readonly retry: true; readonly countdownMs: number; readonly error: unknown }
  | { readonly retry: false; readonly error: unknown; readonly reason: GiveUpReason }

/** Why a task was given up: it may not be retried, it has been retried enough, it said so itself, or its worker died. */
export type GiveUpReason = 'failed' | 'retries exhausted' | 'rejected' | 'worker lost'

/** Decides on an error that a task threw on its run number `retries` (0 = the first). */
export function decideRetry(error: unknown, retries: number, taskName: string, policy: RetryPolicy): RetryDecision {
  if (error instanceof Reject) return { retry: false, error: error.cause ?? error, reason: 'rejected' }
  if (error instanceof Retry) {
    const maxRetries = error.maxRetries ?? policy.maxRetries
    if (retries < maxRetries) {
      const countdownMs = error.countdownMs ?? retryCountdownMs(retries, policy)
      return { retry: true, countdownMs, error: error.cause ?? error }
    }
    const final = error.cause ?? new MaxRetriesExceededError(taskName, maxRetries, undefined)
    return { retry: false, error: final, reason: 'retries exhausted' }
  }
  if (!isRetryable(error, policy)) return { retry: false, error, reason: 'failed' }
  if (retries >= policy.maxRetries) return { retry: false, error, reason: 'retries exhausted' }
  return { retry: true, countdownMs: retryCountdownMs(retries, policy), error }
}

/**
 * The wait before the next run, in ms: `base · 2^retries`, at most the cap, and with full jitter a random share of
 * that (Celery's `get_exponential_backoff_interval`; "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).
 * Without a backoff it is the default delay, as it is.
 */
export function retryCountdownMs(retries: number, policy: RetryPolicy, random: () => number = Math.random): number {
  if (policy.retryBackoffMs === undefined) return policy.defaultRetryDelayMs
  // Beyond this power every cap is reached; and from 2^1024 on, a base of zero would give NaN.
  const doublings = Math.min(retries, 64)
  const countdownMs = Math.min(policy.retryBackoffMaxMs, policy.retryBackoffMs * 2 ** doublings)
  return policy.retryJitter ? Math.floor(random() * (countdownMs + 1)) : countdownMs
}

function isRetryable(error: unknown, { autoretryFor, dontAutoretryFor }: RetryPolicy): boolean {
  if (autoretryFor === undefined || isFutile(error)) return false
  return matches(error, autoretryFor) && !(dontAutoretryFor !== undefined && matches(error, dontAutoretryFor))
}

function matches(error: unknown, match: ErrorMatch): boolean {
  return typeof match === 'function' ? match(error) : match.some((errorClass) => error instanceof errorClass)
}

/** An input that does not fit its schema will not fit it the next time either, nor will a step have another name. */
function isFutile(error: unknown): boolean {
  return error instanceof CeleriacError && (error.code === 'INPUT_INVALID' || error.code === 'STEP_INVALID')
}
