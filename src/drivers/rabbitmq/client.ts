/**
 * What broker, bus and results of one application share: two connections, and everything that is made of them.
 *
 * Two, because RabbitMQ stops reading from a connection that publishes while its memory or disk alarm is on; tasks that
 * run meanwhile must still be acknowledged. The second is opened when it is first needed.
 *
 * The client library is amqplib: with Celery's twenty headers on each message it takes 31 µs of CPU to publish one and
 * 19 µs to consume one (@cloudamqp/amqp-client: 32 and 24), and it tells every event of the protocol that has to be
 * supervised: blocked, returned, cancelled, each channel's end with its code. Its own reconnecting is not used, because
 * it knows neither channels nor what was not confirmed.
 */
import { type Clock, systemClock } from '../../clock.ts'
import type { Durability } from '../../config.ts'
import { CeleriacError } from '../../errors.ts'
import { type Logger, stderrLogger } from '../../logger.ts'
import { CeleryFanout } from './celery-fanout.ts'
import { Connection } from './connection.ts'
import { Outbox } from './outbox.ts'
import { Publisher } from './publisher.ts'
import { Register } from './register.ts'
import { Requests } from './requests.ts'
import { parseUrl, type RabbitmqSettings } from './settings.ts'
import { Topics } from './topics.ts'
import { Topology } from './topology.ts'

export interface RabbitmqOptions {
  /** `amqp://user:password@host:5672/vhost`, `amqps://` with TLS; several hosts after each other. */
  readonly url: string
  /** Nothing to choose on RabbitMQ: queues are durable, messages persistent, and publishing waits for the disk. */
  readonly durability?: Durability
  /** How long the sender keeps results that were sent to it, in ms; Infinity for as long as it lives. @default 86_400_000 */
  readonly resultExpiresMs?: number
  /** How long a publish waits for its confirmation, in ms. @default 10_000 */
  readonly publishTimeoutMs?: number
  /** @default the system's */
  readonly clock?: Clock
  /** @default warnings and errors to stderr */
  readonly logger?: Logger
}

export class RabbitmqClient {
  readonly url: string
  readonly settings: RabbitmqSettings
  readonly clock: Clock
  readonly logger: Logger
  readonly resultExpiresMs: number
  readonly timeoutMs: number
  /** For publishing, and declaring what is published to. */
  readonly publishing: Connection
  /** For consuming, listening and asking. Nothing is ever published on it. */
  readonly consuming: Connection
  readonly publisher: Publisher
  readonly outbox: Outbox
  readonly topology: Topology
  /** On the consuming connection. */
  readonly requests: Requests
  /** Names of the queues that were ever used, those of delays included. */
  readonly usedQueues: Register
  readonly pausedQueues: Register
  #registered: Promise<Set<string>> | undefined
  #users = 0
  #closing: Promise<void> | undefined

  /** @throws CeleriacError `CONFIG_INVALID` naming the part of the URL */
  constructor(options: RabbitmqOptions) {
    const { clock = systemClock, logger = stderrLogger, publishTimeoutMs: timeoutMs = 10_000 } = options
    const settings = parseUrl(options.url)
    this.url = options.url
    this.settings = settings
    this.clock = clock
    this.logger = logger
    this.timeoutMs = timeoutMs
    this.resultExpiresMs = options.resultExpiresMs ?? 86_400_000
    this.publishing = new Connection('publishing', { settings, clock, logger })
    this.consuming = new Connection('consuming', { settings, clock, logger })
    this.requests = new Requests(this.consuming, clock, timeoutMs)
    const declaring = new Requests(this.publishing, clock, timeoutMs)
    const registers = { connection: this.consuming, publishing: declaring, clock, timeoutMs }
    this.usedQueues = new Register('celeriac.queues', registers)
    this.pausedQueues = new Register('celeriac.paused', registers)
    this.topology = new Topology({ settings, logger, onDeclared: (name) => this.#register(name) })
    const parts = { connection: this.publishing, topology: this.topology, requests: declaring, clock, timeoutMs }
    this.publisher = new Publisher(parts)
    this.outbox = new Outbox({ ...parts, publisher: this.publisher })
  }

  /**
   * Connects, for the first of its users. Waits for a server that is starting, but not for a login that is refused.
   *
   * @throws CeleriacError `BROKER_AUTH`, `BROKER_UNAVAILABLE`
   */
  async open(): Promise<void> {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', 'the connection to RabbitMQ is closed')
    this.#users += 1
    try {
      await this.publishing.ready(this.timeoutMs, { failFast: true })
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** Lets go, when the last of its users does. */
  async close(): Promise<void> {
    this.#users -= 1
    if (this.#users > 0) return
    this.#closing ??= this.publisher
      .settled()
      .then(() => Promise.all([this.publishing.close(), this.consuming.close()]))
      .then(() => undefined)
    await this.#closing
  }

  /** A fan-out over an exchange of this name. */
  topics(exchange: string, presence?: string): Topics {
    const { consuming: connection, publisher, clock, logger, timeoutMs } = this
    const parts = { connection, publisher, clock, logger, timeoutMs }
    return new Topics(exchange, presence === undefined ? parts : { ...parts, presence })
  }

  /** Celery's own exchanges for control messages and events. */
  celeryFanout(): CeleryFanout {
    const { consuming: connection, publisher, requests, clock, logger, timeoutMs } = this
    return new CeleryFanout({ connection, publisher, requests, clock, logger, timeoutMs })
  }

  /** Writes a queue's name down for other processes, unless it is there. Without it the queue works all the same. */
  async #register(name: string): Promise<void> {
    try {
      this.#registered ??= this.usedQueues.list().then((names) => new Set(names))
      const registered = await this.#registered
      if (registered.has(name)) return
      registered.add(name)
      await this.usedQueues.add(name)
    } catch (error) {
      this.#registered = undefined
      this.logger.warn({ queue: name, error }, 'the queue is used, but other processes may not list it')
    }
  }
}
