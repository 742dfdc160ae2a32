/**
 * What must be there before a message can go somewhere: the queue, its exchange, and what a delay passes through.
 *
 * A queue is declared as Celery does it: durable, an exchange of its name bound to it with its name as the key
 * (`celery/app/amqp.py`). One that is there already with other arguments is used as it is; all that counts then is that
 * it is there.
 */
import type { Channel } from 'amqplib'
import type { Logger } from '../../logger.ts'
import { bindTarget, declareExchanges, declareStop, delayPrefix, stopName } from './delays.ts'
import { ensureExchange } from './exchanges.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import type { Outbound } from './message.ts'
import type { Requests } from './requests.ts'
import type { RabbitmqSettings } from './settings.ts'

export interface TopologyParts {
  readonly settings: Pick<RabbitmqSettings, 'queueType' | 'maxPriority'>
  readonly logger: Logger
  /** Told of every queue that was found or made here. */
  readonly onDeclared: (name: string) => Promise<void>
}

export class Topology {
  readonly #parts: TopologyParts
  /** Names of queues and, with a sign before them, of what else is known to be there. */
  readonly #known = new Set<string>()
  readonly #underway = new Map<string, Promise<void>>()

  constructor(parts: TopologyParts) {
    this.#parts = parts
  }

  /** Whether a message can be published at once. */
  isReady({ queue, delay, exchange, form }: Outbound): boolean {
    if (form !== undefined) return this.#known.has(exchangeKey(exchange))
    if (queue !== undefined && !this.#known.has(queue)) return false
    if (delay === undefined) return true
    return this.#known.has(targetKey(queue ?? '')) && delay.stops.every((stop) => this.#known.has(stopName(stop)))
  }

  /** Makes what a message needs. @throws CeleriacError `BROKER_AUTH`, `BROKER_UNAVAILABLE` */
  async prepare({ queue, delay, exchange, form }: Outbound, requests: Requests): Promise<void> {
    if (form !== undefined) await this.#once(exchangeKey(exchange), () => ensureExchange(requests, exchange, form))
    if (queue !== undefined) await this.ensureQueue(queue, requests)
    if (delay === undefined || queue === undefined) return
    await this.#once(exchangesKey, () => requests.run('declaring the exchanges of delays', declareExchanges))
    await this.#once(targetKey(queue), () =>
      requests.run(`binding queue '${queue}' to delays`, (channel) => bindTarget(channel, queue)),
    )
    for (const stop of delay.stops) {
      const name = stopName(stop)
      await this.#once(name, async () => {
        await requests.run(`declaring queue '${name}'`, (channel) => declareStop(channel, stop))
        await this.#parts.onDeclared(name)
      })
    }
  }

  /** Makes the queue, where it is not there. @throws CeleriacError `BROKER_AUTH`, `BROKER_UNAVAILABLE` */
  async ensureQueue(queue: string, requests: Requests): Promise<void> {
    await this.#once(queue, async () => {
      await this.#declareQueue(queue, requests)
      await this.#parts.onDeclared(queue)
    })
  }

  /** Names of the queues used since the last `forgetAll`. */
  get queues(): string[] {
    return [...this.#known].filter((name) => !name.startsWith(sign) && !name.startsWith(delayPrefix))
  }

  /** A queue turned out to be gone. */
  forget(queue: string): void {
    this.#known.delete(queue)
    this.#known.delete(targetKey(queue))
  }

  /** The server may have lost everything. */
  forgetAll(): void {
    this.#known.clear()
  }

  /** Two who need the same thing at once ask for it once. */
  #once(key: string, declare: () => Promise<void>): Promise<void> {
    if (this.#known.has(key)) return Promise.resolve()
    let declaring = this.#underway.get(key)
    if (declaring === undefined) {
      declaring = declare()
        .then(
          () => {
            this.#known.add(key)
          },
          (error) => {
            throw requestFailure(error, `'${key.replace(sign, '')}'`)
          },
        )
        .finally(() => this.#underway.delete(key))
      this.#underway.set(key, declaring)
    }
    return declaring
  }

  async #declareQueue(queue: string, requests: Requests): Promise<void> {
    const what = `declaring queue '${queue}'`
    try {
      await requests.run(what, (channel) => channel.assertQueue(queue, { durable: true, arguments: this.#arguments() }))
    } catch (error) {
      const code = replyCodeOf(error)
      // With other arguments than ours, or not ours to make: what matters is that it is there.
      if (code !== replyCodes.preconditionFailed && code !== replyCodes.accessRefused) throw error
      await requests.run(what, (channel) => channel.checkQueue(queue))
    }
    // Only Python's producers with exchanges of their own need these; ours publish to the queue itself.
    await requests
      .run(`declaring exchange '${queue}'`, (channel) => declareExchange(channel, queue))
      .catch((error) => {
        this.#parts.logger.debug({ queue, error }, 'the exchange of the queue is not as Celery makes it; left as it is')
        if (replyCodeOf(error) === undefined) throw error
      })
  }

  #arguments(): Record<string, unknown> {
    const { queueType, maxPriority } = this.#parts.settings
    return {
      ...(queueType === 'quorum' && { 'x-queue-type': 'quorum' }),
      ...(maxPriority !== undefined && { 'x-max-priority': maxPriority }),
    }
  }
}

async function declareExchange(channel: Channel, queue: string): Promise<void> {
  await channel.assertExchange(queue, 'direct', { durable: true })
  await channel.bindQueue(queue, queue, queue)
}

/** No queue can have a name that begins with it. */
const sign = '\0'
const exchangesKey = `${sign}the exchanges of delays`

function targetKey(queue: string): string {
  return `${sign}the delays of ${queue}`
}

function exchangeKey(exchange: string): string {
  return `${sign}exchange ${exchange}`
}
