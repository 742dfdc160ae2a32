/** The arithmetic of a load test: when flows are due, how times are summed up, and what follows from them. */
import { Celeriac } from 'celeriac'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { adviceOn } from '../../src/bench/advice.ts'
import { type Arrivals, countOf, dueMs } from '../../src/bench/arrivals.ts'
import { bottleneckOf, limitsOf, type Model } from '../../src/bench/capacity.ts'
import { inputsFromLines, inputsFromValues } from '../../src/bench/inputs.ts'
import { type Measurements, reportOf } from '../../src/bench/report.ts'
import { Series } from '../../src/bench/series.ts'
import { StageTally } from '../../src/bench/stage-tally.ts'
import { Times } from '../../src/bench/times.ts'
import { benchReport, chart } from '../../src/cli/bench-report.ts'
import { widthOf } from '../../src/cli/text-width.ts'

const dues = (arrivals: Arrivals): number[] =>
  Array.from({ length: countOf(arrivals) }, (_, index) => dueMs(arrivals, index))

describe('arrivals', () => {
  it('are evenly apart at a rate', () => {
    expect(dues({ kind: 'rate', perSecond: 4, forMs: 1_000 })).toEqual([0, 250, 500, 750])
  })

  it('are all due at once in a drain', () => {
    expect(dues({ kind: 'drain', count: 3 })).toEqual([0, 0, 0])
  })

  it('come closer and closer on a ramp, by the area under it', () => {
    const ramp: Arrivals = { kind: 'ramp', fromPerSecond: 0, toPerSecond: 20, forMs: 10_000 }

    const all = dues(ramp)

    expect(all).toHaveLength(100)
    expect(all.filter((due) => due < 5_000)).toHaveLength(25) // 0 to 10 a second for 5 s
    expect(all.at(-1)).toBeCloseTo(Math.sqrt(99) * 1_000, 5)
  })

  const rate = fc.integer({ min: 0, max: 300 })
  it('never go back, and keep within their time, on any ramp', () => {
    fc.assert(
      fc.property(rate, rate, fc.integer({ min: 1, max: 10_000 }), (fromPerSecond, toPerSecond, forMs) => {
        const all = dues({ kind: 'ramp', fromPerSecond, toPerSecond, forMs })
        expect(all.every((due, index) => due >= (all[index - 1] ?? 0) && due <= forMs)).toBe(true)
      }),
    )
  })
})

describe('times', () => {
  it('have percentiles exact to three digits, and an exact mean and maximum', () => {
    const times = fc.array(fc.double({ min: 0.05, max: 100_000, noNaN: true }), { minLength: 1, maxLength: 300 })
    fc.assert(
      fc.property(times, (values) => {
        const sorted = [...values].sort((a, b) => a - b)
        const nearestRank = (percent: number): number =>
          sorted[Math.ceil((percent / 100) * sorted.length) - 1] as number
        const measured = new Times()

        for (const value of values) measured.record(value)

        const { p50Ms, p95Ms, p99Ms, maxMs, meanMs } = measured.summary
        for (const [percent, found] of [
          [50, p50Ms],
          [95, p95Ms],
          [99, p99Ms],
        ] as const) {
          // Three digits, and whole µs.
          expect(Math.abs((found ?? 0) - nearestRank(percent))).toBeLessThanOrEqual(
            nearestRank(percent) / 1_000 + 0.001,
          )
        }
        expect(maxMs).toBe(sorted.at(-1))
        expect(meanMs).toBeCloseTo(values.reduce((sum, value) => sum + value, 0) / values.length, 6)
      }),
    )
  })

  it('take less than nothing for nothing, and have no numbers without any', () => {
    const times = new Times()
    expect(times.summary).toMatchObject({ count: 0, p50Ms: null })

    times.record(-5)

    expect(times.summary).toMatchObject({ count: 1, meanMs: 0, maxMs: 0 })
  })
})

