import { type ResultRecord, TaskFailedError } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { brokers, gate, newApp, publishForeign, rejection, sqliteUrl, until } from './fixture.ts'

describe.each(brokers)('a result, on $broker', ({ url }) => {
  it('is the value the task returned', async () => {
    const app = newApp({ broker: url() })
    const values: unknown[] = [
      0,
      '',
      false,
      null,
      [],
      {},
      'ü',
      1.5,
      { a: [1, { b: null }] },
      new Date(5),
      [new Uint8Array([1])],
    ]
    const pick = app.task('pick', (index: number) => values[index])
    const nothing = app.task('nothing', () => undefined)
    await app.worker()

    const results = await pick.delayMany(values.map((_value, index) => [index]))

    expect(await Promise.all(results.map((result) => result.get()))).toEqual(values)
    expect(await (await nothing.delay()).get()).toBeNull()
  })

  it('is pushed to who waits, and there for who asks later', async () => {
    const app = newApp({ broker: url() })
    const { opened, open } = gate()
    const slow = app.task('slow', async () => {
      await opened
      return 'done'
    })
    await app.worker()

    const result = await slow.delay()
    const waiting = [result.get(), app.result(result.id).get()]
    open()

    expect(await Promise.all(waiting)).toEqual(['done', 'done'])
    expect(await app.result(result.id).get()).toBe('done')
  })

  it('tells of the run: when, where, by whom, in how many attempts', async () => {
    const app = newApp({ broker: url() })
    const pick = app.task('pick', { queue: 'picking' }, () => 1)
    await app.worker({ name: 'w1@h' })

    const result = await pick.delay()
    await result.get()
    const info = (await result.info()) as ResultRecord

    expect(info).toMatchObject({
      taskId: result.id,
      status: 'SUCCESS',
      result: 1,
      traceback: null,
      children: [],
      dateDone: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/),
      parentId: null,
      rootId: result.id,
      name: 'pick',
      queue: 'picking',
      worker: 'w1@h',
      retries: 0,
      fence: 1,
    })
    expect(info.sentAt).toBeLessThanOrEqual(info.startedAt as number)
    expect(info.startedAt).toBeLessThanOrEqual(info.doneAt as number)
  })

  it('of a failed task is its error: class, text and traceback with the causes', async () => {
    const app = newApp({ broker: url() })
    const pick = app.task('pick', () => {
      throw new RangeError('no bin 7', { cause: new Error('the map is torn') })
    })
    await app.worker()

    const error = await rejection((await pick.delay()).get())

    expect(error).toBeInstanceOf(TaskFailedError)
    expect(error).toMatchObject({ code: 'TASK_FAILED', type: 'RangeError', message: 'no bin 7' })
    expect((error as TaskFailedError).traceback).toMatch(
      /RangeError: no bin 7\n +at [\s\S]*results\.test\.ts[\s\S]*Caused by: Error: the map is torn/,
    )
  })

  it.each([
    ['a text', 'out of order', { type: 'Error', message: 'out of order' }],
    ['an object', { reason: 'stock' }, { type: 'Error', message: 'thrown value: {"reason":"stock"}' }],
    ['nothing', undefined, { type: 'Error', message: 'thrown value: null' }],
  ])('of a task that threw %s says so', async (_what, value, expected) => {
    const app = newApp({ broker: url() })
    const pick = app.task('pick', () => {
      throw value
    })
    await app.worker()

    expect(await rejection((await pick.delay()).get())).toMatchObject({ ...expected, traceback: null })
  })

  it('is waited for no longer than the timeout, and goes on being there', async () => {
    const app = newApp({ broker: url() })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.open()

    const result = await add.delay(2, 3)
    const error = await rejection(result.get({ timeout: '20ms' }))
    await app.worker()

    expect(error).toMatchObject({ code: 'RESULT_TIMEOUT' })
    expect(error.message).toBe(
      `task ${result.id} had not ended after 20ms; it may still be waiting or running (state: PENDING)`,
    )
    expect(await result.get({ timeout: '25s' })).toBe(5)
  })

  it('is waited for until the signal aborts, which is then the reason', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)
    const controller = new AbortController()
    const reason = new Error('no longer wanted')

    const result = await add.delay(2, 3)
    const waiting = rejection(result.get({ signal: controller.signal }))
    controller.abort(reason)

    expect(await waiting).toBe(reason)
    expect(await rejection(result.get({ signal: controller.signal }))).toBe(reason)
  })

  it('is UNKNOWN by an id that was never sent, and after it is forgotten', async () => {
    const app = newApp({ broker: url() })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()
    const result = await add.delay(2, 3)
    await result.get()

    await result.forget()

    expect(await result.state()).toBe('UNKNOWN')
    expect(await result.info()).toBeUndefined()
    expect(await app.result('nobody').state()).toBe('UNKNOWN')
    expect(await app.result('nobody').tree()).toMatchObject({ state: 'UNKNOWN', name: null, children: [] })
  })

  it('may be watched: each state as it comes, up to the last', async () => {
    const app = newApp({ broker: url() })
    const { opened, open } = gate()
    const { opened: seen, open: see } = gate()
    const count = app.task('count', { bind: true, trackStarted: true }, async (ctx) => {
      await opened
      await ctx.updateState('PROGRESS', { done: 1, of: 2, since: new Date(0) })
      await seen
      return 'counted'
    })
    const result = await count.delay()

    const states: [string, unknown][] = []
    const watching = (async () => {
      for await (const { status, result: value } of result.watch()) {
        states.push([status, value])
        if (status === 'PENDING') await app.worker({ name: 'w1@h' })
        if (status === 'STARTED') open()
        if (status === 'PROGRESS') see()
      }
    })()
    await watching

    expect(states).toEqual([
      ['PENDING', null],
      ['STARTED', { hostname: 'w1@h', pid: process.pid }],
      ['PROGRESS', { done: 1, of: 2, since: new Date(0) }],
      ['SUCCESS', 'counted'],
    ])
  })

  it('of a task with `ignoreResult` is not kept, nor waited for', async () => {
    const app = newApp({ broker: url() })
    let runs = 0
    const quiet = app.task('quiet', { bind: true, ignoreResult: true, trackStarted: true }, async (ctx) => {
      await ctx.updateState('PROGRESS', 1)
      runs += 1
    })
    const loud = app.task('loud', () => 'heard')
    const worker = await app.worker()

    const results = [
      await quiet.delay(),
      ...(await quiet.delayMany([[]])),
      await loud.applyAsync([], { ignoreResult: true }),
    ]
    await until(() => worker.health().processed === 3)
    await worker.stop()

    expect(runs).toBe(2)
    for (const result of results) {
      expect(await app.result(result.id).state()).toBe('UNKNOWN')
      expect(await rejection(result.get())).toMatchObject({
        code: 'RESULTS_DISABLED',
        message: `task ${result.id} was sent with \`ignoreResult\`, so no result of it is kept`,
      })
    }
  })

  it('is kept although the task says otherwise, when the call asks for it', async () => {
    const app = newApp({ broker: url() })
    const quiet = app.task('quiet', { ignoreResult: true }, () => 'heard')
    await app.worker()

    const result = await quiet.applyAsync([], { ignoreResult: false })

    expect(await result.get()).toBe('heard')
  })
})

