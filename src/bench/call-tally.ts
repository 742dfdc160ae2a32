/**
 * Measures the stages of flows by the events of their tasks. Events tell of every run, also of those that failed and were
 * retried, with its time on the worker's monotonic clock; result records know the last run only. What events do not
 * promise is that all of them arrive, so nothing is counted by them that must be right: see `Outcomes` for that.
 *
 * Events of one worker come in order, those of different ones do not: a step's start may be heard of before the end of
 * the step before it, and everything of a flow before its sender knows that it was sent.
 */
import type { ReceivedEvent } from '../events/received-event.ts'
import type { SentFlow } from './sent-flow.ts'
import { StageTally } from './stage-tally.ts'

/** One task of a flow. */
interface Call {
  readonly stage: StageTally
  readonly flow: FlowCalls
  readonly parentId: string | null
  /** When a retry, or a call with a countdown, was to begin. */
  dueMs: number | null
  startedMs: number | null
  endedMs: number | null
  /** Calls in its run. */
  together: number
}

interface FlowCalls extends SentFlow {
  readonly calls: Set<string>
  isEnded: boolean
}

/** Flows that have ended are listened to for so many more: their last events may be late. */
const maxEnded = 2_000
/** Tasks of flows that are not known, or not yet; and events of each. */
const maxStrays = 20_000
const maxStrayEvents = 20

export class CallTally {
  readonly #queueOf: (task: string) => string
  readonly #stages = new Map<string, StageTally>()
  readonly #flows = new Map<string, FlowCalls>()
  readonly #ended: FlowCalls[] = []
  readonly #calls = new Map<string, Call>()
  /** Starts of steps whose step before has not been heard to end, by the id of that one. */
  readonly #early = new Map<string, { readonly stage: StageTally; readonly startedMs: number }[]>()
  /** Events of tasks that belong to no known flow, by the id of the task. */
  readonly #strays = new Map<string, { readonly rootId: string; readonly events: ReceivedEvent[] }>()
  /** Ids of those tasks by the root of theirs. */
  readonly #strayRoots = new Map<string, string[]>()

  /** Of the last event of each sender. */
  readonly #clocks = new Map<string, number>()

  /** @param queueOf the queue of calls that name none */
  constructor(queueOf: (task: string) => string) {
    this.#queueOf = queueOf
  }

