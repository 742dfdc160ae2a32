/** What went wrong, as an answer: a status, a stable code, and a sentence that says what to do. */
import { CeleriacError, type ErrorCode } from '../../errors.ts'
import { NotAdmitted, NotFound } from '../api/route.ts'
import type { Refusal } from '../auth/guard.ts'

export class HttpProblem extends Error {
  readonly status: Status
  readonly code: string

  constructor(status: Status, code: string, message: string) {
    super(message)
    this.status = status
    this.code = code
  }
}

export type Status = 400 | 401 | 403 | 404 | 405 | 409 | 413 | 415 | 429 | 500 | 503

const statuses: Partial<Record<ErrorCode, Status>> = {
  CONFIG_INVALID: 400,
  INPUT_INVALID: 400,
  PAYLOAD_INVALID: 400,
  CANVAS_INVALID: 400,
  PAYLOAD_TOO_LARGE: 413,
  TASK_UNKNOWN: 404,
  RESULT_UNKNOWN: 404,
  DEAD_LETTER_UNKNOWN: 404,
  SCHEDULE_UNKNOWN: 404,
  UNSUPPORTED: 409,
  RESULTS_DISABLED: 409,
  MIGRATION_BUSY: 409,
  LEASE_LOST: 409,
  BROKER_UNAVAILABLE: 503,
  BROKER_AUTH: 503,
  BROKER_BUSY: 503,
  PUBLISH_TIMEOUT: 503,
  STORAGE_FULL: 503,
  STORAGE_BUSY: 503,
  STORAGE_CORRUPT: 503,
  CLOSED: 503,
}

const refusals: Readonly<Record<Refusal, readonly [Status, string]>> = {
  unknown: [401, 'UNAUTHORIZED'],
  wait: [429, 'TOO_MANY_REQUESTS'],
  'cross-site': [403, 'CROSS_SITE'],
  host: [403, 'HOST_UNKNOWN'],
}

export function refusalProblem(why: Refusal, message: string): HttpProblem {
  const [status, code] = refusals[why]
  return new HttpProblem(status, code, message)
}

/** Any error; one that nobody thought of tells nothing of its inside. */
export function problemOf(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error
  if (error instanceof NotFound) return new HttpProblem(404, 'NOT_FOUND', error.message)
  if (error instanceof NotAdmitted) return refusalProblem(error.why, error.message)
  if (error instanceof CeleriacError) {
    return new HttpProblem(statuses[error.code] ?? 500, error.code, error.message)
  }
  return new HttpProblem(500, 'INTERNAL', 'the monitor failed at this; its log says why')
}