describe('a result on SQLite', () => {
  it('is found by any application on the same file, also later', async () => {
    const broker = sqliteUrl()
    const first = newApp({ broker })
    const add = first.task('add', (x: number, y: number) => x + y)
    const other = await newApp({ broker }).open()
    await first.worker()

    const sent = await add.delay(2, 3)
    expect(await other.result(sent.id).get()).toBe(5)
    await first.close()
    await other.close()

    const later = await newApp({ broker }).open()
    expect(await later.result(sent.id).get()).toBe(5)
  })

  it('may be kept elsewhere than the messages', async () => {
    const [broker, results] = [sqliteUrl(), sqliteUrl()]
    const app = newApp({ broker, results })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const sent = await add.delay(2, 3)

    expect(await sent.get()).toBe(5)
    const atBroker = await newApp({ broker }).open()
    const atResults = await newApp({ broker: results }).open()
    expect(await atBroker.result(sent.id).state()).toBe('UNKNOWN')
    expect(await atResults.result(sent.id).get()).toBe(5)
  })
})

describe('an application without results', () => {
  it('runs its tasks, and refuses every question about them', async () => {
    const app = newApp({ results: false })
    const seen: number[] = []
    const add = app.task('add', { bind: true }, async (ctx, x: number) => {
      await ctx.updateState('PROGRESS', x)
      seen.push(x)
    })
    await app.worker()

    const result = await add.delay(2)
    await until(() => seen.length === 1)

    const message = 'this application keeps no results; create it with `results: true` or the URL of a result store'
    for (const question of [result.get(), result.state(), result.info(), result.tree(), result.forget()]) {
      expect(await rejection(question)).toMatchObject({ code: 'RESULTS_DISABLED', message })
    }
    expect(app.results).toBeUndefined()
  })

  it('puts failed tasks with the dead letters all the same', async () => {
    const app = newApp({ results: false })
    const fail = app.task('fail', () => {
      throw new Error('no')
    })
    await app.worker()

    await fail.delay()
    await publishForeign(app, 'unknown')
    await until(async () => (await app.deadLetters.list()).length === 2)

    expect((await app.deadLetters.list()).map(({ reason }) => reason).sort()).toEqual(['failed', 'unknown task'])
  })
})

describe('the tree of a result', () => {
  it('shows the calls a task made, and theirs', async () => {
    const app = newApp()
    const leaf = app.task('leaf', (n: number) => n)
    const branch = app.task('branch', async (n: number) => {
      for (let i = 0; i < n; i++) await leaf.delay(i)
    })
    const root = app.task('root', async () => {
      await branch.delay(2)
      await branch.delay(1)
    })
    await app.worker()

    const result = await root.delay()
    await until(async () => JSON.stringify(await result.tree()).split('"SUCCESS"').length - 1 === 6)

    const shape = ({ name, children }: Awaited<ReturnType<typeof result.tree>>): unknown[] => [
      name,
      ...children.map(shape),
    ]
    expect(shape(await result.tree())).toEqual(['root', ['branch', ['leaf'], ['leaf']], ['branch', ['leaf']]])
  })

  it('shows the error of what failed, and how often it was tried', async () => {
    const app = newApp()
    const flaky = app.task('flaky', { autoretryFor: [RangeError], maxRetries: 1, retryBackoff: '1ms' }, () => {
      throw new RangeError('no')
    })
    await app.worker({ name: 'w1@h' })

    const result = await flaky.delay()
    await rejection(result.get())

    expect(await result.tree()).toMatchObject({
      state: 'FAILURE',
      retries: 1,
      attempts: 2,
      worker: 'w1@h',
      result: null,
      error: { type: 'RangeError', message: 'no' },
    })
  })
})
