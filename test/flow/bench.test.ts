/** A load test, end to end within a process: real brokers and workers, and a manual clock for the sender. */
import { setTimeout as wait } from 'node:timers/promises'
import { type Celeriac, chain } from 'celeriac'
import { ManualClock } from 'celeriac/testing'
import { describe, expect, it } from 'vitest'
import { type BenchOptions, type BenchParts, bench } from '../../src/bench/bench.ts'
import { CallTally } from '../../src/bench/call-tally.ts'
import { type Flow, resolveFlow, stepsOf } from '../../src/bench/flow.ts'
import { inputsFromValues } from '../../src/bench/inputs.ts'
import { Outcomes } from '../../src/bench/outcomes.ts'
import type { BenchReport } from '../../src/bench/report.ts'
import { Sender } from '../../src/bench/sender.ts'
import type { SentFlow } from '../../src/bench/sent-flow.ts'
import type { Times } from '../../src/bench/times.ts'
import { systemClock } from '../../src/clock.ts'
import type { ReceivedEvent } from '../../src/events/received-event.ts'
import type { ResultStore } from '../../src/result/result-store.ts'
import { resultRecord } from '../../src/testing/result-record.ts'
import { brokers, newApp, rejection, until } from './fixture.ts'

const inputs = inputsFromValues(['{"id":"o-{n}"}'], { run: 'r' })

/** Three stages, of which packing takes its time; workers of their own serve them, but for those left out. */
async function warehouse(url: string, { unserved = [] as readonly string[] } = {}): Promise<Celeriac> {
  const app = newApp({ broker: url })
  const pick = app.task('pick', { queue: 'picking' }, async (order: { id: string }) => order)
  const pack = app.task('pack', { queue: 'packing' }, async (order: { id: string }) => {
    await wait(20)
    return order
  })
  const ship = app.task('ship', { queue: 'shipping' }, ({ id }: { id: string }) => {
    if (id.endsWith('5')) throw new RangeError(`${id} is too far`)
    return id
  })
  await app.open()
  const workers: string[] = []
  for (const [queue, concurrency] of [
    ['picking', 5],
    ['packing', 2],
    ['shipping', 5],
  ] as const) {
    if (unserved.includes(queue)) continue
    workers.push((await app.worker({ name: `${queue}@h`, queues: [queue], concurrency })).name)
  }
  const fulfil = (order: { id: string }) => chain(pick.s(order), pack.s(), ship.s())
  modules.set(app, { exported: { pick, fulfil }, workers })
  return app
}

interface Module {
  readonly exported: Readonly<Record<string, unknown>>
  readonly workers: readonly string[]
}
const modules = new WeakMap<Celeriac, Module>()

const flowOf = (app: Celeriac, name = 'fulfil'): Flow =>
  resolveFlow(name, {
    exported: modules.get(app)?.exported ?? {},
    registry: app.registry,
    remote: (task) => app.remote(task),
  })

async function partsOf(app: Celeriac): Promise<BenchParts> {
  const { broker, results, control, registry } = app
  const bus = await app.bus()
  const queueOf = (task: string): string => app.queueOf(task)
  return { broker, results: results as ResultStore, control, registry, bus, queueOf, clock: systemClock }
}

async function run(app: Celeriac, options: Partial<BenchOptions> = {}): Promise<BenchReport> {
  const flow = options.flow ?? flowOf(app)
  return bench(await partsOf(app), {
    flow,
    steps: stepsOf(await flow.build(inputs.at(0))),
    workers: modules.get(app)?.workers ?? [],
    inputs,
    arrivals: { kind: 'drain', count: 20 },
    graceMs: 8_000,
    stop: new AbortController().signal,
    giveUp: new AbortController().signal,
    ...options,
  })
}

