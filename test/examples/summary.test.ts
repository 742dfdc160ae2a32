import { describe, expect, it } from 'vitest'
import type { Entry } from '../../examples/warehouse/logbook.ts'
import { type Books, reconcile } from '../../examples/warehouse/reconcile.ts'
import { report } from '../../examples/warehouse/report.ts'
import { percentiles, type RunFacts, summarise } from '../../examples/warehouse/summary.ts'

const lines = [{ sku: 'SKU-0001', quantity: 1 }]
const books: Books = {
  answered: ['O-1', 'O-2'],
  accepted: [
    { id: 'O-1', lines },
    { id: 'O-2', lines },
  ],
  picks: [{ orderId: 'O-1', sku: 'SKU-0001', quantity: 1 }],
  stock: [{ sku: 'SKU-0001', received: 1, left: 0 }],
  slips: new Map([['O-1', true]]),
  deliveries: [{ key: 'O-1', lines }],
  deadLetters: [{ orderId: 'O-2', queue: 'picking', reason: 'OutOfStock' }],
}

/** A run of a task, from its beginning on; killed where no end is given. */
function run(task: string, orderId: string, retries: number, at: number, runMs?: number, error: string | null = null) {
  const about = { run: `${task} ${orderId} ${at}`, task, orderId }
  const began: Entry = { what: 'began', ...about, at, retries }
  return runMs === undefined
    ? [began]
    : [began, { what: 'ended', ...about, at: at + runMs, runMs, together: 1, error } as const]
}

const facts: RunFacts = {
  in: 4,
  repeated: 1,
  rejected: new Map([['line has no items', 1]]),
  books,
  reconciliation: reconcile(books),
  finished: true,
  logbook: [
    ...run('pick', 'O-1', 0, 1_100, 10, 'AisleBusy'),
    ...run('pick', 'O-1', 1, 1_200),
    ...run('pick', 'O-1', 1, 1_300, 20),
    ...run('pick', 'O-2', 0, 1_050, 10, 'OutOfStock'),
    ...run('deliver', 'O-1', 0, 2_500, 500),
  ],
  stages: [
    {
      queue: 'picking',
      task: 'pick',
      slots: 2,
      sent: new Map([
        ['O-1', { at: 1_190, retries: 1 }],
        ['O-2', { at: 1_000, retries: 0 }],
      ]),
    },
    { queue: 'delivering', task: 'deliver', slots: 1, sent: new Map([['O-1', { at: 1_400, retries: 0 }]]) },
  ],
  trips: { trips: 2, orders: 3 },
  startedAt: 1_000,
  endedAt: 3_000,
  kills: 1,
  crashes: 0,
}

describe('the summary', () => {
  it('tells how many orders were picked on how many trips, and how fast', () => {
    const logbook = [...run('warehouse.pick', 'O-1', 0, 1_000, 100), ...run('warehouse.pick', 'O-2', 0, 1_100, 400)]

    expect(summarise({ ...facts, logbook }).picking).toEqual({ trips: 2, orders: 3, perSecond: 4 })
  })

  it('counts what came in and what became of it', () => {
    expect(summarise(facts)).toMatchObject({
      ok: true,
      orders: { in: 4, accepted: 2, repeated: 1, rejected: 1, rejectedBecause: { 'line has no items': 1 } },
      delivered: 1,
      retried: 1,
      deadLettered: 1,
      deadLetteredBecause: { 'picking: OutOfStock': 1 },
      seconds: 2,
      deliveredPerSecond: 0.5,
    })
  })

  it('tells retries from runs that were repeated because a worker was lost', () => {
    const [picking] = summarise(facts).stages

    expect(picking).toMatchObject({ runs: 4, failures: 2, retries: 1, reruns: 1 })
  })

  it('measures the wait up to a run, without the backoff of a retry, and each run that ended', () => {
    const [picking, delivering] = summarise(facts).stages

    expect(picking).toMatchObject({ waitMs: { p50: 10, p99: 50 }, runMs: { p50: 10, p99: 20 }, busy: 0.01 })
    expect(delivering).toMatchObject({ waitMs: { p50: 1_100, p99: 1_100 }, busy: 0.25 })
  })

  it('calls the stage that was busiest the bottleneck', () => {
    expect(summarise(facts).bottleneck).toBe('delivering')
  })

  it('is not well when the books disagree, or when time ran out', () => {
    const disagreeing = reconcile({ ...books, deliveries: [] })

    expect(summarise({ ...facts, reconciliation: disagreeing }).ok).toBe(false)
    expect(summarise({ ...facts, finished: false }).ok).toBe(false)
  })

  it('stands when nothing happened at all', () => {
    const nothing = { ...books, answered: [], accepted: [], picks: [], stock: [], deliveries: [], deadLetters: [] }

    const summary = summarise({ ...facts, books: nothing, logbook: [], endedAt: facts.startedAt })

    expect(summary).toMatchObject({ delivered: 0, deliveredPerSecond: 0, tasks: { runs: 0, retries: 0, reruns: 0 } })
  })

  it('reads well', () => {
    const text = report(summarise(facts))

    expect(text).toContain('4 orders in: 2 accepted, 1 rejected, 1 sent twice')
    expect(text).toContain('      1  picking: OutOfStock')
    expect(text).toContain('5 task runs: 1 retries, 1 run again because a worker was lost')
    expect(text).toMatch(/^delivering .* 25%\nbottleneck: delivering$/m)
    expect(Math.max(...text.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80)
    expect(text).toContain('The books agree.')
  })

  it('says what is wrong', () => {
    const text = report(summarise({ ...facts, reconciliation: reconcile({ ...books, answered: ['O-9'] }) }))

    expect(text).toContain('✗ every order that was answered 202 is in the ledger\n    O-9')
    expect(text).toContain('THE BOOKS DO NOT AGREE.')
  })
})

it('percentiles are by nearest rank', () => {
  expect(percentiles([])).toEqual({ p50: 0, p99: 0 })
  expect(percentiles([3, 1, 2])).toEqual({ p50: 2, p99: 3 })
  expect(percentiles(Array.from({ length: 200 }, (_, index) => index + 1))).toEqual({ p50: 100, p99: 198 })
})
