/** What can be done through the monitor, with its effect seen on the worker. */
import type { Celeriac, Worker } from 'celeriac'
import { afterEach, describe, expect, it } from 'vitest'
import { taskEventsTopic } from '../../src/events/event.ts'
import { startMonitor } from '../../src/monitor/monitor.ts'
import { gate, memoryUrl, newApp, silent, sqliteUrl, until } from '../flow/fixture.ts'
import { describeWith, rabbitmq, redisUrl } from '../servers/index.ts'
import { fast, monitoring } from './fixture.ts'

const brokers = [
  { broker: 'memory', url: async () => memoryUrl(), needs: [] },
  { broker: 'sqlite', url: async () => sqliteUrl(), needs: [] },
  { broker: 'redis', url: redisUrl, needs: ['redis'] },
  { broker: 'rabbitmq', url: async () => (await rabbitmq()).url, needs: ['rabbitmq'] },
] as const

const folderless = ':memory:'
let names = 0
const unique = (what: string): string => `${what}-${process.pid}-${Date.now()}-${++names}`

interface Floor {
  readonly app: Celeriac
  readonly worker: Worker
  readonly queue: string
  readonly runs: unknown[]
}

/** A worker with a task that does what it is told. */
async function floor(broker: string, concurrency = 10): Promise<Floor> {
  const queue = unique('floor')
  const app = newApp({ broker, defaultQueue: queue, results: false })
  const runs: unknown[] = []
  app.task('note', { maxRetries: 0 }, (...args: unknown[]) => {
    runs.push(args)
    if (args[0] === 'fail') throw new RangeError(`no ${String(args[1])}`)
  })
  const worker = await app.worker({ taskEvents: true, concurrency, name: `${unique('w')}@here` })
  return { app, worker, queue, runs }
}

const note = (app: Celeriac) => app.remote<unknown[], void>('note')