describe.each(brokers)('a load test on $broker', ({ url }) => {
  it('follows flows to their ends, measures each stage, and names the one that is the bottleneck', async () => {
    const app = await warehouse(url())

    const report = await run(app)

    expect(report.flows).toEqual({
      planned: 20,
      sent: 20,
      completed: 18,
      failed: 2,
      refused: 0,
      unfinished: 0,
      lost: 0,
    })
    expect(report.failures).toEqual([{ error: 'RangeError', example: expect.stringMatching(/too far/), count: 2 }])
    expect(report.stages).toMatchObject([
      { task: 'pick', queue: 'picking', calls: 20, failed: 0, slots: 5, run: { count: 20 }, wait: { count: 20 } },
      { task: 'pack', queue: 'packing', calls: 20, failed: 0, slots: 2, run: { count: 20 }, wait: { count: 20 } },
      { task: 'ship', queue: 'shipping', calls: 20, failed: 2, slots: 5, run: { count: 20 }, wait: { count: 20 } },
    ])
    // The test's own process is all workers at once, so its CPU may be the bottleneck; of the slots it is packing's.
    const slots = report.limits.find(({ kind }) => kind === 'slots')
    expect(slots).toMatchObject({ tasks: ['pack'], slots: 2 })
    expect(slots?.perSecond).toBeLessThanOrEqual(102) // Two slots of 20 ms, by timers that may be a little early.
    expect(report.measured).toBe(1)
    expect(report.latency.count).toBe(18)
  })

  it('leaves the workers as they were: those that sent no events send none again', async () => {
    const app = await warehouse(url())

    await run(app, { arrivals: { kind: 'drain', count: 1 } })

    const replies = await app.control.enableEvents({ reply: true, limit: 3 })
    expect(Object.values(replies)).toEqual(Array(3).fill({ ok: 'task events enabled' }))
  })

  it('says how many flows did not end, and lets them count with their age', async () => {
    const app = await warehouse(url(), { unserved: ['shipping'] })

    const report = await run(app, { arrivals: { kind: 'drain', count: 4 }, graceMs: 300 })

    expect(report.flows).toMatchObject({ sent: 4, completed: 0, unfinished: 4, lost: 0 })
    expect(report.latency).toMatchObject({ count: 4 })
    expect(report.latency.p50Ms).toBeGreaterThanOrEqual(300)
  })

  it('calls flows lost that no queue holds any more', async () => {
    const app = await warehouse(url(), { unserved: ['shipping'] })
    const giveUp = new AbortController()
    const testing = run(app, { arrivals: { kind: 'drain', count: 4 }, giveUp: giveUp.signal })
    await until(async () => (await app.broker.depth('shipping')).ready === 4)

    await app.broker.purge('shipping')
    giveUp.abort()

    expect((await testing).flows).toMatchObject({ sent: 4, completed: 0, unfinished: 0, lost: 4 })
  })
})

describe('a load test', () => {
  it('stops sending when it is told to, and waits for what is under way', async () => {
    const app = await warehouse(brokers[0].url())
    const stop = new AbortController()

    const report = await run(app, {
      arrivals: { kind: 'rate', perSecond: 50, forMs: 60_000 },
      stop: stop.signal,
      onProgress: ({ completed }) => {
        if (completed >= 3) stop.abort()
      },
    })

    const { sent, completed, failed, unfinished } = report.flows
    expect(report.isStopped).toBe(true)
    expect(sent).toBeLessThan(1_000)
    expect(completed + failed).toBe(sent)
    expect(unfinished).toBe(0)
  })

  it('counts what is refused when it is sent, and why', async () => {
    const app = await warehouse(brokers[0].url())
    const { build } = flowOf(app)
    const flow: Flow = {
      name: 'odd',
      build: async (input) => {
        if ((input as { id: string }).id === 'o-2') throw new TypeError('no such order')
        return build(input)
      },
    }

    const report = await run(app, { flow, steps: [], arrivals: { kind: 'drain', count: 3 } })

    expect(report).toMatchObject({ flows: { sent: 2, completed: 2, refused: 1 }, firstRefusal: 'no such order' })
    expect(report.stages.map(({ task }) => task)).toEqual(['pick', 'pack', 'ship']) // found by their events
  })
})

