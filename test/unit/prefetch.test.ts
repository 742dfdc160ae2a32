import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Prefetch } from '../../src/work/prefetch.ts'

function having(runs: number[], concurrency = 10): Prefetch {
  const prefetch = new Prefetch(() => concurrency, undefined)
  for (const runMs of runs) prefetch.ran(runMs)
  return prefetch
}

describe('how many messages to fetch', () => {
  it('is one for each free slot, before the first task has ended', () => {
    const prefetch = new Prefetch(() => 10, undefined)

    expect([prefetch.room(0, 0), prefetch.room(4, 0), prefetch.room(10, 0)]).toEqual([10, 6, 0])
  })

  it('is what the slots will start within five milliseconds, for short tasks', () => {
    const prefetch = having([1])

    expect(prefetch.room(10, 30)).toBe(20)
    expect(prefetch.room(10, 50)).toBe(0)
  })

  it('is at most 500 ahead, however short the tasks', () => {
    const prefetch = having([0])

    expect(prefetch.room(10, 300)).toBe(200)
    expect(prefetch.room(10, 500)).toBe(0)
  })

  it('is by halves, so that one is run while the broker gets the other', () => {
    expect(having([1]).room(0, 0)).toBe((10 + 50) / 2)
    expect(having([0]).room(10, 0)).toBe((10 + 500) / 2)
  })

  it('is none until a quarter of what is to be ahead has been started', () => {
    const prefetch = having([1])

    expect(prefetch.room(10, 38)).toBe(0)
    expect(prefetch.room(10, 37)).toBe(13)
    expect(prefetch.room(9, 0)).toBe(30)
  })

  it('is one ahead where a slot comes free within fifteen milliseconds', () => {
    expect(having([30], 2).room(2, 0)).toBe(1)
    expect(having([30], 2).room(2, 1)).toBe(0)
    expect(having([31], 2).room(2, 0)).toBe(0)
  })

  it('is none ahead for long tasks', () => {
    expect(having([1_000]).room(10, 0)).toBe(0)
    expect(having([1_000]).room(9, 0)).toBe(1)
  })

  it('is what a fixed number leaves; after a stall only the free slots, until a task ends', () => {
    const prefetch = new Prefetch(() => 2, 10)

    expect(prefetch.room(2, 0)).toBe(8)
    prefetch.stalled(500)
    expect(prefetch.room(2, 0)).toBe(0)
    prefetch.ran(600)
    expect(prefetch.room(1, 0)).toBe(9)
  })

  it('follows tasks that become longer, within some dozen runs', () => {
    const prefetch = having([0.1])
    for (let run = 0; run < 50; run++) prefetch.ran(200)

    expect(prefetch.room(10, 0)).toBe(0)
  })

  it('is none ahead once nothing has started for long, whatever came before', () => {
    const prefetch = having([0.1, 0.1])

    prefetch.stalled(500)

    expect(prefetch.room(10, 0)).toBe(0)
  })

  it('is what is missing to a fixed number at hand', () => {
    const prefetch = new Prefetch(() => 4, 10)
    prefetch.ran(0.01)

    expect([prefetch.room(0, 0), prefetch.room(4, 2), prefetch.room(4, 6), prefetch.room(4, 9)]).toEqual([10, 4, 0, 0])
  })

  it('is never negative, never a fraction, and never leaves a free slot empty', () => {
    const runMs = fc.double({ min: 0, max: 1e6, noNaN: true })
    const property = fc.property(
      fc.integer({ min: 1, max: 200 }),
      fc.array(runMs),
      fc.nat(200),
      fc.nat(600),
      (slots, runs, running, waiting) => {
        const room = having(runs, slots).room(running, waiting)

        expect(Number.isInteger(room)).toBe(true)
        expect(room).toBeGreaterThanOrEqual(Math.max(0, slots - running - waiting))
        expect(room).toBeLessThanOrEqual(slots + 500)
      },
    )
    fc.assert(property)
  })
})
