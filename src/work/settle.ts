/**
 * Makes an attempt's outcome durable, in this order: store the outcome, send what follows, acknowledge. Where broker and
 * results are one store, the three are one atomic step, refused as a whole if the lease was lost. Elsewhere a crash
 * between two of them repeats work and never loses it: after the first the task runs again and is stored again, after
 * the second its successors may be sent twice.
 */
import type { Broker, Delivery, Effects, OutgoingMessage, Properties } from '../broker/broker.ts'
import type { Clock } from '../clock.ts'
import { toJsonValue } from '../json.ts'
import type { ResultRecord, ResultStore, StoredError } from '../result/result-store.ts'
import type { TaskState } from '../result/states.ts'
import { nameAndMessage, storeError, tracebackOf } from '../result/stored-error.ts'
import { afterFailure, afterSuccess, remainingStages } from '../send/continuation.ts'
import { addAttempt, deadLetterOf } from '../send/dead-letters.ts'
import { emptyEmbed, isoDate, type TaskMessage } from '../send/message.ts'
import type { Producer } from '../send/producer.ts'
import { withoutRoutingHistory } from '../send/routing-history.ts'
import type { CeleriacHeader, WireSignature } from '../send/wire.ts'
import { type Attempt, fenceOf, lossesOf } from './attempt.ts'
import { tooManyLosses } from './gate.ts'
import type { Outcome } from './outcome.ts'

export interface SettleParts {
  readonly broker: Broker
  readonly results: ResultStore | undefined
  readonly producer: Producer
  readonly clock: Clock
  readonly worker: string
}

/** What is settled: a delivery, as far as it could be read and was run. */
export interface Settled {
  readonly delivery: Delivery
  readonly message: TaskMessage | undefined
  readonly attempt: Attempt | undefined
}

/** @throws LeaseLostError somebody else has the task now; nothing was stored or sent (by an atomic store) */
export function settle(settled: Settled, outcome: Outcome, parts: SettleParts): Promise<void> {
  const { delivery } = settled
  if (outcome.kind === 'early') {
    // Where the broker keeps nothing back for so long, it comes early again, and goes back again.
    return delivery.release(Math.min(outcome.delayMs, parts.broker.capabilities.maxDelayMs))
  }
  if (outcome.kind === 'interrupted') return delivery.release()
  try {
    return commit(delivery, effectsOf(settled, outcome, parts), parts)
  } catch (error) {
    return Promise.reject(error)
  }
}

/** A running task's own state, or STARTED. */
export function stateRecord(attempt: Attempt, state: TaskState, meta: unknown, parts: SettleParts): ResultRecord {
  return recordOf(attempt, state, toJsonValue(meta), null, attempt.children, parts)
}

export function keepsResult(attempt: Attempt, results: ResultStore | undefined): boolean {
  return results !== undefined && !(attempt.message.ignoreResult ?? attempt.definition.options.ignoreResult)
}

function commit(delivery: Delivery, effects: Effects | undefined, { broker, results }: SettleParts): Promise<void> {
  const save = effects?.save
  if (save === undefined || results === undefined || results.sharesStorageWith(broker)) return delivery.ack(effects)
  return results.save(save).then(() => delivery.ack({ publish: effects?.publish ?? [] }))
}

type Ended = Exclude<Outcome, { kind: 'early' | 'interrupted' }>

function effectsOf(settled: Settled, outcome: Ended, parts: SettleParts): Effects | undefined {
  switch (outcome.kind) {
    case 'success':
      return success(settled.attempt as Attempt, outcome.value, parts)
    case 'retry':
      return retry(settled.attempt as Attempt, outcome, parts)
    case 'failure':
      return failure(settled, outcome.error, outcome.reason, parts)
    case 'poison':
      return failure(settled, outcome.error, outcome.reason, parts)
    case 'reserved':
      return reserved(settled.attempt as Attempt, outcome, parts)
    case 'lost':
      return lost(settled.attempt as Attempt, outcome.error, parts)
    case 'expired':
      return revoked(settled, 'expired', parts)
    case 'revoked':
      return revoked(settled, outcome.terminated ? 'terminated' : 'revoked', parts)
    case 'ignored':
      return undefined
  }
}

