/** How often and how many at once: limits of a task, as options and checked. */
import { createHash } from 'node:crypto'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { encodeJson } from '../json.ts'
import { oneOf, refuseUnknown, wholeNumber } from '../options.ts'
import { type Rate, toRate } from '../rate.ts'
import { inputFromWire } from './input.ts'
import type { ErrorMatch } from './retry-policy.ts'

/** Makes a text of a call's input, or of its arguments: calls with the same text share a limit. */
export type CallKey = (...args: never[]) => string

export interface RateLimitOptions {
  /** So many may start in the time. More than 0. */
  readonly limit: number
  readonly per: Duration
  /** `worker`: in each worker, as Celery's. `cluster`: in all workers together. @default 'worker', with a `key` 'cluster' */
  readonly scope?: 'worker' | 'cluster'
  /** Calls with different keys are limited apart. Needs the scope `cluster`. @default all calls of the task together */
  readonly key?: CallKey
  /** So many may start at once after a quiet time. Needs the scope `cluster`. @default 1 */
  readonly burst?: number
}

export interface ConcurrencyOptions {
  /** So many run at once, in all workers together. At least 1. */
  readonly limit: number
  /** Calls with different keys are limited apart, e.g. `(order) => order.customer`. @default all calls of the task together */
  readonly key?: CallKey
}

export interface UniqueOptions {
  /** For so long a call with the same key is not sent again; the earlier call's result is given instead. */
  readonly for: Duration
  /** @default all arguments */
  readonly key?: CallKey
}

export interface CircuitBreakerOptions {
  /** After so many failures in a row no more are started for a time. At least 1. @default 5 */
  readonly failures?: number
  /** Which errors count. @default all */
  readonly for?: ErrorMatch
  /** After this time one call is tried; if it fails, the time begins again. @default '30s' */
  readonly coolDown?: Duration
}

export interface ResolvedRateLimit {
  /** For people. */
  readonly text: string
  readonly limit: number
  readonly perMs: number
  readonly scope: 'worker' | 'cluster'
  readonly key: CallKey | undefined
  readonly burst: number
}

export interface ResolvedUnique {
  readonly forMs: number
  readonly key: CallKey | undefined
}

export interface ResolvedCircuitBreaker {
  readonly failures: number
  readonly for: ErrorMatch | undefined
  readonly coolDownMs: number
}

/** `at` names an option for messages. @throws CeleriacError `CONFIG_INVALID` */
export function resolveRateLimit(
  rate: Rate | RateLimitOptions | undefined,
  at: (option: string) => string,
): ResolvedRateLimit | undefined {
  if (typeof rate !== 'object') {
    const perSecond = toRate(rate)
    if (perSecond === undefined) return undefined
    return { text: String(rate), limit: perSecond, perMs: 1_000, scope: 'worker', key: undefined, burst: 1 }
  }
  refuseUnknown(rate, ['limit', 'per', 'scope', 'key', 'burst'], `\`${at('rateLimit')}\``)
  const { limit, key, burst = 1 } = rate
  const perMs = toMs(rate.per, at('rateLimit.per'))
  const scope = oneOf(rate.scope ?? (key === undefined ? 'worker' : 'cluster'), at('rateLimit.scope'), [
    'worker',
    'cluster',
  ])
  if (!(limit > 0) || !Number.isFinite(limit) || perMs === 0) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`${at('rateLimit')}\` must let something through: more than 0, in more than no time`,
    )
  }
  if (scope === 'worker' && (key !== undefined || burst !== 1)) {
    throw new CeleriacError('CONFIG_INVALID', `\`${at('rateLimit')}\` with a key or a burst needs the scope 'cluster'`)
  }
  return { text: `${limit}/${rate.per}`, limit, perMs, scope, key, burst: wholeNumber(burst, at('rateLimit.burst'), 1) }
}

export function resolveConcurrency(
  concurrency: number | ConcurrencyOptions | undefined,
  at: (option: string) => string,
): ConcurrencyOptions | undefined {
  if (concurrency === undefined) return undefined
  const options = typeof concurrency === 'number' ? { limit: concurrency } : concurrency
  refuseUnknown(options, ['limit', 'key'], `\`${at('concurrency')}\``)
  wholeNumber(options.limit, at('concurrency.limit'), 1)
  return options
}

export function resolveUnique(
  unique: UniqueOptions | undefined,
  at: (option: string) => string,
): ResolvedUnique | undefined {
  if (unique === undefined) return undefined
  refuseUnknown(unique, ['for', 'key'], `\`${at('unique')}\``)
  return { forMs: toMs(unique.for, at('unique.for')), key: unique.key }
}

export function resolveCircuitBreaker(
  breaker: CircuitBreakerOptions | undefined,
  at: (option: string) => string,
): ResolvedCircuitBreaker | undefined {
  if (breaker === undefined) return undefined
  refuseUnknown(breaker, ['failures', 'for', 'coolDown'], `\`${at('circuitBreaker')}\``)
  return {
    failures: wholeNumber(breaker.failures ?? 5, at('circuitBreaker.failures'), 1),
    for: breaker.for,
    coolDownMs: toMs(breaker.coolDown ?? '30s', at('circuitBreaker.coolDown')),
  }
}

/** The name of a limit. Keys may be long, names may not. */
export function limitName(task: string, key: string): string {
  return `${task}:${key.length <= 200 ? key : createHash('sha256').update(key).digest('hex')}`
}

/** The text by which a call is limited. Without a function it is `''`. @throws what the user's function throws */
export function keyOfCall(
  key: CallKey | undefined,
  hasSchema: boolean,
  args: readonly unknown[],
  kwargs: Readonly<Record<string, unknown>>,
): string {
  if (key === undefined) return ''
  const call = key as (...values: unknown[]) => unknown
  return String(hasSchema ? call(inputFromWire(args, kwargs)) : call(...args))
}

/** All arguments as one text. */
export function keyOfArguments(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): string {
  return encodeJson([args, kwargs])
}
