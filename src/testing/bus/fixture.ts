/** What the bus suite needs of a driver, and how its cases listen. */
import { expect } from 'vitest'
import type { Bus, BusMessage } from '../../broker/bus.ts'
import type { Fixture, Harness } from '../contract.ts'

export interface BusFixture extends Fixture {
  readonly bus: Bus
  /** Another open connection to the same bus, as another process would have. */
  peer(): Promise<Bus>
}

export type BusHarness = Harness<BusFixture>

/** What one subscriber has heard so far. */
export interface Ear {
  readonly messages: BusMessage[]
  readonly payloads: unknown[]
  close(): Promise<void>
}

/** Subscribes, and writes down what comes. */
export async function listen(bus: Bus, ...topics: string[]): Promise<Ear> {
  const messages: BusMessage[] = []
  const payloads: unknown[] = []
  const subscription = await bus.subscribe(topics, (message) => {
    messages.push(message)
    payloads.push(message.payload)
  })
  return { messages, payloads, close: () => subscription.close() }
}

/** Publishes a last word and waits for it: whatever was sent before has been heard by then, or never will be. */
export async function expectHeard(bus: Bus, topic: string, ear: Ear, payloads: readonly unknown[]): Promise<void> {
  await bus.publish(topic, 'last word')
  await expect.poll(() => ear.payloads.at(-1)).toBe('last word')
  expect(ear.payloads).toEqual([...payloads, 'last word'])
}
