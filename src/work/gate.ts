/** The gate: reads a delivery and decides whether it may run. What may not leaves with the outcome that says why. */
import type { Delivery } from '../broker/broker.ts'
import { CeleriacError } from '../errors.ts'
import type { ResultStore } from '../result/result-store.ts'
import type { Content } from '../send/content.ts'
import { decodeHeaders, decodeTask } from '../send/decode-task.ts'
import { noJoins } from '../send/joins.ts'
import type { TaskMessage } from '../send/message.ts'
import type { Registry } from '../task/registry.ts'
import { type Attempt, createAttempt, lossesOf } from './attempt.ts'
import type { Outcome } from './outcome.ts'
import type { Revoked } from './revoked.ts'

export type Passage =
  | { readonly pass: true; readonly attempt: Attempt }
  | { readonly pass: false; readonly message: TaskMessage | undefined; readonly outcome: Outcome }

export interface GateParts {
  readonly registry: Registry
  readonly revoked: Revoked
  readonly content: Content
  readonly results: ResultStore | undefined
}

export function passGate(
  delivery: Delivery,
  { registry, content, revoked, results }: GateParts,
  nowMs: number,
): Passage {
  let message: TaskMessage
  try {
    message = decodeTask(delivery.message, content)
  } catch (error) {
    const outcome: Outcome = { kind: 'poison', error, reason: 'unreadable' }
    return { pass: false, message: decodeHeaders(delivery.message), outcome }
  }
  const refuse = (outcome: Outcome): Passage => ({ pass: false, message, outcome })
  if (revoked.covers(message)) return refuse({ kind: 'revoked', terminated: false, signum: null })
  if (message.expiresMs !== null && message.expiresMs <= nowMs) return refuse({ kind: 'expired' })
  if (message.etaMs !== null && message.etaMs > nowMs) return refuse({ kind: 'early', delayMs: message.etaMs - nowMs })
  const definition = registry.get(message.task)
  if (definition === undefined) {
    return refuse({ kind: 'poison', error: registry.unknown(message.task), reason: 'unknown task' })
  }
  if (message.embed.chord !== null && results?.joins !== true) {
    return refuse({ kind: 'poison', error: noJoins(), reason: 'member of a chord' })
  }
  const losses = lossesOf(message, delivery)
  if (losses >= definition.options.maxDeliveries) {
    return refuse({ kind: 'poison', error: tooManyLosses(losses, undefined), reason: 'worker lost' })
  }
  return { pass: true, attempt: createAttempt(delivery, message, definition) }
}

export function tooManyLosses(losses: number, cause: unknown): CeleriacError {
  const message = `${losses} workers were lost while they had this task; it may be what kills them`
  return new CeleriacError('WORKER_LOST', message, { cause })
}
