/**
 * Takes events in by the group: what came within a moment is folded into the store in one transaction. The buffer is
 * bounded; what comes beyond it is counted as missed, never waited for.
 */
import type { Clock, Timer } from '../../clock.ts'
import type { FleetTask } from '../../events/fleet-task.ts'
import type { ReceivedEvent } from '../../events/received-event.ts'
import type { Logger } from '../../logger.ts'
import type { Redaction } from '../redaction.ts'
import { type CountedMetric, countedMetrics } from '../store/series.ts'
import type { MonitorStore } from '../store/store.ts'
import type { StoredTask } from '../store/task-store.ts'
import type { Places } from './places.ts'

export interface IntakeParts {
  readonly store: MonitorStore
  readonly redaction: Redaction
  readonly places: Places
  readonly clock: Clock
  readonly logger: Logger
  /** Of each event, once it is counted; it may not be stored in the end. */
  readonly onCounted: (counted: Counted) => void
  /** After every group: the tasks that have changed. */
  readonly onTasks: (tasks: readonly StoredTask[]) => void
}

/** An event of a task, and what it tells. */
export interface Counted {
  readonly event: ReceivedEvent
  readonly task: FleetTask
  readonly queue: string | null
  readonly waitMs: number | undefined
  readonly runMs: number | undefined
}

const groupMs = 200
/** Folded in one transaction: about 30 ms, in which nothing else is done. */
const maxGroup = 500
const maxBuffered = 100_000

interface Received {
  readonly event: ReceivedEvent
  readonly atMs: number
}

export interface IntakeCounts {
  /** Events of tasks that were taken in. */
  readonly taken: number
  /** Events that could not be stored, or came faster than they could be. */
  readonly missed: number
  readonly buffered: number
}

export class Intake {
  readonly #parts: IntakeParts
  #buffer: Received[] = []
  #timer: Timer | undefined
  #taken = 0
  #missed = 0
  /** A full disk is told once, and once that it is well again. */
  #isFailing = false

  constructor(parts: IntakeParts) {
    this.#parts = parts
  }