for (const { broker: kind, url, needs } of brokers) {
  describeWith(needs, `on ${kind}`, () => {
    it('a task is run again with the very arguments it had, or with others', async () => {
      const broker = await url()
      const { get, post } = await monitoring(broker)
      const { app, runs, queue } = await floor(broker)
      const { id } = await note(app).delay('one', { deep: [1, null, true] })
      await until(async () => (await get(`/tasks?id=${id}&state=SUCCESS`)).tasks.length === 1)

      const again = await post(`/tasks/${id}/retry`, {})
      const edited = await post(`/tasks/${id}/retry`, { args: ['two'] })

      await until(() => runs.length === 3)
      expect(again).toMatchObject({ how: 'sent' })
      expect(edited.id).not.toBe(again.id)
      expect(runs).toEqual(expect.arrayContaining([['one', { deep: [1, null, true] }], ['two']]))
      expect(runs.filter((args) => JSON.stringify(args) === '["one",{"deep":[1,null,true]}]')).toHaveLength(2)
      await until(async () => (await get(`/tasks?queue=${queue}&state=SUCCESS`)).tasks.length === 3)
    })

    it('dead letters that are alike go back together, or are dropped', async () => {
      const broker = await url()
      const { get, post } = await monitoring(broker)
      const { app, runs, queue } = await floor(broker)
      for (const what of ['bread', 'milk']) for (let n = 0; n < 3; n += 1) await note(app).delay('fail', what)
      await until(async () => (await get(`/dead-letters?queue=${queue}`)).length === 6)

      const [group] = await get(`/dead-letters/groups?queue=${queue}`)
      expect(group).toMatchObject({ task: 'note', type: 'RangeError', count: 6, queue })
      const letters = { queue, fingerprint: group.fingerprint }
      const dry = await post('/dead-letters/redrive', { letters, dryRun: true })
      const redriven = await post('/dead-letters/redrive', { letters, edit: { args: ['mended'] }, perSecond: 100 })

      expect(dry).toEqual({ count: 6, job: null })
      await until(() => runs.filter((args) => JSON.stringify(args) === '["mended"]').length === 6, 20_000)
      await until(async () => (await get(`/jobs/${redriven.job.id}`)).state === 'done')
      expect(await get(`/jobs/${redriven.job.id}`)).toMatchObject({ done: 6, failed: 0 })

      await note(app).delay('fail', 'eggs')
      await until(async () => (await get(`/dead-letters?queue=${queue}`)).length === 1)
      const { job } = await post('/dead-letters/discard', { letters: { queue } })
      await until(async () => (await get(`/jobs/${job.id}`)).state === 'done')
      expect(await get(`/dead-letters?queue=${queue}`)).toEqual([])
    })

    it('a queue is held, resumed, and emptied by who types its name', async () => {
      const broker = await url()
      const { get, post, ask, app: own } = await monitoring(broker)
      const { app, runs, queue } = await floor(broker)
      await note(app).delay('first')
      await until(() => runs.length === 1)
      await until(async () => (await ask('get', `/queues/${queue}`)).status === 200)

      await post(`/queues/${queue}/pause`)
      const paused = await get(`/queues/${queue}`)
      await note(app).delay('held')
      await until(async () => (await get(`/queues/${queue}`)).ready === 1)
      const held = runs.length
      const messages = own.broker.capabilities.silentPeek ? await get(`/queues/${queue}/messages`) : undefined
      await post(`/queues/${queue}/resume`)
      await until(() => runs.length === 2)

      expect(paused.paused).toBe(true)
      expect(held).toBe(1)
      if (messages !== undefined) expect(messages).toMatchObject([{ task: 'note', state: 'ready', args: ['held'] }])
      const wrong = await ask('post', `/queues/${queue}/purge`, { confirm: 'another' })
      expect(wrong).toMatchObject({ status: 400, body: { error: { code: 'CONFIG_INVALID' } } })

      await post(`/queues/${queue}/pause`)
      for (let n = 0; n < 3; n += 1) await note(app).delay('dropped')
      await until(async () => (await get(`/queues/${queue}`)).ready === 3)
      expect(await post(`/queues/${queue}/purge`, { confirm: queue })).toEqual({ purged: 3 })
      await post(`/queues/${queue}/resume`)
    })

    it('a worker does what it is told', async () => {
      const broker = await url()
      const { get, post } = await monitoring(broker, { inspectTimeoutMs: 300 })
      const { app, worker, queue, runs } = await floor(broker, 2)
      const path = `/workers/${encodeURIComponent(worker.name)}`
      const known = async () => (await get('/workers')).find(({ name }: { name: string }) => name === worker.name)
      await until(async () => (await known())?.concurrency === 2)

      expect(await post(`${path}/grow`, { n: 3 })).toMatchObject({ done: true })
      await until(async () => (await known()).concurrency === 5)
      expect(await post(`${path}/shrink`, { n: 2 })).toMatchObject({ done: true })
      await until(async () => (await known()).concurrency === 3)

      const second = unique('second')
      expect(await post(`${path}/add-consumer`, { queue: second })).toMatchObject({ done: true })
      await until(async () => (await known()).queues.includes(second))
      await note(app).applyAsync(['elsewhere'], { queue: second })
      await until(() => runs.length === 1)
      expect(await post(`${path}/cancel-consumer`, { queue: second })).toMatchObject({ done: true })
      await until(async () => !(await known()).queues.includes(second))

      expect(await post(`${path}/rate-limit`, { task: 'note', rate: '100/s' })).toMatchObject({ done: true })
      expect(await post(`${path}/time-limit`, { task: 'note', soft: 5, hard: 10 })).toMatchObject({ done: true })
      expect(await post(`${path}/rate-limit`, { task: 'unheard', rate: '1/s' })).toMatchObject({ done: false })
      expect(await get(path)).toMatchObject({
        isAlive: true,
        memoryBytes: expect.any(Number),
        loopLagMs: expect.any(Number),
        queues: [queue],
        registered: expect.arrayContaining([expect.stringMatching(/^note/)]),
      })

      await post(`${path}/shutdown`)
      await until(() => worker.stopping.aborted)
    })
  })
}

