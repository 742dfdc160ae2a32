/** Gathers what can be known of a fleet: hears its events, asks its workers, looks at its queues; all of it into the store. */
import type { Celeriac } from '../../app.ts'
import type { Subscription } from '../../broker/bus.ts'
import type { Clock } from '../../clock.ts'
import type { ReceivedEvent } from '../../events/received-event.ts'
import { receiveEvents } from '../../events/receiver.ts'
import type { Logger } from '../../logger.ts'
import type { Redaction } from '../redaction.ts'
import type { MonitorStore } from '../store/store.ts'
import type { StoredTask } from '../store/task-store.ts'
import { Greeter } from './greeter.ts'
import { type Counted, Intake } from './intake.ts'
import { Places } from './places.ts'
import { Queues } from './queues.ts'
import { Rounds } from './rounds.ts'
import { ScheduleWatch } from './schedule-watch.ts'
import { Workers } from './workers.ts'

export interface CollectorParts {
  readonly app: Celeriac
  readonly store: MonitorStore
  readonly redaction: Redaction
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: CollectorSettings
  /** Of each event of a task. */
  readonly onCounted?: ((counted: Counted) => void) | undefined
}

export interface CollectorSettings {
  /** Tell workers to send events of tasks. */
  readonly enableEvents: boolean
  /** Look at messages where they lie. */
  readonly peeks: boolean
  readonly inspectEveryMs: number
  readonly inspectTimeoutMs: number
  readonly queuesEveryMs: number
}

const enableEventsEveryMs = 30_000
const pruneEveryMs = 10_000

export type CollectorListener = (news: {
  readonly tasks?: readonly StoredTask[]
  readonly event?: ReceivedEvent
  readonly looked?: 'queues' | 'workers'
}) => void

export class Collector {
  readonly workers: Workers
  readonly queues: Queues
  readonly schedules: ScheduleWatch
  readonly places = new Places()
  readonly #parts: CollectorParts
  readonly #intake: Intake
  readonly #rounds: readonly Rounds[]
  readonly #greeter: Greeter
  readonly #listeners = new Set<CollectorListener>()
  /** What could not be done in the last round, by what it was. */
  readonly #troubles = new Map<string, string>()
  #subscription: Subscription | undefined

  /** The application must be open. */
  constructor(parts: CollectorParts) {
    this.#parts = parts
    const { app, store, clock, logger, redaction, settings } = parts
    const { places } = this
    const { onCounted = () => undefined } = parts
    const onTasks = (tasks: readonly StoredTask[]): void => this.#tell({ tasks })
    this.#intake = new Intake({ store, redaction, places, clock, logger, onCounted, onTasks })
    const { inspectTimeoutMs, inspectEveryMs, peeks } = settings
    this.workers = new Workers({ control: app.control, store, places, clock, inspectTimeoutMs }, inspectEveryMs)
    this.schedules = new ScheduleWatch(app)
    this.queues = new Queues({
      ...{ broker: app.broker, store, places, clock, peeks },
      learn: (events) => this.#intake.learn(events),
    })
    const enableEvents = async (): Promise<unknown> => settings.enableEvents && app.control.enableEvents()
    // The next round tells them too, and says what is wrong.
    this.#greeter = new Greeter(clock, enableEvents, (error) => logger.debug({ error }, 'new workers were not told'))
    this.#rounds = [
      this.#every(settings.queuesEveryMs, 'queues', async () => {
        await this.queues.look()
        this.#tell({ looked: 'queues' })
      }),
      this.#every(inspectEveryMs, 'workers', async () => {
        await this.workers.inspect()
        this.#tell({ looked: 'workers' })
      }),
      this.#every(inspectEveryMs, 'schedules', () => this.schedules.look()),
      this.#every(pruneEveryMs, 'limits', () => this.#prune()),
      this.#every(enableEventsEveryMs, 'events', async () => void (await enableEvents())),
    ]
  }

  /** Listens from here on. @throws CeleriacError the broker's error */
  async start(): Promise<void> {
    const { app } = this.#parts
    this.#subscription = await receiveEvents(await app.bus(), (event) => this.#hear(event))
    // Workers say at once that they are there.
    await app.control.heartbeat()
    for (const rounds of this.#rounds) rounds.start()
  }

  async stop(): Promise<void> {
    await this.#subscription?.close()
    this.#greeter.stop()
    await Promise.all(this.#rounds.map((rounds) => rounds.stop()))
    this.#intake.stop()
  }

  /** Events that are waiting are stored: who looks afterwards sees them. */
  flush(): void {
    this.#intake.flush()
  }

  get counts() {
    return this.#intake.counts
  }

  /** Whether events that came last could not be stored. */
  get losesEvents(): boolean {
    return this.#intake.isFailing
  }

  /** What could not be done lately, for people. */
  get troubles(): readonly string[] {
    return [...this.#troubles.values()]
  }

  /** @returns ends it */
  listen(listener: CollectorListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  #hear(event: ReceivedEvent): void {
    if (!this.workers.hear(event)) return
    if (event.type.startsWith('task-')) return this.#intake.add(event)
    if (event.type === 'worker-online') this.#greeter.welcome()
    this.#tell({ event })
  }

  #tell(news: Parameters<CollectorListener>[0]): void {
    for (const listener of this.#listeners) listener(news)
  }

  async #prune(): Promise<void> {
    const { store, clock } = this.#parts
    // A step at a time, with the event loop free in between.
    while (store.prune()) await new Promise<void>((resolve) => clock.after(5, resolve))
  }

  #every(ms: number, about: string, work: () => Promise<void> | void): Rounds {
    const { clock, logger } = this.#parts
    const round = async (): Promise<void> => {
      await work()
      if (this.#troubles.delete(about)) logger.info({ about }, 'it goes well again')
    }
    return new Rounds(clock, ms, round, (error) => {
      const message = `${about}: ${error instanceof Error ? error.message : String(error)}`
      // Once for as long as it lasts.
      if (this.#troubles.get(about) !== message) logger.warn({ about, error }, 'the monitor could not look')
      this.#troubles.set(about, message)
    })
  }
}
