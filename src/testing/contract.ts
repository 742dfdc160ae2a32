/**
 * How a contract becomes a suite: every promise is a case named by a sentence, run on a fixture of its own that is
 * closed afterwards whatever happened. A driver that cannot keep a promise lists it in `skip` with the reason.
 */
import { describe, expect, it } from 'vitest'

export interface Harness<Fixture> {
  /** A fresh fixture for one case, everything in it opened. */
  open(): Promise<Fixture>
  /** Cases this driver does not pass: the case's name, and why. A name no case has fails the suite. */
  readonly skip?: Readonly<Record<string, string>>
}

/** What every fixture has: time to drive, and an end. */
export interface Fixture {
  /** The driver's time, in ms since the epoch. */
  now(): number
  /** Lets so much time pass: moves a manual clock, or really waits. */
  advance(ms: number): Promise<void>
  /** Closes everything that was opened, peers too. */
  close(): Promise<void>
}

/** Declares one case of a contract. */
export type Declare<F> = (promise: string, test: (fixture: F) => Promise<void>) => void

/** Long enough for a driver on real time that waits for several leases. */
const caseTimeoutMs = 20_000

export function contract<F extends Fixture>(
  title: string,
  harness: Harness<F>,
  topics: Readonly<Record<string, (declare: Declare<F>) => void>>,
): void {
  const skip = harness.skip ?? {}
  const declared = new Set<string>()

  const declare: Declare<F> = (promise, test) => {
    if (declared.has(promise)) throw new Error(`two cases are named "${promise}"`)
    declared.add(promise)
    const reason = skip[promise]
    if (reason !== undefined) return it(promise, (context) => context.skip(reason))
    it(promise, () => runCase(harness, test), caseTimeoutMs)
  }

  describe(title, () => {
    for (const [topic, declareTopic] of Object.entries(topics)) describe(topic, () => declareTopic(declare))

    it('skips only cases there are', () => {
      expect(Object.keys(skip).filter((name) => !declared.has(name))).toEqual([])
    })
  })
}

async function runCase<F extends Fixture>(harness: Harness<F>, test: (fixture: F) => Promise<void>): Promise<void> {
  const fixture = await harness.open()
  try {
    await test(fixture)
  } catch (error) {
    // What failed first is what to see, not what closing makes of it.
    await fixture.close().catch(() => undefined)
    throw error
  }
  await fixture.close()
}

/** Lets time pass in small steps until the condition holds. Fails after `limitMs` on the driver's clock. */
export async function until(
  fixture: Fixture,
  limitMs: number,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const steps = 50
  for (let step = 0; step < steps; step++) {
    if (await condition()) return
    await fixture.advance(limitMs / steps)
  }
  expect(await condition(), `nothing happened within ${limitMs} ms`).toBe(true)
}

let names = 0

/** A name no other case uses, for drivers whose cases share one server. */
export function uniqueName(word: string): string {
  names += 1
  return `${word}-${process.pid}-${Date.now().toString(36)}-${names}`
}

export function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index)
}
