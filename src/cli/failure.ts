/** How a command says that it failed: one line for people, one JSON object with --json; and its exit code. */
import { CeleriacError, type ErrorCode, errorCodes, type TaskFailedError } from '../errors.ts'
import { userFrames } from '../stack.ts'
import { UsageError } from './values.ts'

export const exitCodes = { ok: 0, failed: 1, usage: 2 } as const

/** What to do, where the error itself does not say it. */
const advice: Partial<Record<ErrorCode, string>> = {
  STORAGE_BUSY: 'look for an open database shell, a backup or a long transaction on the file, end it and try again',
  BROKER_UNKNOWN_SCHEME: 'a bare path such as tasks.db means SQLite',
  RESULT_TIMEOUT: 'see with `celeriac queue list` whether a worker serves its queue',
}

/** Whether the user asked for data that programs read: then failures are such data too. */
export function wantsJson(argv: readonly string[] = process.argv): boolean {
  return argv.includes('--json')
}

/** Writes the failure to stderr and tells the exit code. `withStack` for those who asked to see everything. */
export function tellFailure(error: unknown, withStack: boolean): number {
  const failure = withOrigin(asCeleriacError(error))
  if (wantsJson()) {
    const { code, message } = failure ?? { code: 'INTERNAL', message: messageOf(error) }
    process.stderr.write(`${JSON.stringify({ error: { code, message } })}\n`)
  } else if (failure === undefined) {
    process.stderr.write(`celeriac: ${messageOf(error)}\n`)
  } else {
    // A code frame or a stack stands below the line that says what happened.
    const [line = '', ...details] = failure.message.split('\n')
    // One that names a flag says itself what to do.
    const hint = / --[a-z]/.test(line) ? undefined : advice[failure.code]
    process.stderr.write(`celeriac: ${line}${hint === undefined ? '' : `; ${hint}`} (${failure.code})\n`)
    if (details.length > 0) process.stderr.write(`${details.join('\n')}\n`)
  }
  // An error without a code is a fault of ours or of the user's module; its stack is all there is to go by.
  if ((withStack || failure === undefined) && error instanceof Error && !wantsJson()) {
    process.stderr.write(`${withCauses(error)}\n`)
  }
  return error instanceof UsageError ? exitCodes.usage : exitCodes.failed
}

/** A failed task's error says of itself that it is one, and shows where it was thrown. */
function withOrigin(failure: CeleriacError | undefined): CeleriacError | undefined {
  if (failure?.code !== 'TASK_FAILED') return failure
  const { type, message, traceback } = failure as TaskFailedError
  const frames = wantsJson() ? [] : userFrames(traceback)
  const lines = [`the task failed: ${type}: ${message}`, ...frames.map((frame) => `    ${frame}`)]
  return new CeleriacError('TASK_FAILED', lines.join('\n'), { cause: failure })
}

/** An error of this package, also if another copy of it made the error. */
export function asCeleriacError(error: unknown): CeleriacError | undefined {
  if (error instanceof CeleriacError) return error
  const code = error instanceof Error && 'code' in error ? String(error.code) : ''
  return Object.hasOwn(errorCodes, code) ? (error as CeleriacError) : undefined
}

export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function withCauses(error: Error): string {
  const cause = error.cause instanceof Error ? `\ncaused by: ${withCauses(error.cause)}` : ''
  return `${error.stack ?? error.message}${cause}`
}
