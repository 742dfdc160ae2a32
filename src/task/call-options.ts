/** What can be said about one call, beside its arguments. */
import { type Compression, checkCompression } from '../compression.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { refuseUnknown, wholeNumber } from '../options.ts'

export interface CallOptions {
  /** Start no earlier than this long from now. The broker keeps it, no worker does. */
  readonly countdown?: Duration
  /** Start no earlier than this. */
  readonly eta?: Date
  /** Never start later than this: a time from now, or a date. */
  readonly expires?: Duration | Date
  /** 0 to 9; 9 is the most urgent. Without one, a message takes the broker's usual place: see `defaultPriority`. */
  readonly priority?: number
  readonly queue?: string
  /** An id of your own, for calls that must be found or recognised. @default a random UUID */
  readonly taskId?: string
  /** Headers of your own, as JSON data; the task finds them in `ctx.headers`. */
  readonly headers?: Readonly<Record<string, unknown>>
  /**
   * Keyword arguments, for tasks that take some, as Python's do. A plain function of ours gets them as one object behind
   * its arguments; a task with a schema has its one input, and no others.
   */
  readonly kwargs?: Readonly<Record<string, unknown>>
  readonly ignoreResult?: boolean
  /** Overrides the task's, for this call. */
  readonly softTimeLimit?: Duration
  readonly timeLimit?: Duration
  /** Name of the body's serializer: `'json'`, `'msgpack'`, `'yaml'`, or one registered. */
  readonly serializer?: string
  /** How the body is compressed, from 1 KiB on. */
  readonly compression?: Compression | 'none'
}

const known: readonly (keyof CallOptions)[] = [
  'countdown',
  'eta',
  'expires',
  'priority',
  'queue',
  'taskId',
  'headers',
  'kwargs',
  'ignoreResult',
  'softTimeLimit',
  'timeLimit',
  'serializer',
  'compression',
]

/** What the message itself says in its headers (Celery's protocol 2), or what brokers and workers add. */
const messageHeaders: ReadonlySet<string> = new Set([
  ...['lang', 'task', 'id', 'shadow', 'eta', 'expires', 'group', 'group_index', 'retries', 'timelimit', 'root_id'],
  ...['parent_id', 'argsrepr', 'kwargsrepr', 'origin', 'ignore_result', 'replaced_task_nesting', 'stamped_headers'],
  ...['stamps', 'compression', 'celeriac', 'redelivered'],
])

/** Whether a header is the caller's to give. */
export function isOwnHeader(name: string): boolean {
  return !messageHeaders.has(name) && !/^x-(?:(?:first|last)-)?death/.test(name)
}

/** @throws CeleriacError `CONFIG_INVALID` naming a header that is not the caller's to give */
export function refuseMessageHeaders(headers: Readonly<Record<string, unknown>> | undefined): void {
  for (const name in headers) {
    if (isOwnHeader(name)) continue
    throw new CeleriacError('CONFIG_INVALID', `\`headers\` must not hold '${name}', which the message itself says`)
  }
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function checkCallOptions(options: CallOptions): CallOptions {
  refuseUnknown(options, known, 'the options of a call')
  if (options.countdown !== undefined && options.eta !== undefined) {
    throw new CeleriacError('CONFIG_INVALID', 'give either `countdown` or `eta`, not both')
  }
  if (options.eta !== undefined && !isDate(options.eta)) {
    throw new CeleriacError('CONFIG_INVALID', `\`eta\` must be a valid Date, got ${String(options.eta)}`)
  }
  if (options.expires instanceof Date && !isDate(options.expires)) {
    throw new CeleriacError('CONFIG_INVALID', '`expires` must be a duration or a valid Date, got Invalid Date')
  }
  if (options.priority !== undefined) wholeNumber(options.priority, 'priority', 0, 9)
  if (options.compression !== undefined) checkCompression(options.compression)
  refuseMessageHeaders(options.headers)
  const { kwargs } = options
  if (kwargs !== undefined && (typeof kwargs !== 'object' || kwargs === null || Array.isArray(kwargs))) {
    throw new CeleriacError('CONFIG_INVALID', `\`kwargs\` must be an object, got ${JSON.stringify(kwargs)}`)
  }
  if (options.taskId === '') throw new CeleriacError('CONFIG_INVALID', '`taskId` must not be empty')
  return options
}

/** When it may start, epoch ms, or null for now. */
export function etaOf({ countdown, eta }: CallOptions, nowMs: number): number | null {
  if (eta !== undefined) return eta.getTime()
  return countdown === undefined ? null : nowMs + toMs(countdown, 'countdown')
}

/** When it is over, epoch ms, or null for never. */
export function expiresOf({ expires }: CallOptions, nowMs: number): number | null {
  if (expires === undefined) return null
  return expires instanceof Date ? expires.getTime() : nowMs + toMs(expires, 'expires')
}

function isDate(value: unknown): boolean {
  return value instanceof Date && !Number.isNaN(value.getTime())
}
