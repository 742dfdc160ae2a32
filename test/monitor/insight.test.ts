/** What the facts mean: pipelines, what is wrong now, and the numbers for Prometheus. */
import { chain, Retry } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { trendOf } from '../../src/monitor/insight/trend.ts'
import { memoryUrl, newApp, sqliteUrl, until } from '../flow/fixture.ts'
import { monitoring } from './fixture.ts'

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** A warehouse whose packing is slow. */
async function warehouse(broker: string) {
  const app = newApp({ broker })
  const pick = app.task('pick', { queue: 'picking' }, async (order: number) => order)
  const pack = app.task('pack', { queue: 'packing' }, async (order: number) => {
    await pause(30)
    return order
  })
  const ship = app.task('ship', { queue: 'shipping' }, async (order: number) => order)
  const site = await monitoring(broker, { app })
  for (const [queue, concurrency] of Object.entries({ picking: 4, packing: 1, shipping: 4 })) {
    await app.worker({ name: `${queue}@here`, queues: [queue], concurrency, taskEvents: true })
  }
  const send = (count: number) =>
    Promise.all(Array.from({ length: count }, (_, i) => chain(pick.s(i), pack.s(), ship.s()).delay()))
  return { ...site, send }
}

describe('pipelines', () => {
  it('are the stages that send each other, and the busy one is named, with what one more worker would do', async () => {
    const { send, get } = await warehouse(sqliteUrl())
    await until(
      async () => (await get('/workers')).filter(({ concurrency }: never) => concurrency !== null).length === 3,
    )
    await send(200)

    // At first it is the stage whose queue was just filled.
    await until(async () => (await get('/pipelines'))[0]?.bottleneck?.task === 'pack', 30_000)

    const [{ name, stages, edges, bottleneck }] = await get('/pipelines')
    expect(name).toBe('pick → pack → ship')
    expect(stages.map(({ queue, slots }: { queue: string; slots: number }) => [queue, slots])).toEqual([
      ['picking', 4],
      ['packing', 1],
      ['shipping', 4],
    ])
    expect(edges.map(({ from, to }: { from: string; to: string }) => `${from} ${to}`).sort()).toEqual([
      'pack ship',
      'pick pack',
    ])
    expect(bottleneck).toMatchObject({ task: 'pack', command: 'celeriac worker -Q packing -c 1' })
    expect(bottleneck.reason).toMatch(/^a run of \d+(\.\d+)? ms in 1 slots is \d+\/s at most/)
    const now = 1_000 / stages[1].run.meanMs
    expect(bottleneck.oneMoreWorker.perS).toBeGreaterThan(now * 1.8)
    expect(bottleneck.oneMoreWorker.perS).toBeLessThan(now * 2.2)
  }, 60_000)

  it('have no bottleneck where nothing is busy, and are none where a task sends nothing', async () => {
    const { app, send, get } = await warehouse(memoryUrl())
    app.task('alone', { queue: 'picking' }, () => undefined)
    await app.remote('alone', { queue: 'picking' }).delay()
    await send(3)

    await until(async () => (await get('/tasks?name=ship&state=SUCCESS')).tasks.length === 3)

    expect(await get('/pipelines')).toMatchObject([{ name: 'pick → pack → ship', bottleneck: null }])
  })

  it('name a stage that no worker serves', async () => {
    const broker = memoryUrl()
    const app = newApp({ broker })
    const first = app.task('first', { queue: 'served' }, async (n: number) => n)
    const second = app.task('second', { queue: 'forgotten' }, async (n: number) => n)
    const { get } = await monitoring(broker, { app })
    const worker = await app.worker({ queues: ['served', 'forgotten'], taskEvents: true })
    await chain(first.s(1), second.s()).delay()
    await until(async () => (await get('/pipelines')).length === 1)
    await worker.stop()
    await second.delay(2)

    await until(async () => (await get('/pipelines'))[0].bottleneck !== null)

    expect((await get('/pipelines'))[0].bottleneck).toMatchObject({
      task: 'second',
      command: 'celeriac worker -Q forgotten',
    })
  })
})