  /** In the order in which they were heard of; those named beforehand come first. */
  get stages(): readonly StageTally[] {
    return [...this.#stages.values()]
  }

  stage(task: string, queue = this.#queueOf(task)): StageTally {
    const stage = this.#stages.get(task) ?? new StageTally(task, queue)
    this.#stages.set(task, stage)
    return stage
  }

  /** Listens to a flow from now on; what was heard of it already counts. @returns whether it may have ended */
  sent(flow: SentFlow): boolean {
    this.#flows.set(flow.rootId, { ...flow, calls: new Set(), isEnded: false })
    const heard = (this.#strayRoots.get(flow.rootId) ?? []).map((id) => this.#strays.get(id)?.events ?? [])
    this.#dropStrays(flow.rootId)
    return heard.flat().filter((event) => this.#take(event) !== undefined).length > 0
  }

  /** The flow has ended: its calls count as visits. */
  ended({ rootId }: SentFlow): void {
    const flow = this.#flows.get(rootId)
    if (flow === undefined || flow.isEnded) return
    flow.isEnded = true
    for (const id of flow.calls) {
      const call = this.#calls.get(id)
      if (call !== undefined) call.stage.visits += 1
    }
    this.#ended.push(flow)
    if (this.#ended.length > maxEnded) this.#forget(this.#ended.shift() as FlowCalls)
  }

  /** Takes an event in; one that comes twice changes nothing. @returns the flow that may have ended with it */
  apply(event: ReceivedEvent): SentFlow | undefined {
    return this.#isRepeated(event) ? undefined : this.#take(event)
  }

  #take(event: ReceivedEvent): SentFlow | undefined {
    const { type, uuid, timestamp } = event
    if (uuid === undefined || timestamp === undefined || !type.startsWith('task-')) return undefined
    if (type === 'task-received') this.#received(uuid, event)
    const call = this.#calls.get(uuid)
    if (call === undefined) {
      if (type !== 'task-received') this.#keepStray(uuid, event)
      return undefined
    }
    const atMs = timestamp * 1_000
    switch (type) {
      case 'task-started':
        call.together = typeof event.together === 'number' && event.together > 1 ? event.together : 1
        this.#started(call, atMs)
        return undefined
      case 'task-succeeded': {
        const { runtime } = event
        this.#ran(call, typeof runtime === 'number' ? runtime * 1_000 : undefined, atMs)
        call.stage.succeeded += 1
        call.endedMs = atMs
        for (const early of this.#early.get(uuid) ?? []) waited(early.stage, atMs, early.startedMs)
        this.#early.delete(uuid)
        return uuid === call.flow.lastId ? call.flow : undefined
      }
      case 'task-retried':
      case 'task-rejected':
        if (type === 'task-retried') call.stage.retries += 1
        this.#ran(call, undefined, atMs)
        return undefined
      case 'task-failed':
      case 'task-revoked':
        if (type === 'task-failed') call.stage.failed += 1
        this.#ran(call, undefined, atMs)
        return call.flow
      default:
        return undefined
    }
  }

  /** A sender's events come in order, and its clock moves on with each. */
  #isRepeated({ hostname = '', pid, clock }: ReceivedEvent): boolean {
    if (clock === undefined) return false
    const sender = `${hostname} ${pid}`
    const isRepeated = clock <= (this.#clocks.get(sender) ?? -1)
    if (!isRepeated) this.#clocks.set(sender, clock)
    return isRepeated
  }

  #received(uuid: string, event: ReceivedEvent): void {
    const { name, root_id: root, parent_id: parent, eta } = event
    const rootId = typeof root === 'string' ? root : uuid
    const flow = this.#flows.get(rootId)
    if (flow === undefined) return this.#addStray(uuid, rootId, event)
    const due = typeof eta === 'string' ? Date.parse(eta) : Number.NaN
    const dueMs = Number.isNaN(due) ? null : due
    const known = this.#calls.get(uuid)
    if (known !== undefined) {
      known.dueMs = dueMs
      return
    }
    const stage = this.stage(String(name))
    const parentId = typeof parent === 'string' ? parent : null
    this.#calls.set(uuid, { stage, flow, parentId, dueMs, startedMs: null, endedMs: null, together: 1 })
    flow.calls.add(uuid)
    if (flow.isEnded) stage.visits += 1
  }

  #started(call: Call, atMs: number): void {
    call.startedMs = atMs
    const { stage, flow, parentId, dueMs } = call
    if (dueMs !== null) return waited(stage, dueMs, atMs)
    if (parentId === null) return waited(stage, flow.sentMs, atMs)
    const endedMs = this.#calls.get(parentId)?.endedMs
    if (typeof endedMs === 'number') return waited(stage, endedMs, atMs)
    const early = this.#early.get(parentId) ?? []
    early.push({ stage, startedMs: atMs })
    this.#early.set(parentId, early)
    flow.calls.add(parentId) // To be forgotten with the flow.
  }

  /** @param runMs as the worker measured it; without, the time between the two events */
  #ran(call: Call, runMs: number | undefined, atMs: number): void {
    if (call.startedMs === null) return
    call.stage.ran(runMs ?? atMs - call.startedMs, call.together)
    call.startedMs = null
  }

  #addStray(uuid: string, rootId: string, event: ReceivedEvent): void {
    if (this.#strays.has(uuid)) return this.#keepStray(uuid, event)
    this.#strays.set(uuid, { rootId, events: [event] })
    this.#strayRoots.set(rootId, [...(this.#strayRoots.get(rootId) ?? []), uuid])
    const [oldest] = this.#strays.values()
    if (this.#strays.size > maxStrays && oldest !== undefined) this.#dropStrays(oldest.rootId)
  }

  #keepStray(uuid: string, event: ReceivedEvent): void {
    const events = this.#strays.get(uuid)?.events
    if (events !== undefined && events.length < maxStrayEvents) events.push(event)
  }

  #dropStrays(rootId: string): void {
    for (const id of this.#strayRoots.get(rootId) ?? []) this.#strays.delete(id)
    this.#strayRoots.delete(rootId)
  }

  #forget({ rootId, calls }: FlowCalls): void {
    for (const id of calls) {
      this.#calls.delete(id)
      this.#early.delete(id)
    }
    this.#flows.delete(rootId)
  }
}

/** A task that another one sends while it runs may start before that one ends: since when it waited is not known then. */
function waited(stage: StageTally, sinceMs: number, startedMs: number): void {
  if (startedMs >= sinceMs || startedMs > sinceMs - clockErrorMs) stage.wait.record(startedMs - sinceMs)
}

/** Hosts' clocks may disagree by so much, and within one host stamps are whole ms. */
const clockErrorMs = 50
