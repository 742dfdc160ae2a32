/**
 * Two brokers in memory and processes that migrate between them, which can be killed between any two steps. A step is
 * one call of a broker, a consumer or a delivery; what a killed process still calls never happens.
 */
import { expect } from 'vitest'
import type { Broker, Consumer, Delivery, OutgoingMessage } from '../../src/broker/broker.ts'
import type { MemoryConsumer } from '../../src/drivers/memory/consumer.ts'
import { MemoryBroker, MemoryStore, memoryCapabilities } from '../../src/drivers/memory/index.ts'
import { Migration, type MigrationOptions, type QueueOptions } from '../../src/send/migration.ts'
import type { QueueReport } from '../../src/send/migration-report.ts'
import { ManualClock } from '../../src/testing/index.ts'

export const leaseMs = 10_000
/** A lease, and what `Migration` grants beyond. */
export const lapseMs = 16_000

/** A process whose calls are counted, and that may be killed at one of them. */
export class Process {
  /** What it asked of its brokers, in order. */
  readonly steps: string[] = []
  readonly consumers: { inner: MemoryConsumer; readonly name: string }[] = []
  readonly #killAt: number
  readonly #killed: () => void
  /** Resolves when it is killed. */
  readonly killed: Promise<'killed'>
  #isDead = false

