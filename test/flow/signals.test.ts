/** What an application's own code hears of sends and runs, and what it may put around them. */
import { CeleriacError, chain } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { newApp, recordingLogger, rejection, until } from './fixture.ts'

describe('signals', () => {
  it('tell the life of a task, in order', async () => {
    const app = newApp()
    const told: string[] = []
    const names = [
      ...['beforeTaskPublish', 'afterTaskPublish', 'taskReceived', 'taskPrerun', 'taskPostrun', 'taskSuccess'],
      ...['taskRetry', 'taskFailure', 'taskRevoked'],
    ] as const
    for (const name of names) app.signals.on(name, () => told.push(name))
    const add = app.task('add', (x: number, y: number) => x + y)
    const flaky = app.task('flaky', { autoretryFor: [RangeError], maxRetries: 1, defaultRetryDelay: 0 }, () => {
      throw new RangeError('no')
    })

    const sum = await add.delay(1, 2)
    await app.worker()
    await sum.get()
    await until(() => told.includes('taskSuccess'))
    expect(told.splice(0)).toEqual(names.slice(0, 6))

    await (await flaky.delay()).get().catch(() => undefined)
    await until(() => told.includes('taskFailure'))
    expect(told.filter((name) => name.startsWith('task')).slice(-8)).toEqual([
      ...['taskReceived', 'taskPrerun', 'taskPostrun', 'taskRetry'],
      ...['taskReceived', 'taskPrerun', 'taskPostrun', 'taskFailure'],
    ])
  })

  it('carry what they are about', async () => {
    const app = newApp()
    const heard: Record<string, unknown> = {}
    app.signals.on('taskSuccess', ({ task, value, queue }) => Object.assign(heard, { task, value, queue }))
    app.signals.on('taskPostrun', ({ context, args }) => Object.assign(heard, { id: context.taskId, args }))
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const result = await add.delay(1, 2)
    await result.get()
    await until(() => 'task' in heard)

    expect(heard).toEqual({ task: 'add', value: 3, queue: 'celery', id: result.id, args: [1, 2] })
  })

  it('let listeners add headers to every message, those of later steps too', async () => {
    const app = newApp()
    app.signals.on('beforeTaskPublish', ({ headers, task }) => {
      headers.trace = `of ${task}`
    })
    const first = app.task('first', { bind: true }, (ctx) => ctx.headers.trace)
    const second = app.task('second', { bind: true }, (ctx, before: unknown) => [before, ctx.headers.trace])
    await app.worker()

    const result = await chain(first.s(), second.s()).delay()

    expect(await result.get()).toEqual(['of first', 'of second'])
  })

  it('tell of the worker, and no more once a listener has left', async () => {
    const app = newApp()
    const told: string[] = []
    const leave = app.signals.on('workerInit', () => told.push('left'))
    leave()
    for (const name of ['workerInit', 'workerReady', 'workerShuttingDown', 'workerShutdown'] as const) {
      app.signals.on(name, ({ worker }) => told.push(`${name} ${worker}`))
    }

    const worker = await app.worker({ name: 'w@here' })
    await worker.stop()

    await until(() => told.length === 4)
    expect(told).toEqual([
      'workerInit w@here',
      'workerReady w@here',
      'workerShuttingDown w@here',
      'workerShutdown w@here',
    ])
  })

  it('survive listeners that throw and reject', async () => {
    const { logger, lines } = recordingLogger()
    const app = newApp({ logger })
    app.signals.on('taskSuccess', () => {
      throw new Error('no')
    })
    app.signals.on('taskPrerun', async () => {
      throw new Error('later')
    })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    expect(await (await add.delay(1, 2)).get()).toBe(3)
    await until(() => lines.filter((line) => line === 'error: a listener to a signal failed').length === 2)
  })
})

describe('middleware', () => {
  it('stands around sends and runs, the first one outermost', async () => {
    const app = newApp()
    const told: string[] = []
    for (const name of ['outer', 'inner']) {
      app.use({
        async send(calls, next) {
          told.push(`${name} sends ${calls.map(({ task }) => task)}`)
          await next(calls.map((call) => ({ ...call, headers: { ...call.headers, [name]: true } })))
        },
        async run(context, next) {
          told.push(`${name} runs ${context.name}`)
          return `${name}(${await next()})`
        },
      })
    }
    const task = app.task('echo', { bind: true }, (ctx) => Object.keys(ctx.headers).filter((key) => key.endsWith('er')))
    await app.worker()

    expect(await (await task.delay()).get()).toBe('outer(inner(outer,inner))')
    expect(told).toEqual(['outer sends echo', 'inner sends echo', 'outer runs echo', 'inner runs echo'])
  })

  it('refuses a call, and nothing is sent', async () => {
    const app = newApp()
    app.use({
      async send() {
        throw new CeleriacError('UNSUPPORTED', 'not on sundays')
      },
    })
    const task = app.task('echo', () => 1)

    expect(await rejection(task.delay())).toMatchObject({ code: 'UNSUPPORTED', message: 'not on sundays' })
    expect(await app.broker.depth('celery')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
  })

  it('cannot change what the message itself says', async () => {
    const app = newApp()
    app.use({ send: (calls, next) => next(calls.map((call) => ({ ...call, headers: { id: 'other' } }))) })
    const task = app.task('echo', () => 1)

    expect(await rejection(task.delay())).toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('sees what a task throws, and may make another end of it', async () => {
    const app = newApp()
    app.use({
      async run(_context, next) {
        return next().catch((error: Error) => `mended: ${error.message}`)
      },
    })
    const task = app.task('fail', () => {
      throw new Error('broken')
    })
    await app.worker()

    expect(await (await task.delay()).get()).toBe('mended: broken')
  })
})