describe('what a worker is told', () => {
  it('changes how many tasks of a kind it starts, and how long they may run', async () => {
    const { get, post, app } = await monitoring(memoryUrl())
    const runs: number[] = []
    const note = app.task('note', (n: number) => void runs.push(n))
    const wait = app.task(
      'wait',
      { bind: true, maxRetries: 0 },
      (ctx) => new Promise((resolve) => ctx.signal.addEventListener('abort', resolve)),
    )
    const { name } = await app.worker({ taskEvents: true, name: 'w1@here' })
    await until(async () => (await get('/workers')).length === 1)
    const path = `/workers/${name}`

    await post(`${path}/rate-limit`, { task: 'note', rate: '1/h' })
    await post(`${path}/time-limit`, { task: 'wait', soft: null, hard: 0.2 })
    for (let n = 0; n < 3; n += 1) await note.delay(n)
    const { id } = await wait.delay()

    await until(async () => (await get(`/tasks?id=${id}&state=FAILURE`)).tasks.length === 1)
    expect((await get(`/tasks/${id}`)).error).toMatch(/TimeLimitExceeded/)
    expect(runs).toHaveLength(1)
    await post(`${path}/rate-limit`, { task: 'note', rate: null })
    await note.delay(9)
    await until(() => runs.includes(9))
  })

  it('changes the bounds of a pool that scales itself', async () => {
    const { get, post, app } = await monitoring(memoryUrl())
    await app.worker({ autoscale: { max: 4, min: 2 }, name: 'w1@here' })
    await until(async () => (await get('/workers'))[0]?.concurrency === 2)

    expect(await post('/workers/w1@here/autoscale', { max: 9, min: 7 })).toMatchObject({ done: true })

    await until(async () => (await get('/workers'))[0].concurrency === 7)
  })

  it('has it tell of its tasks, or not', async () => {
    const { get, post, app } = await monitoring(memoryUrl(), { enableEvents: false })
    const note = app.task('note', () => undefined)
    await app.worker({ name: 'w1@here' })
    await until(async () => (await get('/workers')).length === 1)

    await post('/workers/w1@here/enable-events')
    const { id } = await note.delay()
    await until(async () => (await get(`/tasks?id=${id}&state=SUCCESS`)).tasks.length === 1)
    await post('/workers/w1@here/disable-events')
    await note.delay()
    await post('/workers/w1@here/enable-events')
    const last = await note.delay()
    await until(async () => (await get(`/tasks?id=${last.id}&state=SUCCESS`)).tasks.length === 1)

    expect((await get('/tasks/count')).count).toBe(2)
  })

  it('reaches workers and queues whatever their names are', async () => {
    const { get, post, app } = await monitoring(memoryUrl())
    const queue = 'a/b c?d#e%2F'
    const { name } = await app.worker({ name: 'w/1 %x@here', queues: [queue] })
    await until(async () => (await get('/workers')).length === 1)
    await app.remote('far', { queue }).delay()
    await until(async () => (await get('/queues')).some((known: { name: string }) => known.name === queue))

    expect(await get(`/queues/${encodeURIComponent(queue)}`)).toMatchObject({ name: queue })
    expect(await post(`/workers/${encodeURIComponent(name)}/grow`, {})).toMatchObject({ done: true })
  })
})

