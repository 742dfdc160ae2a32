/** Whom a remote control command is for, and how long an answer is waited for. */
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { refuseUnknown, wholeNumber } from '../options.ts'

/** Which workers are meant; all of them unless something is said. */
export interface Addressing {
  /** Node names such as `w1@host`. At least one. @default all workers */
  readonly destination?: readonly string[] | undefined
  /** The workers whose node names match, such as `w*@host`. Not together with `destination`. */
  readonly pattern?: string | undefined
  /** How the pattern is written: shell wildcards, or a regular expression. @default 'glob' */
  readonly matcher?: 'glob' | 'pcre' | undefined
}

export interface InspectOptions extends Addressing {
  /** How long answers are gathered; ended early once every node of `destination` answered. @default 1 (second) */
  readonly timeout?: Duration | undefined
}

export interface ControlOptions extends InspectOptions {
  /** Whether to wait for what the workers say to it. @default false, as Celery has it */
  readonly reply?: boolean | undefined
  /** Stop waiting after so many replies. At least 1. @default one for each `destination` */
  readonly limit?: number | undefined
}

/** The options, checked, as the wire and the bus have them. */
export interface Asked {
  readonly destination: readonly string[] | null
  readonly pattern: string | null
  readonly matcher: string | null
  readonly timeoutMs: number
  readonly reply: boolean
  /** Infinity gathers until the time is over. */
  readonly replies: number
}

const inspectOptions = ['destination', 'pattern', 'matcher', 'timeout'] as const
/** Options that every control command takes beside its own. */
export const controlOptions = [...inspectOptions, 'reply', 'limit'] as const

/** @throws CeleriacError `CONFIG_INVALID` */
export function checkInspectOptions(options: InspectOptions): Asked {
  refuseUnknown(options, inspectOptions, 'inspect()')
  return checkControlOptions({ ...options, reply: true })
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function checkControlOptions(options: ControlOptions): Asked {
  const { timeout = 1, reply = false, limit } = options
  const destination = checkDestination(options.destination)
  const { pattern, matcher } = checkPattern(options)
  if (destination !== null && pattern !== null) {
    throw new CeleriacError('CONFIG_INVALID', 'give either `destination` or `pattern`: workers would look at the first')
  }
  if (limit !== undefined) wholeNumber(limit, 'limit', 1)
  return {
    destination,
    pattern,
    matcher,
    timeoutMs: toMs(timeout, 'timeout'),
    reply,
    replies: limit ?? destination?.length ?? Number.POSITIVE_INFINITY,
  }
}

/** Workers take an empty list for "all", which nobody means who gives one: a `shutdown` must not go to all of them. */
function checkDestination(destination: readonly string[] | undefined): readonly string[] | null {
  if (destination === undefined) return null
  const isList = Array.isArray(destination) && destination.length > 0
  if (isList && destination.every((name) => typeof name === 'string' && name !== '')) return [...new Set(destination)]
  throw new CeleriacError(
    'CONFIG_INVALID',
    `\`destination\` must be a list of at least one node name such as ['w1@host'], got ${JSON.stringify(destination)}`,
  )
}

/** Always with a matcher: workers would take a pattern without one for "all". */
function checkPattern({ pattern, matcher }: Addressing): { pattern: string | null; matcher: string | null } {
  if (matcher !== undefined && matcher !== 'glob' && matcher !== 'pcre') {
    throw new CeleriacError('CONFIG_INVALID', `\`matcher\` must be 'glob' or 'pcre', got ${JSON.stringify(matcher)}`)
  }
  if (pattern === undefined) {
    if (matcher === undefined) return { pattern: null, matcher: null }
    throw new CeleriacError('CONFIG_INVALID', '`matcher` says how a `pattern` is read, and there is none')
  }
  if (typeof pattern !== 'string' || pattern === '') {
    throw new CeleriacError('CONFIG_INVALID', `\`pattern\` must be a text such as 'w*', got ${JSON.stringify(pattern)}`)
  }
  return { pattern, matcher: matcher ?? 'glob' }
}