  get counts(): IntakeCounts {
    return { taken: this.#taken, missed: this.#missed, buffered: this.#buffer.length }
  }

  /** Whether what came last could not be stored. */
  get isFailing(): boolean {
    return this.#isFailing
  }

  /** Of a task. Never throws, never waits. */
  add(event: ReceivedEvent): void {
    if (this.#buffer.length >= maxBuffered) {
      this.#missed += 1
      return
    }
    this.#buffer.push({ event, atMs: this.#parts.clock.now() })
    this.#timer ??= this.#parts.clock.after(groupMs, () => this.#fold())
  }

  /** What messages tell of tasks that nobody has told of yet. Nothing is counted: it was not now that they were sent. */
  learn(events: readonly ReceivedEvent[]): void {
    const { store, clock, onTasks } = this.#parts
    const tasks = store.write(() => {
      for (const event of events) {
        if (event.uuid === undefined || store.tasks.isKnown(event.uuid)) continue
        store.tasks.apply(this.#redacted(event), clock.now())
      }
      return store.tasks.write()
    })
    if (tasks.length > 0) onTasks(tasks)
  }

  /** Folds all that is there. */
  flush(): void {
    while (this.#buffer.length > 0) this.#foldGroup()
  }

  stop(): void {
    this.#timer?.cancel()
    this.flush()
    this.#timer?.cancel()
  }

  /** One group at a time, so that answers go out in between. */
  #fold(): void {
    this.#timer = undefined
    this.#foldGroup()
    if (this.#buffer.length > 0) this.#timer = this.#parts.clock.after(0, () => this.#fold())
  }

  #foldGroup(): void {
    const group = this.#buffer.slice(0, maxGroup)
    this.#buffer = this.#buffer.slice(maxGroup)
    const { store, logger, onTasks } = this.#parts
    try {
      const { tasks, taken } = store.write(() => {
        const taken = group.reduce((sum, received) => sum + Number(this.#take(received)), 0)
        const tasks = store.tasks.write()
        store.series.flush()
        return { tasks, taken }
      })
      store.series.flushed()
      this.#taken += taken
      if (this.#isFailing) logger.info({}, 'events are stored again')
      this.#isFailing = false
      onTasks(tasks)
    } catch (error) {
      this.#missed += group.length
      // Counted with events that were not stored.
      store.series.flushed()
      if (!this.#isFailing) logger.error({ error }, 'events could not be stored and are missed')
      this.#isFailing = true
    }
  }

  /** @returns whether it is new */
  #take({ event, atMs }: Received): boolean {
    const { store, places } = this.#parts
    const safe = this.#redacted(event)
    const change = store.tasks.apply(safe, atMs)
    if (change === undefined) return false
    const { after } = change
    if (after.queue !== null) places.learn(after.name, after.queue)
    const queue = after.queue ?? places.queueOf(after.name, after.worker)
    if (queue !== null && event.uuid !== undefined) store.tasks.place(event.uuid, queue)
    this.#count(event, change.before, after, queue)
    return true
  }

  #count(event: ReceivedEvent, before: FleetTask, task: FleetTask, queue: string | null): void {
    const { store, onCounted } = this.#parts
    const { series } = store
    const metric = event.type.slice('task-'.length)
    const waitMs = metric === 'started' ? waitOf(task) : undefined
    const runMs = runOf(event, before)
    if ((countedMetrics as readonly string[]).includes(metric)) {
      series.count(metric as CountedMetric, task.name, queue)
      if (waitMs !== undefined) series.measure('wait', waitMs, task.name, queue)
      if (runMs !== undefined) series.measure('run', runMs, task.name, queue)
    }
    this.#follow(before, task)
    onCounted({ event, task, queue, waitMs, runMs })
  }

  /** Once for each task: when a worker has it first. */
  #follow(before: FleetTask, { name, parentId, receivedAt }: FleetTask): void {
    if (name === null || parentId === null || receivedAt === null || before.receivedAt !== null) return
    const { store } = this.#parts
    const parent = store.tasks.nameOf(parentId)
    if (parent !== null) store.series.follow(parent, name)
  }

  /** Without secrets, from here on. */
  #redacted(event: ReceivedEvent): ReceivedEvent {
    const { redaction, store } = this.#parts
    if (!redaction.hasHiddenTasks) return redaction.event(event, false)
    const said = typeof event.name === 'string' ? event.name : null
    const name = said ?? (event.uuid === undefined ? null : store.tasks.nameOf(event.uuid))
    // Of a task whose beginning was not heard nobody knows whether it is one of those.
    return redaction.event(event, name === null || redaction.hidesTask(name))
  }
}

/** From when it was to be had until it was started; of a later attempt of Python's, from when that one was received. */
function waitOf({ sentAt, readyAt, receivedAt, startedAt, retries, eta }: FleetTask): number | undefined {
  if (startedAt === null) return undefined
  const isLater = retries !== null && retries > 0
  const due = eta === null ? Number.NaN : Date.parse(eta)
  const begins = readyAt ?? (isLater ? receivedAt : (sentAt ?? receivedAt))
  if (begins === null) return undefined
  return Math.max(0, startedAt - Math.max(begins, Number.isNaN(due) ? begins : due))
}

/** What the worker measured, or the time between its events. */
function runOf(event: ReceivedEvent, { startedAt }: FleetTask): number | undefined {
  if (typeof event.runtime === 'number' && event.runtime >= 0) return event.runtime * 1_000
  const isEnd = event.type === 'task-failed' || event.type === 'task-retried' || event.type === 'task-succeeded'
  if (!isEnd || startedAt === null || event.timestamp === undefined) return undefined
  return Math.max(0, event.timestamp * 1_000 - startedAt)
}