  /** @param killAt number of the step that is its last; with half steps, of the step that is cut off before it happens */
  constructor(killAt = Number.POSITIVE_INFINITY) {
    let killed: () => void = () => undefined
    this.killed = new Promise((resolve) => {
      killed = () => resolve('killed')
    })
    this.#killed = killed
    this.#killAt = killAt
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    if (this.#isDead) return never()
    this.steps.push(name)
    if (this.steps.length > this.#killAt) return this.#die()
    const value = await work()
    if (this.steps.length === this.#killAt) return this.#die()
    return value
  }

  #die(): Promise<never> {
    this.#isDead = true
    for (const { inner } of this.consumers) inner.abandon()
    this.#killed()
    return never()
  }
}

function never(): Promise<never> {
  return new Promise(() => undefined)
}

/** What a test changes about a broker. */
export type Twist = (broker: Broker) => Partial<Broker>

export interface SiteOptions extends Partial<MigrationOptions> {
  readonly twistTarget?: Twist
  /** The source confirms no acknowledgement: those that it was not asked after are lost with the process. */
  readonly isPushed?: boolean
}

const pushedCapabilities = { ...memoryCapabilities, lease: 'connection', atomicSettle: false } as const

export class Site {
  readonly clock = new ManualClock()
  readonly source: MemoryBroker
  readonly target: MemoryBroker
  readonly #stores = { source: new MemoryStore(), target: new MemoryStore() }

  constructor() {
    this.source = this.connect('source')
    this.target = this.connect('target')
  }

  connect(side: 'source' | 'target'): MemoryBroker {
    return new MemoryBroker({ store: this.#stores[side], clock: this.clock })
  }

  /** A migration in a process of its own. */
  migration(process: Process, options: SiteOptions = {}): Migration {
    const { twistTarget = () => ({}), isPushed = false, ...others } = options
    const target = this.connect('target')
    const source = inProcess(process, 'source', this.connect('source'), isPushed)
    return new Migration({
      source: isPushed ? { ...source, capabilities: pushedCapabilities } : source,
      target: inProcess(process, 'target', Object.assign(target, twistTarget(target))),
      sourceName: 'memory://source',
      clock: this.clock,
      leaseMs,
      ...others,
    })
  }

  /** Migrates queues as the command does, from its start to its end, or until the process is killed. */
  async migrate(
    queues: readonly string[],
    options: SiteOptions & QueueOptions = {},
    process = new Process(),
  ): Promise<QueueReport[] | 'killed'> {
    const migration = this.migration(process, options)
    const reports: QueueReport[] = []
    const run = async (): Promise<QueueReport[]> => {
      await migration.open()
      for (const queue of queues) reports.push(await migration.run(queue, options))
      await migration.close()
      return reports
    }
    return this.passing(Promise.race([run(), process.killed]))
  }

  /** Lets time pass until the promise is settled. */
  async passing<T>(promise: Promise<T>): Promise<T> {
    let isSettled = false
    const settled = promise.finally(() => {
      isSettled = true
    })
    settled.catch(() => undefined)
    for (let turns = 0; !isSettled; turns++) {
      if (turns > 2_000) expect.fail('it does not come to an end')
      await this.clock.advance(50)
    }
    return settled
  }

  /** Takes everything off a queue, in order; what is delayed after the rest, with its delay. */
  async drain(side: 'source' | 'target', queue: string): Promise<Moved[]> {
    const broker = this.connect(side)
    const all: Moved[] = []
    for (const delayed of [false, true]) {
      const consumer = await broker.consume([queue], { delayed })
      const deliveries = await consumer.fetch(10_000, { waitMs: 0 })
      for (const { message, delayMs } of deliveries) {
        all.push({ body: String(message.body), priority: message.properties.priority, delayMs })
      }
      await Promise.all(deliveries.map((delivery) => delivery.ack()))
      await consumer.close()
    }
    return all
  }

  /** Nothing of the migration is left on the target. */
  async expectNoMarkers(): Promise<void> {
    expect(await this.target.depth('celeriac.migration')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  }
}

export interface Moved {
  readonly body: string
  readonly priority: number | undefined
  readonly delayMs: number
}

export function message(queue: string, body: string, more: Partial<OutgoingMessage> = {}): OutgoingMessage {
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8' }
  return { queue, body, headers: {}, properties, ...more }
}

function inProcess(process: Process, side: string, broker: MemoryBroker, isPushed = false): Broker {
  return {
    capabilities: broker.capabilities,
    open: () => broker.open(),
    publish: (messages) => process.step(`${side} publish`, () => broker.publish(messages)),
    queues: () => process.step(`${side} queues`, () => broker.queues()),
    server: () => broker.server(),
    depth: (queue) => process.step(`${side} depth`, () => broker.depth(queue)),
    peek: (queue, limit, offset) => process.step(`${side} peek`, () => broker.peek(queue, limit, offset)),
    purge: (queue) => broker.purge(queue),
    pause: (queue) => broker.pause(queue),
    resume: (queue) => broker.resume(queue),
    answerPings: () => broker.answerPings(),
    close: () => broker.close(),
    consume: (queues, options) =>
      process.step(`${side} consume`, async () => {
        const open = async (): Promise<MemoryConsumer> => (await broker.consume(queues, options)) as MemoryConsumer
        const held = { inner: await open(), name: `${side}${options?.delayed ? ' delayed' : ''}` }
        process.consumers.push(held)
        return consumerIn(process, side, held, isPushed)
      }),
  }
}

function consumerIn(
  process: Process,
  side: string,
  held: { readonly inner: MemoryConsumer },
  isPushed: boolean,
): Consumer {
  /** Acknowledgements that the broker has not heard of. */
  const unheard: (() => Promise<void>)[] = []
  const hear = async (): Promise<void> => {
    // On a channel that has gone they are not heard at all.
    for (const ack of unheard.splice(0)) await ack().catch(() => undefined)
  }
  return {
    fetch: (max, options) =>
      process.step(`${side} fetch`, async () => {
        await hear()
        const deliveries = await held.inner.fetch(max, options)
        return deliveries.map((delivery) => deliveryIn(process, side, delivery, isPushed ? unheard : undefined))
      }),
    add: (queue) => process.step(`${side} add`, () => held.inner.add(queue)),
    cancel: (queue) => process.step(`${side} cancel`, () => hear().then(() => held.inner.cancel(queue))),
    close: () => process.step(`${side} close`, () => hear().then(() => held.inner.close())),
  }
}

function deliveryIn(
  process: Process,
  side: string,
  delivery: Delivery,
  unheard: (() => Promise<void>)[] | undefined,
): Delivery {
  const { queue, message: moved, deliveryCount, delayMs } = delivery
  return {
    queue,
    message: moved,
    deliveryCount,
    delayMs,
    ack: (effects) =>
      process.step(`${side} ack`, async () => {
        if (unheard === undefined) return delivery.ack(effects)
        unheard.push(() => delivery.ack(effects))
      }),
    release: (afterMs) => process.step(`${side} release`, () => delivery.release(afterMs)),
    reject: () => process.step(`${side} reject`, () => delivery.reject()),
    extend: (ms) => process.step(`${side} extend`, () => delivery.extend(ms)),
  }
}