describe('a series', () => {
  it('stays short and keeps its highest point, however long it goes on', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(1_000), { minLength: 1, maxLength: 2_000 }), (values) => {
        const series = new Series()

        for (const [at, value] of values.entries()) series.add(at * 500, value)

        expect(series.points.length).toBeLessThanOrEqual(240)
        expect(series.max).toBe(Math.max(...values))
      }),
    )
  })

  it('is drawn as high as its columns allow, with what was counted last where nothing was', () => {
    const points = [
      { atMs: 0, value: 0 },
      { atMs: 500, value: 7 },
      { atMs: 1_000, value: 3 },
    ]

    expect(chart(points, 2)).toBe('█▄')
    expect(chart(points, 8)).toBe('▁▁▁████▄')
    expect(chart([], 3)).toBe('▁▁▁')
  })
})

/** Three stages with workers of their own: 4 slots of 10 ms, 2 of 50 ms, 8 of 20 ms a flow. */
const pipeline: Model = {
  stages: [
    { task: 'pick', slotMs: 10 },
    { task: 'pack', slotMs: 50 },
    { task: 'ship', slotMs: 20 },
  ],
  slots: [
    { slots: 4, tasks: ['pick'] },
    { slots: 2, tasks: ['pack'] },
    { slots: 8, tasks: ['ship'] },
  ],
  cpu: [],
  host: undefined,
  rules: [],
}

describe('limits', () => {
  it('are slots by service demand, and the lowest is the bottleneck', () => {
    const limits = limitsOf(pipeline)

    expect(limits.map(({ tasks, perSecond }) => [...tasks, perSecond])).toEqual([
      ['pack', 40],
      ['pick', 400],
      ['ship', 400],
    ])
  })

  it('hold for stages together where they share workers', () => {
    const shared: Model = { ...pipeline, slots: [{ slots: 4, tasks: ['pick', 'pack', 'ship'] }] }

    const [bottleneck] = limitsOf(shared)

    expect(bottleneck).toMatchObject({ tasks: ['pick', 'pack', 'ship'], slots: 4, demandMs: 80, perSecond: 50 })
  })

  it('see what is left for a stage that shares only some of its workers', () => {
    // Pack has a slot of its own and one that pick needs too: together they have two for 60 ms.
    const model: Model = {
      ...pipeline,
      stages: pipeline.stages.slice(0, 2),
      slots: [
        { slots: 1, tasks: ['pack'] },
        { slots: 1, tasks: ['pick', 'pack'] },
      ],
    }

    const [bottleneck] = limitsOf(model)

    expect(bottleneck).toMatchObject({ tasks: ['pick', 'pack'], slots: 2 })
    expect(bottleneck?.perSecond).toBeCloseTo(2_000 / 60, 6)
  })

  it('are CPU, the machine, and what somebody has set, too', () => {
    const limits = limitsOf({
      ...pipeline,
      cpu: [{ tasks: ['pack'], workers: 1, cores: 1, cpuMs: 48 }],
      host: { cores: 2, cpuMs: 60 },
      rules: [{ task: 'ship', text: 'rateLimit 30/s', perSecond: 30 }],
    })

    expect(limits.slice(0, 3).map(({ kind, perSecond }) => [kind, Math.round(perSecond)])).toEqual([
      ['cpu', 21],
      ['rule', 30],
      ['host', 33],
    ])
  })

  it('give a CPU that is used up the word over slots: runs are long because they wait for it', () => {
    const limits = limitsOf({ ...pipeline, cpu: [{ tasks: ['pack'], workers: 1, cores: 1, cpuMs: 24 }] })

    expect(bottleneckOf(limits, 10)).toMatchObject({ kind: 'slots', perSecond: 40 })
    expect(bottleneckOf(limits, 38)).toMatchObject({ kind: 'cpu', tasks: ['pack'] })
  })

  const names = ['a', 'b', 'c', 'd']
  const stages = fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 4, maxLength: 4 })
  const slots = fc.array(
    fc.record({ slots: fc.integer({ min: 1, max: 9 }), tasks: fc.subarray(names, { minLength: 1 }) }),
    { minLength: 1, maxLength: 5 },
  )
  it('are reached by sharing out the slots, and not exceeded, whoever serves what', () => {
    fc.assert(
      fc.property(stages, slots, (demands, groups) => {
        const served = names.filter((name) => groups.some(({ tasks }) => tasks.includes(name)))
        const model: Model = {
          ...pipeline,
          stages: served.map((task) => ({ task, slotMs: demands[names.indexOf(task)] as number })),
          slots: groups,
        }

        const perSecond = limitsOf(model)[0]?.perSecond ?? 0

        expect(canShareOut(model, perSecond * 0.999)).toBe(true)
        expect(canShareOut(model, perSecond * 1.001)).toBe(false)
      }),
    )
  })
})

