/**
 * What a pool and its children say to each other. All of it is data that the structured clone algorithm carries; values
 * of users travel as the JSON text that they are on the wire, so that a task sees and returns the same in every pool.
 */
import type { Message } from '../broker/broker.ts'
import type { AnyCanvas } from '../canvas/canvas.ts'
import { plainCanvas } from '../canvas/replace.ts'
import { CeleriacError, type ErrorCode, errorCodes } from '../errors.ts'
import { decodeJson, encodeJson } from '../json.ts'
import { nameAndMessage, tracebackOf } from '../result/stored-error.ts'
import type { GiveUpReason } from '../task/retry-policy.ts'
import type { BatchOutcome, RunOutcome } from './outcome.ts'
import { Revocation, WorkerShutdown } from './stop-reasons.ts'

/** What a child is started with. */
export interface ChildSettings {
  /** The module that exports the application. */
  readonly module: string
  /** Node name of the worker. */
  readonly worker: string
  /** Whether it tells its memory after each task. */
  readonly tellsMemory: boolean
}

export type ToChild =
  | { readonly kind: 'run'; readonly jobs: readonly SentJob[] }
  | { readonly kind: 'abort'; readonly job: number; readonly reason: SentReason }
  /** The answer to an `ask`. */
  | {
      readonly kind: 'answer'
      readonly request: number
      readonly answer: string | undefined
      readonly error: SentError | undefined
    }
  /** Ends the child once nothing runs there. */
  | { readonly kind: 'stop' }

export type FromChild =
  | { readonly kind: 'ready' }
  | { readonly kind: 'unfit'; readonly error: SentError }
  | { readonly kind: 'ended'; readonly ends: readonly SentEnd[]; readonly memoryBytes: number | undefined }
  | { readonly kind: 'ask'; readonly job: number; readonly request: number; readonly question: Question }
  | { readonly kind: 'log'; readonly level: LogLevel; readonly fields: string; readonly message: string }

/** What a run asks of its worker. Values are JSON. */
export type Question =
  | { readonly what: 'updateState'; readonly state: string; readonly meta: string }
  /** Answered with what was kept, if it was. */
  | { readonly what: 'loadStep'; readonly name: string }
  | { readonly what: 'keepStep'; readonly name: string; readonly kept: string }

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

export interface SentCall {
  readonly message: Message
  readonly queue: string
  readonly deliveryCount: number
}

export interface SentJob extends SentCall {
  readonly id: number
  readonly softMs: number | undefined
  /** See `Job.batch`. */
  readonly batch: readonly SentCall[] | undefined
}

export interface SentEnd {
  readonly job: number
  readonly outcome: SentOutcome | SentBatchOutcome
  readonly children: readonly string[]
  readonly steps: readonly string[]
}

export type SentOutcome =
  /** Undefined for a function that returned nothing. */
  | { readonly kind: 'success'; readonly value: string | undefined; readonly added?: string }
  | { readonly kind: 'replaced'; readonly canvas: string }
  | { readonly kind: 'retry'; readonly error: SentError; readonly countdownMs: number }
  | { readonly kind: 'failure'; readonly error: SentError; readonly reason: GiveUpReason }
  | Exclude<RunOutcome, { kind: 'success' | 'replaced' | 'retry' | 'failure' | 'lost' }>

export interface SentBatchOutcome {
  readonly kind: 'batch'
  readonly outcomes: readonly SentOutcome[]
}

/** What is kept of an error: its class as a name, so that it is stored as it would be in this process. */
export interface SentError {
  readonly name: string
  readonly message: string
  /** With those of its causes; null for a thrown value that is no error. */
  readonly stack: string | null
  /** Of an error of this package. */
  readonly code: ErrorCode | undefined
}

export type SentReason =
  | { readonly kind: 'shutdown' }
  | { readonly kind: 'revoked'; readonly terminate: boolean; readonly signum: string | number | null }

export function sendEnd(outcome: RunOutcome | BatchOutcome): SentEnd['outcome'] {
  return outcome.kind === 'batch'
    ? { kind: 'batch', outcomes: outcome.outcomes.map(sendOutcome) }
    : sendOutcome(outcome)
}

export function receiveEnd(sent: SentEnd['outcome']): RunOutcome | BatchOutcome {
  return sent.kind === 'batch' ? { kind: 'batch', outcomes: sent.outcomes.map(receiveOutcome) } : receiveOutcome(sent)
}

function sendOutcome(outcome: RunOutcome): SentOutcome {
  switch (outcome.kind) {
    case 'success':
      try {
        const { kind, value, added } = outcome
        const sent = value === undefined ? undefined : encodeJson(value)
        return added === undefined
          ? { kind, value: sent }
          : { kind, value: sent, added: encodeJson(added.map(plainCanvas)) }
      } catch (error) {
        return { kind: 'failure', error: sendError(error), reason: 'failed' }
      }
    case 'replaced':
      try {
        return { kind: 'replaced', canvas: encodeJson(plainCanvas(outcome.canvas)) }
      } catch (error) {
        return { kind: 'failure', error: sendError(error), reason: 'failed' }
      }
    case 'retry':
      return { ...outcome, error: sendError(outcome.error) }
    case 'failure':
      return { ...outcome, error: sendError(outcome.error) }
    case 'lost':
      throw new Error('a child cannot tell of its own loss')
    default:
      return outcome
  }
}

function receiveOutcome(sent: SentOutcome): RunOutcome {
  switch (sent.kind) {
    case 'success':
      return {
        kind: 'success',
        value: sent.value === undefined ? undefined : decodeJson(sent.value),
        ...(sent.added !== undefined && { added: decodeJson(sent.added) as AnyCanvas[] }),
      }
    case 'replaced':
      return { kind: 'replaced', canvas: decodeJson(sent.canvas) as AnyCanvas }
    case 'retry':
      return { ...sent, error: receiveError(sent.error) }
    case 'failure':
      return { ...sent, error: receiveError(sent.error) }
    default:
      return sent
  }
}

export function sendError(error: unknown): SentError {
  const code = error instanceof CeleriacError ? error.code : undefined
  const isError = error instanceof Error
  const { name, message } = isError ? error : nameAndMessage(error)
  return { name, message, stack: tracebackOf(error), code }
}

export function receiveError({ name, message, stack, code }: SentError): Error {
  const isOurs = code !== undefined && Object.hasOwn(errorCodes, code)
  const error = isOurs ? new CeleriacError(code, message) : new Error(message)
  // Neither is to be seen among the error's own properties.
  Object.defineProperty(error, 'name', { value: name })
  Object.defineProperty(error, 'stack', { value: stack ?? undefined })
  return error
}

export function sendReason(reason: CeleriacError): SentReason {
  return reason instanceof Revocation
    ? { kind: 'revoked', terminate: reason.terminate, signum: reason.signum }
    : { kind: 'shutdown' }
}

export function receiveReason(sent: SentReason): CeleriacError {
  return sent.kind === 'revoked' ? new Revocation(sent.terminate, sent.signum) : new WorkerShutdown()
}
