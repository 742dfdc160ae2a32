/** Beats on the memory broker under a manual clock, whose time of day can be set. */
import type { BeatEntry, Celeriac } from 'celeriac'
import { Beat, type BeatParts } from '../../src/beat/beat.ts'
import { ownSchedule } from '../../src/beat/entry.ts'
import { Schedules } from '../../src/beat/schedules.ts'
import { resolveConfig } from '../../src/config.ts'
import {
  MemoryBroker,
  MemoryBus,
  MemoryLimiter,
  MemoryResultStore,
  MemoryScheduleStore,
  MemoryStore,
} from '../../src/drivers/memory/index.ts'
import { Content } from '../../src/send/content.ts'
import { Producer } from '../../src/send/producer.ts'
import { createRouter } from '../../src/send/router.ts'
import { Serializers } from '../../src/send/serializer.ts'
import { Registry } from '../../src/task/registry.ts'
import { Signals } from '../../src/task/signals.ts'
import { ManualClock } from '../../src/testing/index.ts'
import { silent } from '../flow/fixture.ts'

/** A clock whose time of day is set forward or back, while time goes on as ever. */
export class SettableClock extends ManualClock {
  #setByMs = 0

  override now(): number {
    return super.now() + this.#setByMs
  }

  set(byMs: number): void {
    this.#setByMs += byMs
  }
}

export interface Sent {
  readonly id: string
  readonly task: string
  /** When it was sent, in ms since the start. */
  readonly atMs: number
  /** The header. */
  readonly expires: unknown
}

/** The beginning of all these tests: a Wednesday. */
export const startMs = Date.UTC(2025, 0, 1)

export class Site {
  readonly clock = new SettableClock(startMs)
  readonly store = new MemoryStore()
  readonly sent: Sent[] = []
  readonly revoked: string[] = []
  readonly results: MemoryResultStore
  readonly schedules: Schedules
  readonly lines: string[] = []
  readonly #broker: MemoryBroker
  readonly #beats: Beat[] = []
  /** What publishing throws, while there is something. */
  failure: Error | undefined

  constructor() {
    const options = { store: this.store, clock: this.clock, resultExpiresMs: Number.POSITIVE_INFINITY }
    this.#broker = new MemoryBroker(options)
    this.results = new MemoryResultStore(options)
    const producer = this.#producer()
    this.schedules = new Schedules({
      scope: 'app',
      timezone: 'UTC',
      store: async () => this.newStore(),
      bus: async () => new MemoryBus(options),
      keepsResults: async () => true,
      send: async (task, wire, callOptions) => {
        const call = await producer.complete(task, wire, callOptions, this.clock.now())
        await producer.sendWith([call], (messages) => this.#broker.publish(messages))
        return producer.result(call.id)
      },
      clock: this.clock,
      logger: silent,
    })
  }

  newStore(): MemoryScheduleStore {
    return new MemoryScheduleStore({ store: this.store, clock: this.clock }, 'app')
  }

  /** Declares what is to be sent, and starts a beat that sends it. */
  async start(entries?: Readonly<Record<string, BeatEntry>>, parts: Partial<BeatParts> = {}): Promise<Beat> {
    if (entries !== undefined) await this.schedules.declare(entries)
    const own = new Map(
      Object.entries(entries ?? {}).flatMap(([name, entry]) => {
        const schedule = ownSchedule(entry)
        return schedule === undefined ? [] : [[name, schedule] as const]
      }),
    )
    const log = (level: string) => (_fields: object, message: string) => void this.lines.push(`${level}: ${message}`)
    const beat = new Beat({
      scope: 'app',
      store: this.#watched(),
      bus: async () => new MemoryBus({ store: this.store, clock: this.clock }),
      producer: this.#producer(),
      results: this.results,
      revoke: async (id) => void this.revoked.push(id),
      own,
      clock: this.clock,
      logger: { debug: () => undefined, info: log('info'), warn: log('warn'), error: log('error') },
      ...parts,
    })
    this.#beats.push(beat)
    beat.start()
    await this.clock.advance(0)
    return beat
  }

  /** When something was sent, in seconds since the start, for one task. */
  seconds(task = 'tick'): number[] {
    return this.sent.filter((sent) => sent.task === task).map(({ atMs }) => atMs / 1_000)
  }

  async stop(): Promise<void> {
    const stopping = Promise.all(this.#beats.map((beat) => beat.stop()))
    await this.clock.advance(2_000)
    await stopping
  }

  /** A store that notes what is published. */
  #watched(): MemoryScheduleStore {
    const store = this.newStore()
    const lead = store.lead.bind(store)
    store.lead = async (leaseMs) => {
      const own = await lead(leaseMs)
      if (own === null) return null
      return {
        ...own,
        advance: async (steps) => {
          if (this.failure !== undefined) throw this.failure
          const stale = await own.advance(steps)
          for (const { name, publish } of steps) {
            if (stale.includes(name)) continue
            for (const { headers } of publish) {
              const atMs = this.clock.monotonic()
              this.sent.push({ id: String(headers.id), task: String(headers.task), atMs, expires: headers.expires })
            }
          }
          return stale
        },
      }
    }
    return store
  }

  #producer(): Producer {
    const limiter = new MemoryLimiter({ store: this.store, clock: this.clock })
    return new Producer({
      broker: this.#broker,
      results: this.results,
      registry: new Registry(),
      router: createRouter(undefined),
      clock: this.clock,
      content: new Content(new Serializers(), ['json']),
      settings: resolveConfig({}),
      revoke: (async () => ({})) as Celeriac['control']['revoke'],
      signals: new Signals(silent),
      middleware: [],
      limiter: async () => limiter,
    })
  }
}
