/** What can be said about a task, and how it is checked and defaulted: once, when the task is registered. */
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { type Compression, checkCompression } from '../compression.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { oneOf, refuseUnknown, wholeNumber } from '../options.ts'
import { type PoolKind, poolKinds } from '../pool-kinds.ts'
import type { Rate } from '../rate.ts'
import {
  type CircuitBreakerOptions,
  type ConcurrencyOptions,
  type RateLimitOptions,
  type ResolvedCircuitBreaker,
  type ResolvedRateLimit,
  type ResolvedUnique,
  resolveCircuitBreaker,
  resolveConcurrency,
  resolveRateLimit,
  resolveUnique,
  type UniqueOptions,
} from './limits.ts'
import type { ErrorMatch, RetryPolicy } from './retry-policy.ts'

export interface TaskOptions {
  /** Queue its calls go to. @default the route that matches its name, else the app's default queue */
  readonly queue?: string
  /** 0 to 9; 9 is the most urgent. @default the priority of its route, else the app's `defaultPriority` */
  readonly priority?: number
  /** A call not started within this time is never run; its state becomes REVOKED. @default never */
  readonly expires?: Duration
  /** Keep neither states nor results of this task. @default false */
  readonly ignoreResult?: boolean
  /** Store STARTED when a run begins. @default false */
  readonly trackStarted?: boolean
  /** Acknowledge after the run, so that a lost worker's task runs again; false acknowledges before. @default true */
  readonly acksLate?: boolean
  /**
   * With late acknowledgement: run it again when the child of the worker that ran it was lost (a crash, out of memory),
   * up to `maxDeliveries` losses; false fails it at once. @default true
   */
  readonly rejectOnWorkerLost?: boolean
  /** Where it runs. @default the worker's pool */
  readonly pool?: PoolKind
  /** Errors after which the task is run again by itself. @default none */
  readonly autoretryFor?: ErrorMatch
  /** Exceptions to `autoretryFor`. @default none */
  readonly dontAutoretryFor?: ErrorMatch
  /** Retries before it is given up; Infinity never gives up. @default 5 with `autoretryFor`, else 3 */
  readonly maxRetries?: number
  /** Base of the exponential backoff; true = one second. @default no backoff: `defaultRetryDelay` each time */
  readonly retryBackoff?: boolean | Duration
  /** The longest wait of the backoff. @default '10m' */
  readonly retryBackoffMax?: Duration
  /** Wait a random share of the backoff, so that what failed together does not return together. @default true */
  readonly retryJitter?: boolean
  /** Wait before a retry without backoff. @default '3m' */
  readonly defaultRetryDelay?: Duration
  /** Worker losses a call survives before it is taken for poison. @default 3 */
  readonly maxDeliveries?: number
  /**
   * How often it may start in one worker, such as `'10/s'`, `'100/m'`, or a number per second; or, with more to say, in
   * all workers, and for each key. @default no limit
   */
  readonly rateLimit?: Rate | RateLimitOptions
  /** How many run at once in all workers together, in all or for each key. @default no limit */
  readonly concurrency?: number | ConcurrencyOptions
  /** Do not send a call again that was sent a short time ago. Not for later steps of chains. @default sends every call */
  readonly unique?: UniqueOptions
  /** Leave it alone for a while after failures in a row. @default tries every call */
  readonly circuitBreaker?: CircuitBreakerOptions
  /** After this time of a run `ctx.signal` aborts with `SoftTimeLimitExceeded`. @default no limit */
  readonly softTimeLimit?: Duration
  /** After this time of a run it counts as failed, whether it heeds its signal or not. @default no limit */
  readonly timeLimit?: Duration
  /** Name of the serializer of its calls. @default the app's */
  readonly serializer?: string
  /** How its calls are compressed, from 1 KiB on. @default the app's */
  readonly compression?: Compression | 'none'
}

/** `TaskOptions`, complete and in milliseconds. */
export interface ResolvedTaskOptions extends RetryPolicy {
  readonly queue: string | undefined
  readonly priority: number | undefined
  readonly expiresMs: number | undefined
  readonly ignoreResult: boolean
  readonly trackStarted: boolean
  readonly acksLate: boolean
  readonly maxDeliveries: number
  readonly rejectOnWorkerLost: boolean
  readonly pool: PoolKind | undefined
  readonly rateLimit: ResolvedRateLimit | undefined
  readonly concurrency: ConcurrencyOptions | undefined
  readonly unique: ResolvedUnique | undefined
  readonly circuitBreaker: ResolvedCircuitBreaker | undefined
  readonly softTimeLimitMs: number | undefined
  readonly timeLimitMs: number | undefined
  readonly serializer: string | undefined
  readonly compression: Compression | 'none' | undefined
}

