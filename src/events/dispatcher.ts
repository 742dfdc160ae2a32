/**
 * Sends events. Those of tasks only while somebody wants them, several at once: those of a few milliseconds, or 24 of
 * them, as Celery's workers do it. Those of workers always, one by one: Python's workers cannot read lists of them.
 *
 * Events are news, not facts: what cannot be sent is dropped, and what would fill the memory of a worker whose broker
 * is away too.
 */
import type { Bus } from '../broker/bus.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { type EventType, type EventTypes, type TaskEventType, taskEventsTopic, topicOf } from './event.ts'
import type { LamportClock } from './lamport-clock.ts'

export interface DispatcherParts {
  readonly bus: Bus
  readonly clock: Clock
  readonly lamport: LamportClock
  readonly logger: Logger
  /** Who sends: a worker's node name. */
  readonly hostname: string
}

/** Task events in one message (`celery/events/dispatcher.py`, `buffer_limit`). */
const batchSize = 24
/** So long after one message the next one gathers events, in ms: a message costs a worker more than an event. */
const gatherMs = 10
const minuteMs = 60_000
/** Messages that have not left yet; what comes beyond is dropped. */
const maxUnderway = 200

export class EventDispatcher {
  readonly #parts: DispatcherParts
  #buffer: object[] = []
  #sentAtMs = Number.NEGATIVE_INFINITY
  #underway = 0
  #sendsTaskEvents: boolean
  #offset = { hours: 0, untilMs: Number.NEGATIVE_INFINITY }

  constructor(parts: DispatcherParts, sendsTaskEvents: boolean) {
    this.#parts = parts
    this.#sendsTaskEvents = sendsTaskEvents
  }

  get sendsTaskEvents(): boolean {
    return this.#sendsTaskEvents
  }

  set sendsTaskEvents(wanted: boolean) {
    this.#sendsTaskEvents = wanted
  }

  /** An event of a worker. Resolves when it has left, or could not. */
  send<Type extends EventType>(type: Type, fields: EventTypes[Type]): Promise<void> {
    this.#flush()
    return this.#publish(topicOf(type), this.#event(type, fields))
  }

  /** An event of a task; nothing where nobody wants them. */
  sendTask<Type extends TaskEventType>(type: Type, fields: EventTypes[Type]): void {
    if (!this.#sendsTaskEvents) return
    this.#buffer.push(this.#event(type, fields))
    if (this.#buffer.length >= batchSize) this.#flush()
    else if (this.#buffer.length === 1) this.#flushSoon()
  }

  /** What comes after a rest is sent in this turn. */
  #flushSoon(): void {
    const { clock } = this.#parts
    const restedMs = clock.monotonic() - this.#sentAtMs
    if (restedMs >= gatherMs) setImmediate(() => this.#flush())
    else clock.after(gatherMs - restedMs, () => this.#flush())
  }

  #flush(): void {
    if (this.#buffer.length === 0) return
    const events = this.#buffer
    this.#buffer = []
    this.#sentAtMs = this.#parts.clock.monotonic()
    void this.#publish(taskEventsTopic, events)
  }

  #event(type: string, fields: object): object {
    const { hostname, lamport, clock } = this.#parts
    const nowMs = clock.now()
    return {
      hostname,
      utcoffset: this.#offsetAt(nowMs),
      pid: process.pid,
      clock: lamport.tick(),
      ...fields,
      timestamp: nowMs / 1_000,
      type,
    }
  }

  /** Hours west of UTC. Clocks are put forward or back at full minutes, and asking for it costs as much as an event. */
  #offsetAt(nowMs: number): number {
    if (nowMs >= this.#offset.untilMs) {
      const hours = Math.floor(new Date(nowMs).getTimezoneOffset() / 60)
      this.#offset = { hours, untilMs: (Math.floor(nowMs / minuteMs) + 1) * minuteMs }
    }
    return this.#offset.hours
  }

  async #publish(topic: string, payload: unknown): Promise<void> {
    const { bus, hostname, logger } = this.#parts
    if (this.#underway >= maxUnderway) return
    this.#underway += 1
    try {
      await bus.publish(topic, payload, { hostname })
    } catch (error) {
      logger.debug({ hostname, topic, error }, 'an event could not be sent')
    } finally {
      this.#underway -= 1
    }
  }
}