describe('what is wrong now', () => {
  const kindsOf = (sos: { findings: { kind: string; about: { name: string } }[] }) =>
    sos.findings.map(({ kind, about }) => `${kind} ${about.name}`)

  it('is nothing in a fleet that is well, and every check is named', async () => {
    const { send, get } = await warehouse(memoryUrl())
    await send(3)
    await until(async () => (await get('/tasks?name=ship&state=SUCCESS')).tasks.length === 3)

    const { level, findings, checked } = await get('/sos')

    expect({ level, findings }).toEqual({ level: 'ok', findings: [] })
    expect(checked.length).toBeGreaterThan(10)
  })

  it('is told with what helps, the worst first', async () => {
    const broker = memoryUrl()
    const app = newApp({ broker })
    const fail = app.task('fail', { queue: 'shop', maxRetries: 0 }, () => {
      throw new RangeError('no')
    })
    const again = app.task('again', { queue: 'shop', maxRetries: 1_000 }, () => {
      throw new Retry({ countdownMs: 0 })
    })
    const same = app.task('same', { queue: 'shop' }, (_what: string) => undefined)
    const { get, post } = await monitoring(broker, { app })
    await app.remote('lost', { queue: 'nowhere' }).delay()
    await app.remote('held', { queue: 'held' }).delay()
    await app.worker({ queues: ['shop'], taskEvents: true })
    await until(async () => (await get('/queues')).length >= 2)
    await post('/queues/held/pause')
    await Promise.all(Array.from({ length: 60 }, () => same.delay('this')))
    await Promise.all(Array.from({ length: 6 }, () => fail.delay()))
    await again.delay()

    const expected = [
      'queue-unserved nowhere',
      'error-rate fail',
      'retry-storm again',
      'hot-key same',
      'queue-paused held',
    ]
    await until(async () => {
      const found = kindsOf(await get('/sos'))
      return expected.every((kind) => found.includes(kind))
    }, 10_000)
    const sos = await get('/sos')
    expect(sos.level).toBe('critical')
    const levels = sos.findings.map(({ level }: { level: string }) => ['critical', 'warn', 'info'].indexOf(level))
    expect(levels).toEqual([...levels].sort())
    const held = sos.findings.find(({ kind }: { kind: string }) => kind === 'queue-paused')
    const { method, path, body } = held.remedy
    await post(path, body)
    expect(method).toBe('post')
    await until(async () => !kindsOf(await get('/sos')).includes('queue-paused held'))
  }, 30_000)
})

describe('a trend', () => {
  const points = (of: (n: number) => number) => Array.from({ length: 90 }, (_, n) => ({ at: n * 10_000, value: of(n) }))

  it('is a line through what is measured', () => {
    expect(trendOf(points((n) => 100 + n))).toMatchObject({
      perHour: expect.closeTo(360, 5),
      last: expect.closeTo(189, 5),
    })
    expect(trendOf(points((n) => 100 + n))?.fit).toBeCloseTo(1)
    expect(trendOf(points(() => 5))).toMatchObject({ perHour: 0, fit: 0, spanMs: 890_000 })
    expect(trendOf(points((n) => n).slice(0, 5))).toBeUndefined()
  })

  it('does not take the sawtooth of a garbage collector for a leak', () => {
    expect(trendOf(points((n) => 100 + (n % 15) * 10))?.fit).toBeLessThan(0.3)
    // A leak beneath it is one.
    expect(trendOf(points((n) => 100 + n * 5 + (n % 15) * 10))?.fit).toBeGreaterThan(0.8)
  })
})

describe('/metrics', () => {
  it('counts what tasks did, and tells of queues and workers, in ours and Flower’s names', async () => {
    const broker = memoryUrl()
    const app = newApp({ broker })
    const add = app.task('add', { queue: 'a "shop"' }, (a: number, b: number) => a + b)
    const { url, get } = await monitoring(broker, { app, flowerMetrics: true })
    const worker = await app.worker({ queues: ['a "shop"'], concurrency: 3, taskEvents: true })
    await Promise.all([add.delay(1, 2), add.delay(3, 4)])
    await until(async () => (await get('/tasks?state=SUCCESS')).tasks.length === 2)
    await until(async () => (await get('/workers'))[0]?.concurrency === 3)

    const response = await fetch(`${url}/metrics`)
    const values = parsed(await response.text())

    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
    const labels = 'task="add",queue="a \\"shop\\""'
    expect(values[`celeriac_task_events_total{${labels},event="succeeded"}`]).toBe(2)
    expect(values[`celeriac_task_run_seconds_count{${labels}}`]).toBe(2)
    expect(values[`celeriac_task_run_seconds_bucket{${labels},le="+Inf"}`]).toBe(2)
    expect(values[`celeriac_worker_slots{worker="${worker.name}"}`]).toBe(3)
    expect(values['celeriac_queue_ready{queue="a \\"shop\\""}']).toBe(0)
    expect(values[`flower_events_total{worker="${worker.name}",task="add",type="task-succeeded"}`]).toBe(2)
    expect(values[`flower_worker_online{worker="${worker.name}"}`]).toBe(1)
  })
})

/** Every sample by its name and labels; throws on a line that is none. */
function parsed(text: string): Record<string, number> {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = '', value] =
        /^([a-z_]+(?:\{(?:[a-z]+="(?:[^"\\\n]|\\.)*",?)*\})?) (-?[\d.e+-]+)$/.exec(line) ?? []
      if (name === '') throw new Error(`not a sample: ${line}`)
      return [name, Number(value)]
    }),
  )
}