const known: readonly (keyof TaskOptions | 'input' | 'bind')[] = [
  'input',
  'bind',
  'queue',
  'priority',
  'expires',
  'ignoreResult',
  'trackStarted',
  'acksLate',
  'rejectOnWorkerLost',
  'pool',
  'rateLimit',
  'concurrency',
  'unique',
  'circuitBreaker',
  'autoretryFor',
  'dontAutoretryFor',
  'maxRetries',
  'retryBackoff',
  'retryBackoffMax',
  'retryJitter',
  'defaultRetryDelay',
  'maxDeliveries',
  'softTimeLimit',
  'timeLimit',
  'serializer',
  'compression',
]

/** Options for all tasks, by their names; their values are checked with each task. @throws CeleriacError `CONFIG_INVALID` */
export function checkTaskDefaults(defaults: TaskOptions): TaskOptions {
  const forAll = known.filter((option) => option !== 'input' && option !== 'bind')
  refuseUnknown(defaults, forAll, '`taskDefaults`')
  return defaults
}

/** One task's options over the app's defaults. @throws CeleriacError `CONFIG_INVALID` */
export function resolveTaskOptions(name: string, own: TaskOptions, defaults: TaskOptions): ResolvedTaskOptions {
  refuseUnknown(own, known, `the options of task '${name}'`)
  const options = { ...defaults, ...own }
  const at = (option: string): string => `${option}\` of task \`${name}`
  const ms = (value: Duration | undefined, option: string): number | undefined =>
    value === undefined ? undefined : toMs(value, at(option))
  const { maxRetries = options.autoretryFor === undefined ? 3 : 5, maxDeliveries = 3, retryBackoff } = options
  return {
    queue: options.queue,
    priority: options.priority === undefined ? undefined : wholeNumber(options.priority, at('priority'), 0, 9),
    expiresMs: ms(options.expires, 'expires'),
    ignoreResult: options.ignoreResult ?? false,
    trackStarted: options.trackStarted ?? false,
    acksLate: options.acksLate ?? true,
    autoretryFor: errorMatch(options.autoretryFor, at('autoretryFor')),
    dontAutoretryFor: errorMatch(options.dontAutoretryFor, at('dontAutoretryFor')),
    maxRetries: maxRetries === Number.POSITIVE_INFINITY ? maxRetries : wholeNumber(maxRetries, at('maxRetries'), 0),
    retryBackoffMs: ms(
      typeof retryBackoff === 'boolean' ? (retryBackoff ? 1 : undefined) : retryBackoff,
      'retryBackoff',
    ),
    retryBackoffMaxMs: toMs(options.retryBackoffMax ?? '10m', at('retryBackoffMax')),
    retryJitter: options.retryJitter ?? true,
    defaultRetryDelayMs: toMs(options.defaultRetryDelay ?? '3m', at('defaultRetryDelay')),
    maxDeliveries: wholeNumber(maxDeliveries, at('maxDeliveries'), 1),
    rejectOnWorkerLost: options.rejectOnWorkerLost ?? true,
    pool: options.pool === undefined ? undefined : oneOf(options.pool, at('pool'), poolKinds),
    rateLimit: resolveRateLimit(options.rateLimit, at),
    concurrency: resolveConcurrency(options.concurrency, at),
    unique: resolveUnique(options.unique, at),
    circuitBreaker: resolveCircuitBreaker(options.circuitBreaker, at),
    softTimeLimitMs: ms(options.softTimeLimit, 'softTimeLimit'),
    timeLimitMs: ms(options.timeLimit, 'timeLimit'),
    serializer: options.serializer,
    compression: options.compression === undefined ? undefined : checkCompression(options.compression),
  }
}

function errorMatch(match: ErrorMatch | undefined, name: string): ErrorMatch | undefined {
  if (match === undefined || typeof match === 'function') return match
  if (Array.isArray(match) && match.every((item) => typeof item === 'function')) return match
  throw new CeleriacError('CONFIG_INVALID', `\`${name}\` must be a list of error classes or a function`)
}

/** Any schema of the Standard Schema kind (https://standardschema.dev): zod, valibot, arktype … */
export type Schema = StandardSchemaV1