/** Whether the slots can be shared out among the stages for so many flows a second: the greatest flow, by augmenting paths. */
function canShareOut({ stages, slots }: Model, perSecond: number): boolean {
  const needed = stages.map(({ slotMs }) => (slotMs * perSecond) / 1_000)
  const free = slots.map((group) => group.slots)
  const given = stages.map(() => slots.map(() => 0))
  const find = (stage: number, amount: number, seen: Set<number>): number => {
    for (const [group, { tasks }] of slots.entries()) {
      if (seen.has(group) || !tasks.includes(stages[stage]?.task ?? '')) continue
      seen.add(group)
      let moved = Math.min(amount, free[group] ?? 0)
      free[group] = (free[group] ?? 0) - moved
      for (const other of stages.keys()) {
        const row = given[other] as number[]
        if (moved > 0 || other === stage || (row[group] ?? 0) < 1e-9) continue
        const room = find(other, Math.min(amount, row[group] ?? 0), seen)
        row[group] = (row[group] ?? 0) - room
        moved = room
      }
      if (moved > 1e-12) {
        const row = given[stage] as number[]
        row[group] = (row[group] ?? 0) + moved
        return moved
      }
    }
    return 0
  }
  return needed.every((need, stage) => {
    let left = need
    while (left > 1e-9) {
      const moved = find(stage, left, new Set())
      if (moved === 0) return false
      left -= moved
    }
    return true
  })
}

describe('advice', () => {
  it('says how many slots reach the next limit, and what a run may take instead', () => {
    const model: Model = { ...pipeline, slots: [{ slots: 1, tasks: ['pick'] }, ...pipeline.slots.slice(1)] }

    const advice = adviceOn(model, limitsOf(model)[0])

    expect(advice).toMatchObject([
      { kind: 'slots', task: 'pack', from: 2, to: 5, perSecond: 100, next: { tasks: ['pick'] } },
      { kind: 'demand', task: 'pack', fromMs: 50, toMs: 20, perSecond: 100, next: { tasks: ['pick'] } },
    ])
  })

  it('proposes no more than what is wanted needs, with a reserve', () => {
    const [slots] = adviceOn(pipeline, limitsOf(pipeline)[0], 60)

    expect(slots).toMatchObject({ kind: 'slots', from: 2, to: 4, perSecond: 75, next: undefined })
  })

  it('proposes workers, not slots, where the work is CPU', () => {
    const model: Model = { ...pipeline, cpu: [{ tasks: ['pack'], workers: 1, cores: 1, cpuMs: 24 }] }

    const [more] = adviceOn(model, limitsOf(model)[0], 70)

    expect(more).toMatchObject({ kind: 'cores', task: 'pack', from: 1, to: 2 })
  })

  it('has no slots to offer where the machine is used up', () => {
    const model: Model = { ...pipeline, host: { cores: 2, cpuMs: 100 } }

    expect(adviceOn(model, limitsOf(model)[0]).map(({ kind }) => kind)).toEqual(['demand'])
  })

  it('is to lift a limit that was set', () => {
    const model: Model = { ...pipeline, rules: [{ task: 'ship', text: 'concurrency 1', perSecond: 20 }] }

    expect(adviceOn(model, limitsOf(model)[0])).toMatchObject([
      { kind: 'rule', task: 'ship', perSecond: 40, next: { tasks: ['pack'] } },
    ])
  })
})

