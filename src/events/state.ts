/**
 * A fleet as its events tell of it: which workers there are, what became of the tasks, how many in a second
 * (`celery.events.state.State`). Kept in memory and bounded: what was heard of longest ago is forgotten first.
 */
import { type Clock, systemClock } from '../clock.ts'
import { wholeNumber } from '../options.ts'
import { type FleetTask, FleetTaskRecord } from './fleet-task.ts'
import { counted, type FleetWorker, FleetWorkerRecord, noCounts, type TaskCounts } from './fleet-worker.ts'
import { Rates } from './rates.ts'
import type { ReceivedEvent } from './received-event.ts'

export interface FleetStateOptions {
  /** Tasks remembered. At least 1. @default 10_000 */
  readonly maxTasks?: number
  /** Workers remembered, also those that have gone. At least 1. @default 5_000 */
  readonly maxWorkers?: number
  readonly clock?: Clock
}

const workerEvents = new Set(['worker-online', 'worker-heartbeat', 'worker-offline'])
/** Events are told from others by the last so many: a message that comes twice comes soon. */
const remembered = 20_000

export class FleetState {
  readonly #maxTasks: number
  readonly #maxWorkers: number
  readonly #clock: Clock
  /** The one heard of last comes last. */
  readonly #tasks = new Map<string, FleetTaskRecord>()
  readonly #workers = new Map<string, FleetWorkerRecord>()
  readonly #seen = new Set<string>()
  readonly #rates: Rates
  #totals = noCounts

  /** @throws CeleriacError `CONFIG_INVALID` */
  constructor({ maxTasks = 10_000, maxWorkers = 5_000, clock = systemClock }: FleetStateOptions = {}) {
    this.#maxTasks = wholeNumber(maxTasks, 'maxTasks', 1)
    this.#maxWorkers = wholeNumber(maxWorkers, 'maxWorkers', 1)
    this.#clock = clock
    this.#rates = new Rates(clock.now())
  }

  /** Takes an event in. @returns false for one that was taken in before, which changes nothing */
  apply(event: ReceivedEvent): boolean {
    if (this.#isKnown(event)) return false
    const nowMs = this.#clock.now()
    if (workerEvents.has(event.type) && event.hostname !== undefined) {
      this.#worker(event.hostname).apply(event, nowMs)
    } else if (event.type.startsWith('task-') && event.uuid !== undefined) {
      this.#task(event.uuid).apply(event, nowMs)
      this.#count(event, nowMs)
    }
    return true
  }

  /**
   * Takes in what was learned of a task in another way, such as by asking its worker, as if it were an event. It does not
   * count as something that happened.
   */
  learn(event: ReceivedEvent): void {
    if (event.uuid !== undefined) this.#task(event.uuid).apply(event, this.#clock.now())
  }

  /** Those that are alive first, then by name. */
  workers(): FleetWorker[] {
    const nowMs = this.#clock.now()
    return [...this.#workers.values()]
      .map((worker) => worker.view(nowMs))
      .sort((a, b) => Number(b.isAlive) - Number(a.isAlive) || (a.hostname < b.hostname ? -1 : 1))
  }

  worker(hostname: string): FleetWorker | undefined {
    return this.#workers.get(hostname)?.view(this.#clock.now())
  }

  /** The one heard of last comes first. */
  tasks(limit = Number.POSITIVE_INFINITY): FleetTask[] {
    return [...this.#tasks.values()]
      .slice(Number.isFinite(limit) ? -limit : 0)
      .reverse()
      .map(({ view }) => view)
  }

  task(uuid: string): FleetTask | undefined {
    return this.#tasks.get(uuid)?.view
  }

  /** Events of tasks since we listen. */
  get totals(): TaskCounts {
    return this.#totals
  }

  /** Events of tasks per second, over the last ten. */
  get rates(): TaskCounts {
    const nowMs = this.#clock.now()
    const entries = Object.keys(noCounts).map((name) => [name, this.#rates.of(name, nowMs)])
    return Object.fromEntries(entries) as unknown as TaskCounts
  }

  #count(event: ReceivedEvent, nowMs: number): void {
    this.#totals = counted(this.#totals, event.type)
    this.#rates.count(event.type.slice('task-'.length), nowMs)
    // Events of tasks make no worker: one without heartbeats could never be told to have gone.
    const worker = event.hostname === undefined ? undefined : this.#workers.get(event.hostname)
    if (worker !== undefined) worker.counts = counted(worker.counts, event.type)
  }

  #task(uuid: string): FleetTaskRecord {
    const task = this.#tasks.get(uuid) ?? new FleetTaskRecord(uuid)
    moveLast(this.#tasks, uuid, task, this.#maxTasks)
    return task
  }

  #worker(hostname: string): FleetWorkerRecord {
    const worker = this.#workers.get(hostname) ?? new FleetWorkerRecord(hostname)
    moveLast(this.#workers, hostname, worker, this.#maxWorkers)
    return worker
  }

  /** An event that says neither when it was sent nor after what cannot be told from a later one like it. */
  #isKnown({ type, hostname, pid, clock, timestamp, uuid }: ReceivedEvent): boolean {
    if (clock === undefined && timestamp === undefined) return false
    const key = JSON.stringify([type, hostname, pid, clock, timestamp, uuid])
    if (this.#seen.has(key)) return true
    this.#seen.add(key)
    if (this.#seen.size > remembered) this.#seen.delete(this.#seen.values().next().value as string)
    return false
  }
}

function moveLast<Value>(map: Map<string, Value>, key: string, value: Value, limit: number): void {
  map.delete(key)
  map.set(key, value)
  if (map.size > limit) map.delete(map.keys().next().value as string)
}
