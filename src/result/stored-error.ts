/**
 * Errors as results keep them: Celery's object of type, message and module, which Python rebuilds by name
 * (`celery/backends/base.py`). Ours that Celery has too say `celery.exceptions`; those that Python has as a builtin of
 * the same name `builtins`; all others `js`, for which Python makes a class on the spot.
 */
import { inspect } from 'node:util'
import { CeleriacError, type ErrorCode } from '../errors.ts'
import { encodeJson, toJsonValue } from '../json.ts'
import type { StoredError } from './result-store.ts'

/** Celery's names in `celery.exceptions`. */
const celeryNames: Readonly<Partial<Record<ErrorCode, string>>> = {
  TASK_UNKNOWN: 'NotRegistered',
  WORKER_LOST: 'WorkerLostError',
  TASK_REVOKED: 'TaskRevokedError',
  TASK_RETRY: 'Retry',
  TASK_REJECTED: 'Reject',
  TASK_IGNORED: 'Ignore',
  MAX_RETRIES_EXCEEDED: 'MaxRetriesExceededError',
  SOFT_TIME_LIMIT: 'SoftTimeLimitExceeded',
  TIME_LIMIT: 'TimeLimitExceeded',
}

/** Exceptions that Python makes of one text, among them the names that JavaScript has too. */
const pythonBuiltins: ReadonlySet<string> = new Set([
  ...['ArithmeticError', 'AssertionError', 'AttributeError', 'BufferError', 'ConnectionError', 'EOFError', 'Exception'],
  ...['FileExistsError', 'FileNotFoundError', 'ImportError', 'IndexError', 'InterruptedError', 'IsADirectoryError'],
  ...['KeyError', 'LookupError', 'MemoryError', 'NameError', 'NotADirectoryError', 'NotImplementedError', 'OSError'],
  ...['OverflowError', 'PermissionError', 'RecursionError', 'RuntimeError', 'SyntaxError', 'TimeoutError', 'TypeError'],
  ...['ValueError', 'ZeroDivisionError'],
])

export function storeError(error: unknown): StoredError {
  const { name, message } = nameAndMessage(error)
  const isCelerys = error instanceof CeleriacError && celeryNames[error.code] !== undefined
  const module = isCelerys ? 'celery.exceptions' : pythonBuiltins.has(name) ? 'builtins' : 'js'
  return { exc_type: name, exc_message: [message], exc_module: module }
}

/** Class name, Celery's where it has the class, and text of anything that was thrown. */
export function nameAndMessage(error: unknown): { name: string; message: string } {
  if (error instanceof CeleriacError) return { name: celeryNames[error.code] ?? error.name, message: error.message }
  if (error instanceof Error) return { name: error.name, message: error.message }
  if (typeof error === 'string') return { name: 'Error', message: error }
  let message: string
  try {
    message = JSON.stringify(toJsonValue(error))
  } catch {
    // Not `String`: what was thrown may have a `toString` that is no function, or throws.
    message = inspect(error, { breakLength: Number.POSITIVE_INFINITY, customInspect: false })
  }
  return { name: 'Error', message: `thrown value: ${message}` }
}

/** The stack with its causes, or null for a thrown value that has none. */
export function tracebackOf(error: unknown): string | null {
  if (!(error instanceof Error) || error.stack === undefined) return null
  const cause = error.cause === undefined ? null : tracebackOf(error.cause)
  return cause === null ? error.stack : `${error.stack}\nCaused by: ${cause}`
}

/** Class, its module and text of a stored error. */
export function describeError(stored: unknown): { type: string; module: string | null; message: string } {
  const { exc_type: type, exc_message: message, exc_module: module } = (stored ?? {}) as Partial<StoredError>
  return {
    type: typeof type === 'string' ? type : 'Error',
    module: typeof module === 'string' ? module : null,
    message: Array.isArray(message) ? message.map(printed).join(', ') : String(message ?? ''),
  }
}

/** An argument of a Python exception: texts as they are, the rest as JSON. */
function printed(argument: unknown): string {
  return typeof argument === 'object' ? encodeJson(argument) : String(argument)
}