function success(attempt: Attempt, value: unknown, parts: SettleParts): Effects | undefined {
  const { message } = attempt
  const keeps = keepsResult(attempt, parts.results)
  if (message.embed === emptyEmbed && !keeps) return undefined
  let stored: unknown
  let next: ReturnType<Producer['successors']>
  try {
    stored = toJsonValue(value)
    next = parts.producer.successors(message, afterSuccess(message, value))
  } catch (error) {
    // A value that cannot be stored or handed on will not be another one the next time.
    return failure({ delivery: attempt.delivery, message, attempt }, error, 'failed', parts)
  }
  if (!keeps) return { publish: next.publish, save: next.save }
  const children = [...attempt.children, ...next.ids]
  return { publish: next.publish, save: [recordOf(attempt, 'SUCCESS', stored, null, children, parts), ...next.save] }
}

function retry(attempt: Attempt, { error, countdownMs }: Ended & { kind: 'retry' }, parts: SettleParts): Effects {
  const { delivery, message } = attempt
  const etaMs = parts.clock.now() + countdownMs
  // The next message is another one: its losses are counted from the beginning.
  const { losses: _losses, reserved: _reserved, ...celeriac } = afterAttempt(message, delivery, error, parts)
  const again: OutgoingMessage = {
    ...onceMore(
      attempt,
      { retries: message.retries + 1, eta: isoDate(etaMs), celeriac: { ...celeriac, sent: etaMs } },
      parts,
    ),
    delayMs: Math.min(countdownMs, parts.broker.capabilities.maxDelayMs),
  }
  if (!keepsResult(attempt, parts.results)) return { publish: [again] }
  const record = recordOf(attempt, 'RETRY', storeError(error), tracebackOf(error), attempt.children, parts)
  return { publish: [again], save: [record] }
}

/** Its message again, with other headers. */
function onceMore({ delivery, message }: Attempt, headers: object, parts: SettleParts): OutgoingMessage {
  return {
    ...delivery.message,
    queue: delivery.queue,
    properties: remaining(delivery.message.properties, message.expiresMs, parts.clock.now()),
    headers: { ...withoutRoutingHistory(delivery.message.headers), ...headers },
  }
}

/**
 * The child that ran it is gone, and the message is still ours: it goes back with its loss counted, as often as
 * `maxDeliveries` allows. One that was acknowledged before its run must not run twice.
 */
function lost(attempt: Attempt, error: unknown, parts: SettleParts): Effects {
  const { delivery, message, definition } = attempt
  const { acksLate, rejectOnWorkerLost, maxDeliveries } = definition.options
  if (!acksLate || !rejectOnWorkerLost) return failure({ delivery, message, attempt }, error, 'worker lost', parts)
  const losses = lossesOf(message, delivery) + 1
  if (losses >= maxDeliveries) {
    return failure({ delivery, message, attempt }, tooManyLosses(losses, error), 'worker lost', parts)
  }
  const celeriac = { ...afterAttempt(message, delivery, error, parts), losses }
  return { publish: [onceMore(attempt, { celeriac }, parts)] }
}

/** Its message again, with the token it has, for the time when it may start. */
function reserved(
  attempt: Attempt,
  { delayMs, reservedMs }: Ended & { kind: 'reserved' },
  parts: SettleParts,
): Effects {
  const celeriac = {
    ...attempt.message.celeriac,
    losses: lossesOf(attempt.message, attempt.delivery),
    reserved: reservedMs,
  }
  const again = onceMore(attempt, { celeriac }, parts)
  return { publish: [{ ...again, delayMs: Math.min(delayMs, parts.broker.capabilities.maxDelayMs) }] }
}

/** The time to live that is left of a message that expires. */
function remaining(properties: Properties, expiresMs: number | null, nowMs: number): Properties {
  return expiresMs === null ? properties : { ...properties, expirationMs: Math.max(0, expiresMs - nowMs) }
}

/** FAILURE for the task and for the steps that will not run, error callbacks, and the message to the dead letters. */
function failure({ delivery, message, attempt }: Settled, error: unknown, reason: string, parts: SettleParts): Effects {
  const { name, message: text } = nameAndMessage(error)
  const errbacks = errorCallbacks(message, parts)
  const dead = deadLetterOf(delivery.message, afterAttempt(message, delivery, error, parts), {
    reason,
    error: { type: name, message: `${text}${errbacks.problem}`, traceback: tracebackOf(error) },
    worker: parts.worker,
    at: isoDate(parts.clock.now()),
    queue: delivery.queue,
    deliveries: delivery.deliveryCount,
  })
  if (message === undefined) return { publish: [dead] }
  const publish = [...errbacks.publish, dead]
  const keeps = attempt === undefined ? parts.results !== undefined : keepsResult(attempt, parts.results)
  if (!keeps) return { publish, save: errbacks.save }
  const stored = storeError(error)
  const traceback = tracebackOf(error)
  const own = attempt ?? unstarted(message, delivery)
  return { publish, save: [...endOfChain(own, 'FAILURE', stored, traceback, parts), ...errbacks.save] }
}

