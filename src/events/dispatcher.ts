/**
 * Sends events. Those of tasks only while somebody wants them, several at once: one message for each turn of the event
 * loop, or for 24 of them, as Celery's workers do it. Those of workers always, one by one: Python's workers cannot read
 * lists of them.
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
/** Messages that have not left yet; what comes beyond is dropped. */
const maxUnderway = 200

export class EventDispatcher {
  readonly #parts: DispatcherParts
  #buffer: object[] = []
  #underway = 0
  #sendsTaskEvents: boolean

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
    return this.#publish(topicOf(type), this.#event(type, fields))
  }

  /** An event of a task; nothing where nobody wants them. */
  sendTask<Type extends TaskEventType>(type: Type, fields: EventTypes[Type]): void {
    if (!this.#sendsTaskEvents) return
    this.#buffer.push(this.#event(type, fields))
    if (this.#buffer.length === 1) setImmediate(() => this.#flush())
    else if (this.#buffer.length >= batchSize) this.#flush()
  }

  #flush(): void {
    if (this.#buffer.length === 0) return
    const events = this.#buffer
    this.#buffer = []
    void this.#publish(taskEventsTopic, events)
  }

  #event(type: string, fields: object): object {
    const { hostname, lamport, clock } = this.#parts
    return {
      hostname,
      utcoffset: Math.floor(new Date(clock.now()).getTimezoneOffset() / 60),
      pid: process.pid,
      clock: lamport.tick(),
      ...fields,
      timestamp: clock.now() / 1_000,
      type,
    }
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
