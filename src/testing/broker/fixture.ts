/** What the broker suite needs of a driver, and the few verbs its cases are written in. */
import { expect } from 'vitest'
import type { Broker, BrokerCapabilities, Consumer, Delivery, Depth, OutgoingMessage } from '../../broker/broker.ts'
import type { ResultStore } from '../../result/result-store.ts'
import type { Fixture, Harness } from '../contract.ts'

export interface BrokerHarness extends Harness<BrokerFixture> {
  /** What the driver is to say of itself. Decides which cases there are. */
  readonly capabilities: BrokerCapabilities
  /** A lease the driver can keep; short where time is real. In ms. @default 1_000 */
  readonly leaseMs?: number
  /** A delay the driver can keep; short where time is real. In ms. @default 300 */
  readonly delayMs?: number
  /** Whether fixtures have `results`, which an acknowledgement can save to. @default false */
  readonly sharesResults?: boolean
}

export interface BrokerFixture extends Fixture {
  readonly broker: Broker
  /** Another open connection to the same storage, as another process would have. */
  peer(): Promise<Broker>
  /**
   * Makes a consumer vanish as `kill -9` would: nothing is released, and nothing renewed from now on. Its deliveries can
   * still be called, as by a process that was stalled and comes back too late.
   */
  crash(consumer: Consumer): Promise<void>
  /** A result store that shares storage with the broker: where the harness says `sharesResults`. */
  readonly results?: ResultStore
}

/** Limits of messages beyond this many bytes are believed, not tried. */
export const largestTried = 256 * 1024 * 1024

export interface Outgoing {
  readonly headers?: OutgoingMessage['headers']
  readonly priority?: number
  readonly delayMs?: number
}

/** The result store of a fixture whose harness says `sharesResults`. */
export function resultsOf({ results }: BrokerFixture): ResultStore {
  return results ?? expect.fail('the harness says `sharesResults`, but its fixture has no `results`')
}

/** A message with little more than a body. */
export function outgoing(
  queue: string,
  body: string | Uint8Array,
  { headers = {}, priority, delayMs }: Outgoing = {},
): OutgoingMessage {
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8' }
  return {
    queue,
    headers,
    body,
    properties: priority === undefined ? properties : { ...properties, priority },
    ...(delayMs === undefined ? {} : { delayMs }),
  }
}

const takeTimeoutMs = 5_000
/** RabbitMQ's management plugin, for one, counts every five seconds. */
export const countedWithinMs = 10_000

/** Fetches until so many deliveries have come. */
export async function take(consumer: Consumer, count: number): Promise<Delivery[]> {
  const signal = AbortSignal.timeout(takeTimeoutMs)
  const taken: Delivery[] = []
  while (taken.length < count && !signal.aborted) {
    taken.push(...(await consumer.fetch(count - taken.length, { signal })))
  }
  expect(taken.length, 'deliveries fetched').toBe(count)
  return taken
}

/** Fetches one delivery. */
export async function takeOne(consumer: Consumer): Promise<Delivery> {
  const [delivery] = await take(consumer, 1)
  return delivery as Delivery
}

/** Fetches one delivery that comes only as time passes, within so long. */
export async function takeWithin(fixture: Fixture, consumer: Consumer, limitMs: number): Promise<Delivery> {
  const steps = 50
  for (let step = 0; step <= steps; step++) {
    const [delivery] = await consumer.fetch(1, { waitMs: 0 })
    if (delivery !== undefined) return delivery
    await fixture.advance(limitMs / steps)
  }
  return expect.fail(`no delivery came within ${limitMs} ms`)
}

/** The queue has just these messages, as soon as a server that counts lazily has counted. */
export async function expectDepth(broker: Broker, queue: string, depth: Partial<Depth>): Promise<void> {
  await expect.poll(() => broker.depth(queue), { timeout: countedWithinMs, interval: 20 }).toMatchObject(depth)
}

/** There is nothing to fetch at this moment. */
export async function expectNothing(consumer: Consumer): Promise<void> {
  expect(bodies(await consumer.fetch(1, { waitMs: 0 })), 'deliveries fetched').toEqual([])
}

export function bodies(deliveries: readonly Delivery[]): string[] {
  return deliveries.map((delivery) => String(delivery.message.body))
}

export async function ackAll(deliveries: readonly Delivery[]): Promise<void> {
  await Promise.all(deliveries.map((delivery) => delivery.ack()))
}

export async function publishBodies(broker: Broker, queue: string, texts: readonly string[]): Promise<void> {
  await broker.publish(texts.map((text) => outgoing(queue, text)))
}
