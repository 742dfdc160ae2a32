/**
 * Errors as results keep them: Celery's object of type, message and module, which Python rebuilds by name. Errors of
 * JavaScript that Python has under the same name say `builtins`, all others `js`.
 */
import { toJsonValue } from '../json.ts'
import type { StoredError } from './result-store.ts'

const pythonBuiltins: ReadonlySet<string> = new Set(['SyntaxError', 'TypeError'])

export function storeError(error: unknown): StoredError {
  const { name, message } = nameAndMessage(error)
  const module = pythonBuiltins.has(name) ? 'builtins' : 'js'
  return { exc_type: name, exc_message: [message], exc_module: module }
}

/** Class name and text of anything that was thrown. */
export function nameAndMessage(error: unknown): { name: string; message: string } {
  if (error instanceof Error) return { name: error.name, message: error.message }
  if (typeof error === 'string') return { name: 'Error', message: error }
  let message: string
  try {
    message = JSON.stringify(toJsonValue(error))
  } catch {
    message = String(error)
  }
  return { name: 'Error', message: `thrown value: ${message}` }
}

/** The stack with its causes, or null for a thrown value that has none. */
export function tracebackOf(error: unknown): string | null {
  if (!(error instanceof Error) || error.stack === undefined) return null
  const cause = error.cause === undefined ? null : tracebackOf(error.cause)
  return cause === null ? error.stack : `${error.stack}\nCaused by: ${cause}`
}

/** Class and text of a stored error. */
export function describeError(stored: unknown): { type: string; message: string } {
  const { exc_type: type, exc_message: message } = (stored ?? {}) as { exc_type?: unknown; exc_message?: unknown }
  const text = Array.isArray(message) ? message.map(String).join(', ') : String(message ?? '')
  return { type: typeof type === 'string' ? type : 'Error', message: text }
}