/** Those that cannot be sent must not keep the failure from being stored; the dead letter names the problem. */
function errorCallbacks(
  message: TaskMessage | undefined,
  { producer }: SettleParts,
): Pick<ReturnType<Producer['successors']>, 'publish' | 'save'> & { problem: string } {
  if (message === undefined) return { publish: [], save: [], problem: '' }
  try {
    return { ...producer.successors(message, afterFailure(message)), problem: '' }
  } catch (error) {
    return { publish: [], save: [], problem: ` (its error callbacks were not sent: ${nameAndMessage(error).message})` }
  }
}

/** Nothing to redrive: its time is over, or it is not wanted any more. */
function revoked({ delivery, message, attempt }: Settled, why: string, parts: SettleParts): Effects | undefined {
  if (message === undefined || parts.results === undefined || message.ignoreResult === true) return undefined
  const error = { exc_type: 'TaskRevokedError', exc_message: [why], exc_module: 'celery.exceptions' }
  return { save: endOfChain(attempt ?? unstarted(message, delivery), 'REVOKED', error, null, parts) }
}

/** What our header says after this attempt. */
function afterAttempt(
  message: TaskMessage | undefined,
  delivery: Delivery,
  error: unknown,
  { clock, worker }: SettleParts,
): CeleriacHeader {
  const { name, message: text } = nameAndMessage(error)
  const attempt = { at: isoDate(clock.now()), worker, error: `${name}: ${text}` }
  return {
    ...message?.celeriac,
    fence: message === undefined ? delivery.deliveryCount : fenceOf(message, delivery),
    attempts: addAttempt(message?.celeriac.attempts, attempt),
  }
}

/** What a record needs of an attempt. */
type Recorded = Pick<Attempt, 'message' | 'delivery' | 'fence' | 'startedAt'>

function unstarted(message: TaskMessage, delivery: Delivery): Recorded & { children: string[] } {
  return { message, delivery, fence: fenceOf(message, delivery), startedAt: null, children: [] }
}

function recordOf(
  { message, delivery, fence, startedAt }: Recorded,
  status: TaskState,
  result: unknown,
  traceback: string | null,
  children: readonly string[],
  { clock, worker }: SettleParts,
): ResultRecord {
  const ended = status === 'SUCCESS' || status === 'FAILURE' || status === 'REVOKED'
  const nowMs = clock.now()
  return {
    taskId: message.id,
    status,
    result,
    traceback,
    children,
    dateDone: ended ? isoDate(nowMs) : null,
    parentId: message.parentId,
    rootId: message.rootId,
    groupId: message.groupId,
    name: message.task,
    queue: delivery.queue,
    worker,
    retries: message.retries,
    replyTo: message.replyTo,
    sentAt: message.celeriac.sent ?? null,
    startedAt,
    doneAt: ended ? nowMs : null,
    fence,
  }
}

/**
 * The record of a task that ends its chain, and those of the steps that will not be sent now: they end as it does, so
 * that nobody waits for them. A redrive begins them anew.
 */
function endOfChain(
  own: Recorded & { readonly children: readonly string[] },
  status: 'FAILURE' | 'REVOKED',
  error: StoredError,
  traceback: string | null,
  parts: SettleParts,
): ResultRecord[] {
  const { message } = own
  const stages = remainingStages(message.embed.chain)
  const record = recordOf(own, status, error, traceback, [...own.children, ...idsOf(stages[0])], parts)
  const unsent = { queue: null, worker: null, retries: 0, sentAt: null, startedAt: null, traceback: null, fence: 0 }
  const skipped = stages.flatMap((stage, index) => {
    const parentId = idsOf(stages[index - 1])[0] ?? message.id
    const children = idsOf(stages[index + 1])
    return stage.filter(hasId).map(({ task, options }): ResultRecord => {
      const own = { taskId: options.task_id as string, name: task, queue: options.queue ?? null }
      const place = { parentId, groupId: options.group_id ?? null, replyTo: options.reply_to ?? record.replyTo }
      return { ...record, ...unsent, ...own, ...place, children }
    })
  })
  return [record, ...skipped]
}

function idsOf(stage: readonly WireSignature[] = []): string[] {
  return stage.filter(hasId).map(({ options }) => options.task_id as string)
}

function hasId({ options }: WireSignature): boolean {
  return options.task_id !== undefined
}
