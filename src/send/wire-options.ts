/** The options of signatures that travel inside messages, as options of calls; others' may be null or of odd types. */
import { compressionNamed } from '../compression.ts'
import { withZone } from '../json.ts'
import { type CallOptions, isOwnHeader } from '../task/call-options.ts'
import type { WireOptions } from './wire.ts'

/** A foreign `expires` or `eta` text is a date; numbers are seconds. */
export function callOptionsOf(
  options: WireOptions,
  unsetPriority: number,
  hasSerializer: (name: string) => boolean,
): CallOptions {
  const { task_id, queue, priority, countdown, eta, expires, time_limit, soft_time_limit, ignore_result } = options
  const { headers, serializer, compression } = options
  const compressed = typeof compression === 'string' ? compressionNamed(compression) : undefined
  return {
    ...(typeof task_id === 'string' && { taskId: task_id }),
    ...(typeof queue === 'string' && { queue }),
    ...(typeof priority === 'number' && { priority: turnedPriority(priority, unsetPriority) }),
    ...(typeof countdown === 'number' && { countdown: Math.max(0, countdown) }),
    ...(typeof eta === 'string' && { eta: new Date(withZone(eta)) }),
    ...(typeof expires === 'number' && { expires: Math.max(0, expires) }),
    ...(typeof expires === 'string' && { expires: new Date(withZone(expires)) }),
    ...(typeof time_limit === 'number' && { timeLimit: time_limit }),
    ...(typeof soft_time_limit === 'number' && { softTimeLimit: soft_time_limit }),
    ...(typeof ignore_result === 'boolean' && { ignoreResult: ignore_result }),
    ...(isObject(headers) && { headers: ownHeaders(headers) }),
    // What cannot be written here goes as the application has it.
    ...(typeof serializer === 'string' && hasSerializer(serializer) && { serializer }),
    ...(compressed !== undefined && { compression: compressed }),
  }
}

/**
 * A priority as it stands in a signature for one of ours, and the other way: Celery writes the wire's number, and on
 * Redis, where messages without a priority come first, the wire counts down.
 */
export function turnedPriority(priority: number, unsetPriority: number): number {
  return unsetPriority === 9 ? 9 - priority : priority
}

/** Stamps by their names; null where there are none. */
export function stampsOf(options: WireOptions): Record<string, unknown> | null {
  const { stamped_headers: names } = options
  if (!Array.isArray(names) || names.length === 0) return null
  return Object.fromEntries(names.map((name) => [String(name), options[String(name)] ?? null]))
}

/** Those of Celery's own that stand among them say what the message says in its own place. */
function ownHeaders(headers: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => isOwnHeader(name)))
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