describe('many tasks', () => {
  const endings: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const end of endings.splice(0)) await end()
  })

  it('are counted first, then run again', async () => {
    const broker = memoryUrl()
    const { get, post } = await monitoring(broker)
    const { app, runs } = await floor(broker)
    for (let n = 0; n < 7; n += 1) await note(app).delay('run', n)
    await until(async () => (await get('/tasks/count?state=SUCCESS')).count === 7)

    const bulk = { action: 'retry', filter: { name: ['no*'], state: ['SUCCESS'] } }
    const dry = await post('/tasks/bulk', { ...bulk, dryRun: true })
    const { job } = await post('/tasks/bulk', bulk)

    expect(dry).toEqual({ count: 7, job: null })
    await until(() => runs.length === 14)
    await until(async () => (await get(`/jobs/${job.id}`)).state === 'done')
    expect(await get(`/jobs/${job.id}`)).toMatchObject({ total: 7, done: 7, failed: 0 })
  })

  it('are gone on with after a restart of the monitor, none twice', async () => {
    const broker = sqliteUrl()
    const db = `${broker.slice('sqlite://'.length)}.monitor`
    const { app, runs } = await floor(broker)
    const own = newApp({ broker })
    const options = { app: own, db, port: 0, logger: silent, ...fast }
    const first = await startMonitor(options)
    for (let n = 0; n < 20; n += 1) await note(app).delay('run', n)
    const count = async (url: string): Promise<number> =>
      ((await (await fetch(`${url}/api/v1/tasks/count?state=SUCCESS`)).json()) as { count: number }).count
    await until(async () => (await count(first.url)) === 20)
    await fetch(`${first.url}/api/v1/tasks/bulk`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ action: 'retry', filter: {}, perSecond: 10 }),
    })
    await until(() => runs.length >= 25)

    await first.close()
    expect(runs.length).toBeLessThan(40)
    const second = await startMonitor(options)
    endings.push(() => second.close())

    await until(async () => {
      const [job] = (await (await fetch(`${second.url}/api/v1/jobs`)).json()) as { state: string }[]
      return job?.state === 'done'
    })
    await until(() => runs.length === 40)
    const counts = new Map<string, number>()
    for (const args of runs) counts.set(JSON.stringify(args), (counts.get(JSON.stringify(args)) ?? 0) + 1)
    expect([...counts.values()]).toEqual(Array.from({ length: 20 }, () => 2))
  })

  it('are not sent to a queue that may be the wrong one', async () => {
    const { app, get, ask } = await monitoring(memoryUrl())
    const bus = await app.bus()
    const received = { type: 'task-received', hostname: 'w1@far', clock: 1, timestamp: 1, uuid: 'a', name: 'far.away' }
    await bus.publish(taskEventsTopic, [{ ...received, args: '()', kwargs: '{}' }])
    await until(async () => (await get('/tasks')).tasks.length === 1)

    const refused = await ask('post', '/tasks/a/retry', {})

    expect(refused).toMatchObject({
      status: 400,
      body: { error: { message: expect.stringContaining('give `queue`') } },
    })
    expect((await ask('post', '/tasks/a/retry', { queue: 'far' })).status).toBe(200)
    expect(await app.broker.depth('far')).toMatchObject({ ready: 1 })
  })

  it('are revoked before they run, and ended while they do', async () => {
    const broker = memoryUrl()
    const { get, post } = await monitoring(broker)
    const { opened, open } = gate()
    const app = newApp({ broker })
    let ended = 0
    const wait = app.task('wait', { bind: true, maxRetries: 0 }, async (ctx) => {
      await Promise.race([opened, new Promise((resolve) => ctx.signal.addEventListener('abort', resolve))])
      if (ctx.signal.aborted) ended += 1
    })
    await app.worker({ taskEvents: true, concurrency: 1 })
    const running = await wait.delay()
    await until(async () => (await get(`/tasks?id=${running.id}&state=STARTED`)).tasks.length === 1)
    const waiting = await wait.delay()

    await post(`/tasks/${waiting.id}/revoke`, {})
    await post(`/tasks/${running.id}/revoke`, { terminate: true })

    await until(() => ended === 1)
    await until(async () => (await get(`/tasks?id=${waiting.id}&state=REVOKED`)).tasks.length === 1)
    open()
  })

  it('come by the page, none twice and none missing, while others come in', async () => {
    const broker = memoryUrl()
    const { get } = await monitoring(broker, { db: folderless })
    const { app } = await floor(broker)
    for (let n = 0; n < 30; n += 1) await note(app).delay('run', n)
    await until(async () => (await get('/tasks/count')).count === 30)

    const ids: string[] = []
    for (let before: number | null | undefined; before !== null; ) {
      const page = await get(`/tasks?limit=7${before === undefined ? '' : `&before=${before}`}`)
      ids.push(...page.tasks.map(({ id }: { id: string }) => id))
      before = page.next
      const { id } = await note(app).delay('later')
      await until(async () => (await get(`/tasks?id=${id}`)).tasks.length === 1)
    }

    expect(new Set(ids).size).toBe(ids.length)
    expect(ids).toHaveLength(30)
    expect((await get('/tasks?text=%22later%22')).tasks).toHaveLength(5)
    expect((await get('/tasks?text=lat&state=SUCCESS&limit=2')).tasks).toHaveLength(2)
    expect((await get('/tasks/count?text=later&name=n*')).count).toBe(5)
    expect((await get('/tasks?text=later&state=FAILURE')).tasks).toEqual([])
    expect((await get(`/tasks?text=run&from=0&to=${Date.now() + 60_000}&id=${ids[0]}`)).tasks).toHaveLength(1)
    expect((await get('/tasks?state=FAILURE')).tasks).toEqual([])
    expect((await get(`/tasks?from=${Date.now() + 60_000}`)).tasks).toEqual([])
  })
})

describe('schedules', () => {
  it('are shown, run now, held, resumed and removed', async () => {
    const broker = sqliteUrl()
    const { get, post, ask, app: own } = await monitoring(broker)
    const { runs } = await floor(broker)
    await own.schedules.add('tidy up', {
      task: 'note',
      schedule: { every: '1h' },
      args: ['tidy'],
      options: { queue: 'q' },
    })
    const worker = newApp({ broker, defaultQueue: 'q' })
    worker.task('note', (what: string) => runs.push(what))
    await worker.worker()

    expect(await get('/schedules')).toMatchObject([
      { name: 'tidy up', task: 'note', isPaused: false, queue: 'q', sent: 0 },
    ])
    await post('/schedules/tidy%20up/run')
    await until(() => runs.length === 1)
    expect(await post('/schedules/tidy%20up/pause')).toMatchObject({ isPaused: true, nextAt: null })
    expect(await post('/schedules/tidy%20up/resume')).toMatchObject({ isPaused: false, sent: 1 })
    expect((await ask('delete', '/schedules/tidy%20up')).status).toBe(200)
    expect(await get('/schedules')).toEqual([])
    expect((await ask('post', '/schedules/tidy%20up/run')).status).toBe(404)
  })
})