describe('a flow', () => {
  it('is a function of the module, a task that it exports, or a registered task', async () => {
    const app = await warehouse(brokers[0].url())

    const stepsNamed = async (name: string) => stepsOf(await flowOf(app, name).build({ id: 'o' }))

    expect((await stepsNamed('fulfil')).map(({ task }) => task)).toEqual(['pick', 'pack', 'ship'])
    expect((await stepsNamed('pick')).map(({ task }) => task)).toEqual(['pick'])
    expect((await stepsNamed('ship')).map(({ task }) => task)).toEqual(['ship'])
  })

  it('is refused by another name, with the nearest', async () => {
    const app = await warehouse(brokers[0].url())

    expect(() => flowOf(app, 'fulfill')).toThrow(/did you mean 'fulfil'\?/)
  })

  it('is refused when its function returns nothing that can be sent', async () => {
    const app = newApp()
    modules.set(app, { exported: { fulfil: () => 17 }, workers: [] })

    const error = await rejection(flowOf(app).build({}))

    expect(error).toMatchObject({ code: 'CANVAS_INVALID', message: expect.stringMatching(/and returned 17;/) })
  })
})

describe('the sender', () => {
  /** A flow whose send takes so long. */
  function slowFlow(clock: ManualClock, ms: number): Flow {
    let sent = 0
    const send = () => new Promise((resolve) => clock.after(ms, () => resolve({ id: `task-${sent++}` })))
    return { name: 'slow', build: async () => ({ kind: 'signature', sender: { send } }) as never }
  }

  it('sends at the moments that were fixed, however slow the broker is', async () => {
    const clock = new ManualClock()
    const begin = clock.now()
    const flows: SentFlow[] = []
    const sender = new Sender({
      flow: slowFlow(clock, 5_000),
      inputs,
      arrivals: { kind: 'rate', perSecond: 10, forMs: 1_000 },
      clock,
      onSent: (flow) => flows.push(flow),
    })

    const running = sender.run(new AbortController().signal)
    await clock.advance(10_000)
    await running

    expect(flows.map(({ sentMs }) => sentMs - begin)).toEqual([0, 100, 200, 300, 400, 500, 600, 700, 800, 900])
    expect(sender.late.summary.maxMs).toBeLessThan(1)
  })

  it('keeps the moment a flow was due where it comes too late, and tells how late', async () => {
    const clock = new ManualClock()
    const begin = clock.now()
    const flows: SentFlow[] = []
    // More than may be under way are due at once; each takes a second.
    const sender = new Sender({
      flow: slowFlow(clock, 1_000),
      inputs,
      arrivals: { kind: 'drain', count: 1_500 },
      clock,
      onSent: (flow) => flows.push(flow),
    })

    const running = sender.run(new AbortController().signal)
    await clock.advance(5_000)
    await running

    expect(flows).toHaveLength(1_500)
    expect(new Set(flows.map(({ intendedMs }) => intendedMs - begin))).toEqual(new Set([0]))
    expect(flows.filter(({ sentMs }) => sentMs - begin >= 1_000)).toHaveLength(500)
    expect(sender.late.summary.maxMs).toBeGreaterThanOrEqual(1_000)
  })
})

describe('outcomes', () => {
  it('count from the moment a flow was due, by the time that the worker stored', async () => {
    const clock = new ManualClock()
    const dueMs = clock.now() - 700
    const record = { ...resultRecord({ taskId: 'last' }), status: 'SUCCESS', doneAt: clock.now() - 200 }
    const results = { load: async () => [record] } as unknown as ResultStore
    const outcomes = new Outcomes(results, clock, () => undefined)

    outcomes.add({ rootId: 'first', lastId: 'last', intendedMs: dueMs, sentMs: dueMs + 400 })
    await outcomes.look()

    expect(outcomes.latency.summary).toMatchObject({ count: 1, maxMs: 500 })
  })
})

