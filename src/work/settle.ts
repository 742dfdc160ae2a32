/**
 * Makes an attempt's outcome durable, in this order: store the outcome, send what follows, acknowledge. Where broker and
 * results are one store, the three are one atomic step, refused as a whole if the lease was lost. Elsewhere a crash
 * between two of them repeats work and never loses it: after the first the task runs again and is stored again, after
 * the second its successors may be sent twice.
 */
import type { Broker, Delivery, Effects, OutgoingMessage, Properties } from '../broker/broker.ts'
import type { AnyCanvas } from '../canvas/canvas.ts'
import type { Clock } from '../clock.ts'
import { toJsonValue } from '../json.ts'
import type { ResultRecord, ResultStore, StoredError } from '../result/result-store.ts'
import type { TaskState } from '../result/states.ts'
import { nameAndMessage, storeError, tracebackOf } from '../result/stored-error.ts'
import { afterFailure, afterSuccess, nextStarts, remainingPlaces, remainingReporters } from '../send/continuation.ts'
import { addAttempt, deadLetterOf } from '../send/dead-letters.ts'
import { emptyEmbed, isoDate, type TaskMessage } from '../send/message.ts'
import type { Following, Predecessor, Producer } from '../send/producer.ts'
import { withoutRoutingHistory } from '../send/routing-history.ts'
import type { CeleriacHeader } from '../send/wire.ts'
import { type Attempt, fenceOf, lossesOf } from './attempt.ts'
import { tooManyLosses } from './gate.ts'
import { asksJoins, type Ending, endOf, endsOf, joining, type MemberEnd } from './joining.ts'
import type { Outcome } from './outcome.ts'
import { type Recorded, recordOf, unsentRecords } from './records.ts'
import { dropSteps } from './step-records.ts'

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
    const ending = endingOf(settled, outcome, parts)
    const settling =
      ending === undefined || !asksJoins(ending)
        ? commit(delivery, ending, parts)
        : commitJoined(settled, ending, parts)
    const { attempt } = settled
    if (attempt === undefined || attempt.steps?.length === 0 || !isDone(outcome)) return settling
    return settling.then(() => dropSteps(attempt, parts))
  } catch (error) {
    return Promise.reject(error)
  }
}

