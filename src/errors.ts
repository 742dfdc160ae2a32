/**
 * Everything this package throws, and the stable codes to branch on.
 *
 * Messages are for people: they say what was expected, what came, and what to do next. Drivers translate their
 * vendor's errors at their edge, so that nothing above a driver sees them; the original is the `cause`.
 */

/** Every code, with what it means. Documented here once; `docs/errors.md` lists the same. */
export const errorCodes = {
  CONFIG_INVALID: 'An option has a value that cannot work; the message names the option, what it takes and what came.',
  BROKER_UNKNOWN_SCHEME: 'The broker or result URL has a scheme no driver serves.',
  BROKER_UNAVAILABLE: 'The broker or result store cannot be reached or opened; nothing was accepted.',
  BROKER_AUTH: 'The server refused the user, the password or the permission; it will not help to try again.',
  BROKER_BUSY:
    'Too much waits to be published while the broker cannot be reached or takes nothing; nothing was accepted.',
  PUBLISH_TIMEOUT: 'The broker did not confirm in time; the message says whether it may have been accepted.',
  STORAGE_FULL: 'The disk or quota behind the broker is full; nothing was accepted.',
  STORAGE_CORRUPT: 'The file behind the broker is not a readable database.',
  STORAGE_BUSY: 'Another process kept the database locked for longer than the allowed wait; nothing was accepted.',
  LEASE_LOST: 'The message was given back to the queue before it was settled, so the settlement was refused.',
  CLOSED: 'The object was used after it was closed.',
  UNSUPPORTED: 'This driver cannot do what was asked; its capabilities say so.',
  PAYLOAD_INVALID: 'The arguments or the result cannot be written in the chosen serialization.',
  PAYLOAD_TOO_LARGE: 'The message is larger than the allowed size; nothing was sent.',
  INPUT_INVALID: 'The input does not fit the schema of the task; nothing was sent or run.',
  TASK_UNKNOWN: 'No task of that name is registered here.',
  TASK_DUPLICATE: 'Two tasks were registered under one name.',
  MESSAGE_INVALID: 'A received message is not a task message that can be read.',
  WORKER_LOST: 'Workers were lost while they had the task, as often as it may happen; it is not run again.',
  STEP_INVALID: 'A durable step has a name that was used before in this run, or sleeps within another step.',
  CANVAS_INVALID: 'The signatures cannot be composed in this way.',
  RESULTS_DISABLED: 'The app or the task keeps no results, so there is nothing to wait for.',
  RESULT_TIMEOUT: 'The result did not arrive in time; the task may still be running.',
  RESULT_UNKNOWN: 'Nothing is known of this id: it was never sent with results on, or has expired or been forgotten.',
  DEAD_LETTER_UNKNOWN: 'No dead letter has this id.',
  SCHEDULE_UNKNOWN: 'The schedule has no entry of this name.',
  MIGRATION_BUSY: 'Another migration to the same target is under way; nothing was moved.',
  TASK_FAILED: 'The awaited task ended in FAILURE.',
  TASK_REVOKED: 'The awaited task was revoked or had expired.',
  TASK_RETRY: 'Thrown by a task to be run again later.',
  TASK_REJECTED: 'Thrown by a task to go to the dead letters at once.',
  TASK_REPLACED: 'Thrown by a task to be replaced with other tasks.',
  TASK_IGNORED: 'Thrown by a task to end without an outcome.',
  MAX_RETRIES_EXCEEDED: 'A task asked for one retry more than it may have.',
  SOFT_TIME_LIMIT: 'The soft time limit of the task passed; its signal was aborted.',
  TIME_LIMIT: 'The task ran longer than its time limit and was given up.',
  APP_NOT_FOUND: 'The module given as the application does not load, or exports no Celeriac app.',
} as const

export type ErrorCode = keyof typeof errorCodes

/** Base of everything this package throws. Branch on `code`; `message` is for people. */
export class CeleriacError extends Error {
  readonly code: ErrorCode

  constructor(code: ErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = new.target.name
    this.code = code
  }
}

/** A settlement came after the lease had lapsed: another worker may be running the task. Nothing was changed. */
export class LeaseLostError extends CeleriacError {
  constructor(message = 'the lease of this message lapsed; another worker may have it, so nothing was stored') {
    super('LEASE_LOST', message)
  }
}

/** The awaited task ended in FAILURE. `type`, `module`, `message` and `traceback` are of the error the task threw. */
export class TaskFailedError extends CeleriacError {
  readonly taskId: string
  /** Class name of the original error, e.g. `TypeError`. */
  readonly type: string
  /** Python module of that class; `'js'` for what a worker in JavaScript threw; null where the store does not say. */
  readonly module: string | null
  /** Stack text as the worker stored it, or null. */
  readonly traceback: string | null

  constructor(taskId: string, type: string, message: string, traceback: string | null, module: string | null = null) {
    super('TASK_FAILED', message)
    this.module = module
    this.taskId = taskId
    this.type = type
    this.traceback = traceback
  }
}

/** The awaited task was revoked, or had expired before it could start. */
export class TaskRevokedError extends CeleriacError {
  readonly taskId: string

  constructor(taskId: string, reason: string) {
    super('TASK_REVOKED', `task ${taskId} was not run: ${reason}`)
    this.taskId = taskId
  }
}

/** Thrown by a task (`throw ctx.retry(…)`): run it again later. Celery's `Retry`. */
export class Retry extends CeleriacError {
  /** Wait before the next run, in ms; undefined takes the task's own policy. */
  readonly countdownMs: number | undefined
  /** Overrides the task's `maxRetries` for this run. */
  readonly maxRetries: number | undefined

  constructor(options: { countdownMs?: number | undefined; maxRetries?: number | undefined; cause?: unknown } = {}) {
    super('TASK_RETRY', 'the task asked to be run again', { cause: options.cause })
    this.countdownMs = options.countdownMs
    this.maxRetries = options.maxRetries
  }
}

/** Thrown by a task: fail now, without retries, and put the message with the dead letters. Celery's `Reject`. */
export class Reject extends CeleriacError {
  constructor(reason: string, options?: ErrorOptions) {
    super('TASK_REJECTED', reason, options)
  }
}

/** Thrown by a task: acknowledge and store nothing. Celery's `Ignore`. */
export class Ignore extends CeleriacError {
  constructor() {
    super('TASK_IGNORED', 'the task asked to be ignored')
  }
}

/** A task asked for one retry more than `maxRetries`. The last error is the `cause`. */
export class MaxRetriesExceededError extends CeleriacError {
  constructor(taskName: string, maxRetries: number, cause: unknown) {
    super('MAX_RETRIES_EXCEEDED', `${taskName} failed after ${maxRetries} retries`, { cause })
  }
}

/** `ctx.signal` aborts with this at the soft time limit. */
export class SoftTimeLimitExceeded extends CeleriacError {
  constructor(limitMs: number) {
    super('SOFT_TIME_LIMIT', `the task ran longer than its soft time limit of ${limitMs} ms`)
  }
}

/** The task ran longer than its time limit. */
export class TimeLimitExceeded extends CeleriacError {
  constructor(limitMs: number) {
    super('TIME_LIMIT', `the task ran longer than its time limit of ${limitMs} ms`)
  }
}