describe('the measures of a stage', () => {
  const flow: SentFlow = { rootId: 'a', lastId: 'b', intendedMs: 999_000, sentMs: 1_000_000 }
  const received = (uuid: string, name: string, fields: object = {}): ReceivedEvent => ({
    type: 'task-received',
    uuid,
    name,
    root_id: 'a',
    timestamp: 1_000,
    ...fields,
  })
  const at = (type: string, uuid: string, timestamp: number, fields: object = {}): ReceivedEvent => ({
    type,
    uuid,
    timestamp,
    ...fields,
  })
  const tally = () => new CallTally((task) => `${task}-queue`)

  /** Of a flow of two steps, the first of which needs two tries. */
  const events = [
    received('a', 'pick'),
    at('task-started', 'a', 1_000.1),
    at('task-retried', 'a', 1_000.3),
    received('a', 'pick', { eta: new Date(1_002_000).toISOString(), retries: 1 }),
    at('task-started', 'a', 1_002.5),
    at('task-succeeded', 'a', 1_002.6, { runtime: 0.0995 }),
    received('b', 'pack', { parent_id: 'a' }),
    at('task-started', 'b', 1_003.6),
    at('task-succeeded', 'b', 1_004.6, { runtime: 1 }),
  ]

  const sumOf = ({ summary: { count, meanMs } }: Times) => [count, Math.round(count * (meanMs ?? 0))]
  const measuresOf = (calls: CallTally) =>
    calls.stages.map(({ task, queue, retries, succeeded, wait: waits, run: runs }) => ({
      ...{ task, queue, retries, succeeded },
      waited: sumOf(waits),
      ran: sumOf(runs),
    }))

  const measures = [
    // It waited 100 ms for its first run and 500 ms beyond its backoff for the second; that ran 200 ms and 99.5 ms.
    { task: 'pick', queue: 'pick-queue', retries: 1, succeeded: 1, waited: [2, 600], ran: [2, 300] },
    { task: 'pack', queue: 'pack-queue', retries: 0, succeeded: 1, waited: [1, 1_000], ran: [1, 1_000] },
  ]

  it('are waits since the step before, without the backoff of retries, and runs of every try', () => {
    const calls = tally()
    calls.sent(flow)

    const ended = events.filter((event) => calls.apply(event) !== undefined)

    expect(measuresOf(calls)).toEqual(measures)
    expect(ended).toEqual([events.at(-1)]) // the last step's: its outcome may be looked up
  })

  it('are the same when all is heard before the sender knows that it has sent', () => {
    const calls = tally()
    for (const event of events) calls.apply(event)
    expect(calls.stages).toEqual([])

    const mayHaveEnded = calls.sent(flow)

    expect(mayHaveEnded).toBe(true)
    expect(measuresOf(calls)).toEqual(measures)
  })

  it('are the same when a step is heard to start before the one before it is heard to end', () => {
    const calls = tally()
    calls.sent(flow)
    const [before, late, after] = [events.slice(0, 5), events.slice(5, 6), events.slice(6)]

    for (const event of [...before, ...after, ...late]) calls.apply(event)

    expect(measuresOf(calls)).toEqual(measures)
  })

  it('are the same when events come twice', () => {
    const calls = tally()
    calls.sent(flow)
    const numbered = events.map((event, clock) => ({ ...event, hostname: 'w@h', pid: 1, clock }))

    for (const event of numbered.flatMap((one) => [one, one])) calls.apply(event)

    expect(measuresOf(calls)).toEqual(measures)
  })

  it('leave out what other senders have sent', () => {
    const calls = tally()
    calls.sent({ ...flow, rootId: 'other', lastId: 'other' })

    for (const event of events) calls.apply(event)

    expect(calls.stages).toEqual([])
  })
})