/** Whether the task is through with its steps; what was given up may be redriven. */
function isDone({ kind }: Outcome): boolean {
  return kind === 'success' || kind === 'replaced'
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

/** With joins, which are asked before and closed after: see `joining.ts`. */
async function commitJoined(settled: Settled, ending: Ending, parts: SettleParts): Promise<void> {
  const { delivery, message } = settled
  const { closing, cancelled, ...effects } = await joining(ending, message as TaskMessage, {
    ...parts,
    queue: delivery.queue,
  })
  await commit(delivery, effects, parts)
  // What is not closed expires, and what is not cancelled runs in vain: neither is worth a second run.
  await Promise.allSettled(closing.map((groupId) => parts.results?.closeJoin(groupId)))
  if (cancelled.length > 0) await parts.producer.revoke(cancelled).catch(() => undefined)
}

type Ended = Exclude<Outcome, { kind: 'early' | 'interrupted' }>

function endingOf(settled: Settled, outcome: Ended, parts: SettleParts): Ending | undefined {
  switch (outcome.kind) {
    case 'success':
      return success(settled.attempt as Attempt, outcome, parts)
    case 'replaced':
      return replaced(settled.attempt as Attempt, outcome.canvas, parts)
    case 'retry':
      return retry(settled.attempt as Attempt, outcome, parts)
    case 'failure':
      return failure(settled, outcome.error, outcome.reason, parts)
    case 'poison':
      return failure(settled, outcome.error, outcome.reason, parts)
    case 'asleep':
      return asleep(settled.attempt as Attempt, outcome, parts)
    case 'reserved':
      return reserved(settled.attempt as Attempt, outcome, parts)
    case 'lost':
      return lost(settled.attempt as Attempt, outcome.error, parts)
    case 'expired':
      return revoked(settled, 'expired', parts)
    case 'revoked':
      return revoked(settled, outcome.terminated ? 'terminated' : 'revoked', parts)
    case 'ignored':
      return ignored(settled.attempt as Attempt, parts)
  }
}

function success(
  attempt: Attempt,
  { value, added = [] }: Ended & { kind: 'success' },
  parts: SettleParts,
): Ending | undefined {
  const { message } = attempt
  const keeps = keepsResult(attempt, parts.results)
  if (message.embed === emptyEmbed && !keeps) return undefined
  let stored: unknown
  let next: Following
  let ends: readonly MemberEnd[]
  try {
    stored = toJsonValue(value)
    // Behind most tasks there is nothing.
    if (message.embed === emptyEmbed)
      return { save: [recordOf(attempt, 'SUCCESS', stored, null, attempt.children, parts)] }
    const after = predecessorOf(message, attempt.delivery)
    next = parts.producer.successors(after, afterSuccess(message, value))
    const { size, ...more } = parts.producer.additions(message, added, attempt.fence)
    if (added.length > 0) next = together(next, parts.producer.successors(after, more))
    ends = endOf(message, 'SUCCESS', stored, size)
  } catch (error) {
    // A value that cannot be stored or handed on will not be another one the next time.
    return failure({ delivery: attempt.delivery, message, attempt }, error, 'failed', parts)
  }
  const { publish, save, groups } = next
  if (!keeps) return { publish, save, groups, ends }
  const children = [...attempt.children, ...next.ids]
  return { publish, save: [recordOf(attempt, 'SUCCESS', stored, null, children, parts), ...save], groups, ends }
}

function predecessorOf({ rootId, id, replyTo }: TaskMessage, { queue }: Delivery): Predecessor {
  return { rootId, id, replyTo, queue }
}

function together(one: Following, other: Following): Following {
  return {
    publish: [...one.publish, ...other.publish],
    save: [...one.save, ...other.save],
    ids: [...one.ids, ...other.ids],
    groups: [...one.groups, ...other.groups],
  }
}

/** It goes on as something else, under its id: nothing is stored of it, and nobody is told of an end. */
function replaced(attempt: Attempt, canvas: AnyCanvas, parts: SettleParts): Ending {
  const { message, delivery, fence } = attempt
  try {
    const started = parts.producer.replacement(message, canvas, fence)
    const { rootId, parentId: id, replyTo } = message
    return parts.producer.successors({ rootId, id, replyTo, queue: delivery.queue }, started)
  } catch (error) {
    return failure({ delivery, message, attempt }, error, 'failed', parts)
  }
}

/** It ended without an outcome; what waits for one must not wait for ever. */
function ignored(attempt: Attempt, parts: SettleParts): Ending | undefined {
  const { message } = attempt
  const error = { exc_type: 'Ignore', exc_message: ['ignored'], exc_module: 'celery.exceptions' }
  const ends = allEnds(message, 'REVOKED', error)
  const save = keepsResult(attempt, parts.results)
    ? unsentRecords(remainingPlaces(message.id, message.embed.chain), message, 'REVOKED', error, parts.clock)
    : []
  return ends.length + save.length === 0 ? undefined : { save, ends }
}

/** Its own end as a member of a chord, and those of the steps that will not be sent now. */
function allEnds(message: TaskMessage, state: 'FAILURE' | 'REVOKED', error: StoredError): MemberEnd[] {
  const { id, embed } = message
  if (embed === emptyEmbed) return []
  return [...endOf(message, state, error, 0), ...endsOf(remainingReporters(id, embed.chain), state, error)]
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
function lost(attempt: Attempt, error: unknown, parts: SettleParts): Ending {
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

/**
 * Its message again, for the time when it wakes. It takes the results of its steps along, because it may sleep for longer
 * than the store keeps them.
 */
function asleep(attempt: Attempt, { delayMs, steps }: Ended & { kind: 'asleep' }, parts: SettleParts): Effects {
  const { message, delivery, fence } = attempt
  const celeriac = { ...message.celeriac, losses: lossesOf(message, delivery), fence, steps }
  // It has started, so it does not expire any more.
  const { properties, ...again } = onceMore(attempt, { celeriac, expires: null }, parts)
  const { expirationMs: _expirationMs, ...lasting } = properties
  const sleepMs = Math.min(delayMs, parts.broker.capabilities.maxDelayMs)
  return { publish: [{ ...again, properties: lasting, delayMs: sleepMs }] }
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
    // The next delivery counts from one again.
    fence: attempt.fence - 1,
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
function failure({ delivery, message, attempt }: Settled, error: unknown, reason: string, parts: SettleParts): Ending {
  const { name, message: text } = nameAndMessage(error)
  const errbacks = errorCallbacks(message, delivery, parts)
  const dead = deadLetterOf(delivery.message, afterAttempt(message, delivery, error, parts), {
    reason,
    error: { type: name, message: `${text}${errbacks.problem}`, traceback: tracebackOf(error) },
    worker: parts.worker,
    at: isoDate(parts.clock.now()),
    queue: delivery.queue,
    deliveries: delivery.deliveryCount,
  })
  if (message === undefined) return { publish: [dead] }
  const { save, groups } = errbacks
  const publish = [...errbacks.publish, dead]
  const stored = storeError(error)
  const ends = allEnds(message, 'FAILURE', stored)
  const keeps = attempt === undefined ? parts.results !== undefined : keepsResult(attempt, parts.results)
  if (!keeps) return { publish, save, groups, ends }
  const own = attempt ?? unstarted(message, delivery)
  return { publish, save: [...endOfChain(own, 'FAILURE', stored, tracebackOf(error), parts), ...save], groups, ends }
}

/** Those that cannot be sent must not keep the failure from being stored; the dead letter names the problem. */
function errorCallbacks(
  message: TaskMessage | undefined,
  delivery: Delivery,
  { producer }: SettleParts,
): Omit<Following, 'ids'> & { problem: string } {
  if (message === undefined) return { publish: [], save: [], groups: [], problem: '' }
  try {
    return {
      ...producer.successors(predecessorOf(message, delivery), afterFailure(message.id, message.embed.errbacks)),
      problem: '',
    }
  } catch (error) {
    return {
      publish: [],
      save: [],
      groups: [],
      problem: ` (its error callbacks were not sent: ${nameAndMessage(error).message})`,
    }
  }
}

/** Nothing to redrive: its time is over, or it is not wanted any more. */
function revoked({ delivery, message, attempt }: Settled, why: string, parts: SettleParts): Ending | undefined {
  if (message === undefined || parts.results === undefined) return undefined
  const error = { exc_type: 'TaskRevokedError', exc_message: [why], exc_module: 'celery.exceptions' }
  const ends = allEnds(message, 'REVOKED', error)
  if (message.ignoreResult === true) return ends.length === 0 ? undefined : { ends }
  return { save: endOfChain(attempt ?? unstarted(message, delivery), 'REVOKED', error, null, parts), ends }
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

function unstarted(message: TaskMessage, delivery: Delivery): Recorded & { children: string[] } {
  return { message, delivery, fence: fenceOf(message, delivery), startedAt: null, children: [] }
}

/** The record of a task that ends its chain, and those of the steps that will not be sent now. */
function endOfChain(
  own: Recorded & { readonly children: readonly string[] },
  status: 'FAILURE' | 'REVOKED',
  error: StoredError,
  traceback: string | null,
  parts: SettleParts,
): ResultRecord[] {
  const { id, embed } = own.message
  const children = [...own.children, ...nextStarts(id, embed.chain)]
  const places = remainingPlaces(id, embed.chain)
  return [
    recordOf(own, status, error, traceback, children, parts),
    ...unsentRecords(places, own.message, status, error, parts.clock),
  ]
}