describe('a report', () => {
  const worker = { name: 'w@h', process: '1@h', queues: ['q'], pool: 'async', slots: { async: 10 }, isLocal: true }

  /** A stage that 100 flows came by at, each for so long. */
  function stage(task: string, runMs: number, queue = 'q'): StageTally {
    const tally = new StageTally(task, queue)
    for (let flow = 0; flow < 100; flow++) tally.ran(runMs)
    return Object.assign(tally, { succeeded: 100, visits: 100 })
  }

  /** Of 100 flows in ten seconds. */
  function reportWith(changes: Pick<Measurements, 'stages' | 'workers'> & Partial<Measurements>) {
    const none = new Times().summary
    return reportOf({
      flow: 'fulfil',
      arrivals: { kind: 'drain', count: 100 },
      elapsedMs: 10_000,
      flows: { planned: 100, sent: 100, completed: 100, failed: 0, refused: 0, unfinished: 0, lost: 0 },
      busiestPerSecond: null,
      latency: none,
      passed: changes.stages,
      late: none,
      failures: [],
      firstRefusal: null,
      registry: new Celeriac('report', { broker: 'memory://report' }).registry,
      hostCores: 4,
      aheadMs: 0,
      isStopped: false,
      ...changes,
    })
  }

  it('counts the CPU of a process once, however many workers it has', () => {
    const workers = ['w1@h', 'w2@h'].map((name) => ({ ...worker, name, cpuMs: 5_000 }))

    const { limits } = reportWith({ stages: [stage('pack', 80)], workers })

    expect(limits.find(({ kind }) => kind === 'cpu')).toMatchObject({ cores: 1, demandMs: 50, perSecond: 20 })
    expect(limits.find(({ kind }) => kind === 'host')).toMatchObject({ cores: 4, demandMs: 50, perSecond: 80 })
    expect(limits.find(({ kind }) => kind === 'slots')).toMatchObject({ slots: 20, demandMs: 80, perSecond: 250 })
  })

  it('gives a core to each child of a pool, and the slots of its pool to a task that has one of its own', () => {
    const app = new Celeriac('report', { broker: 'memory://report' })
    app.task('pack', { pool: 'processes', queue: 'q' }, () => undefined)
    const workers = [{ ...worker, slots: { async: 10, processes: 3 }, cpuMs: 6_000 }]

    const { limits, stages } = reportWith({ stages: [stage('pack', 60)], workers, registry: app.registry })

    expect(stages).toMatchObject([{ task: 'pack', slots: 3, slotMs: 60, busySlots: 0.6, cores: 0.6 }])
    expect(limits.find(({ kind }) => kind === 'cpu')).toMatchObject({ cores: 3, demandMs: 60, perSecond: 50 })
  })

  it('knows the limits that tasks were given, where they have no keys', () => {
    const app = new Celeriac('report', { broker: 'memory://report' })
    app.task('pick', { rateLimit: '15/s' }, () => undefined)
    app.task('pack', { concurrency: 2 }, () => undefined)
    app.task('ship', { concurrency: { limit: 1, key: (id: string) => id } }, () => undefined)
    const stages = [stage('pick', 1), stage('pack', 50), stage('ship', 50)]
    const workers = ['w1@h', 'w2@h'].map((name) => ({ ...worker, name, cpuMs: null }))

    const { limits } = reportWith({ stages, workers, registry: app.registry })

    expect(limits.filter(({ kind }) => kind === 'rule')).toMatchObject([
      { tasks: ['pick'], text: 'rateLimit 15/s', perSecond: 30 },
      { tasks: ['pack'], text: 'concurrency 2', perSecond: 40 },
    ])
  })

  it('counts the run of a batch once, for all its calls', () => {
    const tally = Object.assign(new StageTally('pack', 'q'), { succeeded: 100, visits: 100 })
    for (let call = 0; call < 100; call++) tally.ran(500, 10)
    const workers = [{ ...worker, cpuMs: 0 }]

    expect(reportWith({ stages: [tally], workers }).stages).toMatchObject([
      { calls: 100, busySlots: 0.5, slotMs: 50, run: { p50Ms: 500 } },
    ])
  })

  it('calls a bottleneck reached when nearly as much got through as it lets', () => {
    const workers = [{ ...worker, slots: { async: 1 }, cpuMs: null }]

    const near = reportWith({ stages: [stage('pack', 95)], workers })
    const far = reportWith({ stages: [stage('pack', 50)], workers })

    expect(near).toMatchObject({ perSecond: 10, isReached: true, bottleneck: { tasks: ['pack'] } })
    expect(far).toMatchObject({ perSecond: 10, isReached: false, bottleneck: { tasks: ['pack'], perSecond: 20 } })
  })

  it('fits a terminal of 80 columns and 24 lines', () => {
    const stages = ['warehouse.pick', 'warehouse.pack', 'warehouse.deliver'].map((task) => stage(task, 1_234))
    for (const { depth } of stages) for (let at = 0; at < 100; at++) depth.add(at * 500, at)
    const workers = [{ ...worker, cpuMs: 9_000 }]
    const failures = [{ error: 'OutOfStock', example: 'fewer than 1 of SKU-0027 left', count: 12 }]

    const lines = benchReport(reportWith({ stages, workers, failures }), 80, (_colour, text) => text).split('\n')

    expect(lines.filter((line) => widthOf(line) > 80)).toEqual([])
    expect(lines.length).toBeLessThanOrEqual(24)
  })

  it('says which share of the runs was measured, by the stages that every flow passes', () => {
    const [passed, seldom] = [Object.assign(stage('pack', 1), { succeeded: 90 }), stage('mail', 1)]
    Object.assign(seldom, { succeeded: 3, visits: 3 })

    expect(reportWith({ stages: [passed, seldom], passed: [passed], workers: [] }).measured).toBe(0.9)
  })

  it('takes flows that did not end for no visits, and a stage that is passed twice for two', () => {
    const twice = Object.assign(stage('pick', 10), { visits: 80 })
    const flows = { planned: 100, sent: 100, completed: 40, failed: 0, refused: 0, unfinished: 60, lost: 0 }

    const { stages } = reportWith({ stages: [twice], workers: [], flows })

    expect(stages).toMatchObject([{ slotMs: 20, slots: null, cores: null }])
  })
})

describe('inputs', () => {
  it('are taken in turn, each a value of its own', () => {
    const inputs = inputsFromLines('{"id":1}\n\n{"id":2}\r\n', 'orders.jsonl')

    expect(inputs.count).toBe(2)
    expect([0, 1, 2].map((index) => inputs.at(index))).toEqual([{ id: 1 }, { id: 2 }, { id: 1 }])
    expect(inputs.at(0)).not.toBe(inputs.at(2))
  })

  it('are filled with the number of the flow and the name of the run', () => {
    const inputs = inputsFromValues(['{"id":"{run}-{n}","at":{n}}'], { run: 'r1' })

    expect(inputs.at(4)).toEqual({ id: 'r1-5', at: 5 })
    expect(inputsFromValues(['"{n}"']).at(4)).toBe('{n}')
  })

  it('are refused with the line that is no JSON', () => {
    expect(() => inputsFromLines('1\n\n{oops}\n', 'orders.jsonl')).toThrow(/line 3 of orders\.jsonl is not JSON/)
    expect(() => inputsFromLines('\n', 'orders.jsonl')).toThrow(/orders\.jsonl is empty/)
  })
})
