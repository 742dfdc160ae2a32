/**
 * What is known of one task from its events. The last event of each type is kept, and everything else follows from
 * these: so it is the same in whatever order they came, and however often.
 */
import type { ReceivedEvent } from './received-event.ts'
import { compareStamps, type Stamp, stampOf } from './stamp.ts'

/** A task as a fleet tells of it. Times are epoch ms; arguments and results are texts for people. */
export interface FleetTask {
  readonly uuid: string
  /** Null while only events were heard that do not say it. */
  readonly name: string | null
  /** `PENDING`, `RECEIVED`, `STARTED`, `RETRY`, `SUCCESS`, `FAILURE`, `REVOKED`, `REJECTED`, `CANCELLED`, or its own. */
  readonly state: string
  /** Node name of the worker that had it last. */
  readonly worker: string | null
  /** Who sent it. */
  readonly client: string | null
  readonly args: string | null
  readonly kwargs: string | null
  readonly retries: number | null
  readonly eta: string | null
  readonly expires: string | null
  readonly queue: string | null
  readonly rootId: string | null
  readonly parentId: string | null
  readonly result: string | null
  /** Of the last attempt that failed; null once the task succeeded. */
  readonly exception: string | null
  readonly traceback: string | null
  readonly runtimeMs: number | null
  readonly sentAt: number | null
  /** Since when the last attempt could be taken, which workers of ours say. */
  readonly readyAt: number | null
  readonly receivedAt: number | null
  readonly startedAt: number | null
  readonly endedAt: number | null
  /** When the last of its events was sent. */
  readonly updatedAt: number
}

const states: Readonly<Record<string, string>> = {
  'task-sent': 'PENDING',
  'task-received': 'RECEIVED',
  'task-started': 'STARTED',
  'task-succeeded': 'SUCCESS',
  'task-failed': 'FAILURE',
  'task-retried': 'RETRY',
  'task-revoked': 'REVOKED',
  'task-rejected': 'REJECTED',
  'task-cancelled': 'CANCELLED',
}
/** How far an attempt has come. States of a task's own come between its start and its end. */
const ranks: Readonly<Record<string, number>> = {
  PENDING: 0,
  RECEIVED: 1,
  STARTED: 2,
  REVOKED: 4,
  FAILURE: 5,
  SUCCESS: 6,
}
const ownRank = 3
/** The attempt is over and the task is not: whatever comes next begins another one. */
const betweenAttempts = new Set(['RETRY', 'REJECTED', 'CANCELLED'])
const ended = new Set(['SUCCESS', 'FAILURE', 'REVOKED'])

/** The state after one more event, in the order in which they were sent. Within an attempt it never goes back. */
export function stateAfter(state: string, next: string): string {
  if (next === 'PENDING') return state
  if (betweenAttempts.has(state)) return next
  // Hosts disagree about the time; but nothing is tried again that has succeeded.
  if (betweenAttempts.has(next)) return state === 'SUCCESS' ? state : next
  // Given out once more: a dead letter that was redriven, or a message that was delivered twice.
  if (ended.has(state) && next === 'RECEIVED') return next
  return (ranks[next] ?? ownRank) >= (ranks[state] ?? ownRank) ? next : state
}

interface Heard {
  readonly event: ReceivedEvent
  readonly stamp: Stamp
  readonly state: string
}

export class FleetTaskRecord {
  readonly #uuid: string
  /** By state; all states of the task's own share one place, so that their number is bounded. */
  readonly #heard = new Map<string, Heard>()
  #view: FleetTask | undefined

  constructor(uuid: string) {
    this.#uuid = uuid
  }

  /** The name, arguments and so on are of the last event that says them. */
  get view(): FleetTask {
    this.#view ??= this.#derive()
    return this.#view
  }

  apply(event: ReceivedEvent, receivedAtMs: number): void {
    const state = states[event.type] ?? event.type.slice('task-'.length).toUpperCase()
    const place = Object.hasOwn(states, event.type) ? state : 'own'
    const stamp = stampOf(event, receivedAtMs)
    const before = this.#heard.get(place)
    if (before !== undefined && compareStamps(before.stamp, stamp) >= 0) return
    this.#heard.set(place, { event, stamp, state })
    this.#view = undefined
  }

  #derive(): FleetTask {
    const inOrder = [...this.#heard.values()].sort(
      (a, b) => compareStamps(a.stamp, b.stamp) || (ranks[a.state] ?? ownRank) - (ranks[b.state] ?? ownRank),
    )
    const state = inOrder.reduce((current, heard) => stateAfter(current, heard.state), 'PENDING')
    const ofWorkers = inOrder.filter((heard) => heard.state !== 'PENDING')
    const at = (name: string): number | null => this.#heard.get(name)?.stamp.atMs ?? null
    const isDone = state === 'SUCCESS'
    const success = isDone ? this.#heard.get('SUCCESS')?.event : undefined
    const failure = isDone ? undefined : ofWorkers.findLast(({ event }) => event.exception !== undefined)?.event
    const runtime = success?.runtime
    const said = (field: string): unknown => inOrder.findLast(({ event }) => isSaid(event[field]))?.event[field]
    const retries = said('retries')
    const readyAt = said('ready_at')
    return {
      uuid: this.#uuid,
      name: textOf(said('name')),
      state,
      worker: ofWorkers.at(-1)?.event.hostname ?? null,
      client: this.#heard.get('PENDING')?.event.hostname ?? null,
      args: textOf(said('args')),
      kwargs: textOf(said('kwargs')),
      retries: typeof retries === 'number' ? retries : null,
      eta: textOf(said('eta')),
      expires: textOf(said('expires')),
      queue: textOf(said('queue')),
      rootId: textOf(said('root_id')),
      parentId: textOf(said('parent_id')),
      result: textOf(success?.result),
      exception: textOf(failure?.exception),
      traceback: textOf(failure?.traceback),
      runtimeMs: typeof runtime === 'number' ? runtime * 1_000 : null,
      sentAt: at('PENDING'),
      readyAt: typeof readyAt === 'number' ? readyAt * 1_000 : null,
      receivedAt: at('RECEIVED'),
      startedAt: at('STARTED'),
      endedAt: ended.has(state) ? at(state) : null,
      updatedAt: inOrder.at(-1)?.stamp.atMs ?? 0,
    }
  }
}

function isSaid(value: unknown): boolean {
  return value !== undefined && value !== null
}

function textOf(value: unknown): string | null {
  if (value === undefined || value === null) return null
  return typeof value === 'string' ? value : JSON.stringify(value)
}
