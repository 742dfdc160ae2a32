import { Celeriac, type CeleriacOptions, type TaskOptions, type WorkerOptions } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { depthOf, newApp, publishForeign, rejection, thrown } from './fixture.ts'

describe('a task that is a plain function', () => {
  it('takes the arguments of the call and gives its value as the result', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const result = await add.delay(2, 3)

    expect(await result.get()).toBe(5)
  })

  it('may be async', async () => {
    const app = newApp()
    const add = app.task('add', async (x: number, y: number) => x + y)
    await app.worker()

    expect(await (await add.delay(2, 3)).get()).toBe(5)
  })

  it('has its context first with `bind: true`', async () => {
    const app = newApp()
    const describeRun = app.task('describe', { bind: true }, (ctx, greeting: string) => {
      return `${greeting} ${ctx.name} ${ctx.taskId} on ${ctx.queue}, ${ctx.retries} retries, by ${ctx.worker}`
    })
    await app.worker({ name: 'w1@host' })

    const result = await describeRun.applyAsync(['hello'], { taskId: 'call-1' })

    expect(await result.get()).toBe('hello describe call-1 on celery, 0 retries, by w1@host')
  })

  it('is given the keyword arguments of a foreign call as one last object', async () => {
    const app = newApp()
    app.task('echo', (...args: unknown[]) => args)
    await app.worker()

    const id = await publishForeign(app, 'echo', { args: [1, 2], kwargs: { unit: 'cm' } })

    expect(await app.result(id).get()).toEqual([1, 2, { unit: 'cm' }])
  })
})

describe('a task with a schema', () => {
  const Order = z.object({ id: z.string(), quantity: z.number().int().positive() })

  it('takes one input, and its context second', async () => {
    const app = newApp()
    const pick = app.task('pick', { input: Order }, (order, ctx) => `${order.quantity} for ${order.id} by ${ctx.name}`)
    await app.worker()

    expect(await (await pick.delay({ id: 'A-1', quantity: 2 })).get()).toBe('2 for A-1 by pick')
  })

  it('refuses a bad input when it is sent, naming every place, and sends nothing', async () => {
    const app = await newApp().open()
    const pick = app.task('pick', { input: Order }, () => undefined)

    const error = await rejection(pick.delay({ id: 7, quantity: -1 } as never))

    expect(error).toMatchObject({ name: 'CeleriacError', code: 'INPUT_INVALID' })
    expect(error.message).toBe(
      "the input of 'pick' does not fit its schema: id: Invalid input: expected string, received number; " +
        'quantity: Too small: expected number to be >0',
    )
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('checks again when it is run: an input from elsewhere that does not fit goes to the dead letters', async () => {
    const app = newApp()
    let runs = 0
    app.task('pick', { input: Order }, () => {
      runs += 1
    })
    await app.worker()

    const id = await publishForeign(app, 'pick', { kwargs: { id: 'A-1' } })

    expect(await rejection(app.result(id).get())).toMatchObject({ code: 'TASK_FAILED', type: 'CeleriacError' })
    expect(await app.deadLetters.show(id)).toMatchObject({
      reason: 'failed',
      error: { message: expect.stringContaining('quantity: Invalid input: expected number, received undefined') },
    })
    expect(runs).toBe(0)
  })

  it('sends the input as it was given; defaults and transformations are applied when it is run', async () => {
    const app = await newApp().open()
    const Parcel = z.object({
      grams: z.coerce.number(),
      note: z.string().default('none'),
      at: z.string().transform(Number),
    })
    const weigh = app.task('weigh', { input: Parcel }, (parcel) => parcel)

    const result = await weigh.delay({ grams: '250', at: '17' })
    const [message] = await app.broker.peek('celery', 1)
    await app.worker()

    expect(JSON.parse(String(message?.body))).toEqual([[], { grams: '250', at: '17' }, expect.anything()])
    expect(await result.get()).toEqual({ grams: 250, note: 'none', at: 17 })
  })

  it('may have a schema that takes its time', async () => {
    const app = newApp()
    const Sku = z.object({ sku: z.string().refine(async (sku) => sku.startsWith('SKU-'), 'no such article') })
    const find = app.task('find', { input: Sku }, ({ sku }) => sku)
    await app.worker()

    expect(await (await find.delay({ sku: 'SKU-1' })).get()).toBe('SKU-1')
    expect((await rejection(find.delay({ sku: 'X' }))).message).toContain('sku: no such article')
  })

  it('sends an input that is no object as the one argument', async () => {
    const app = await newApp().open()
    const total = app.task('total', { input: z.array(z.number()) }, (numbers) => numbers.reduce((a, b) => a + b, 0))

    const result = await total.delay([1, 2, 3])
    const [message] = await app.broker.peek('celery', 1)
    await app.worker()

    expect(JSON.parse(String(message?.body))[0]).toEqual([[1, 2, 3]])
    expect(await result.get()).toBe(6)
  })
})

describe('a name', () => {
  it('belongs to one task', () => {
    const app = newApp()
    app.task('pick', () => undefined)

    const error = thrown(() => app.task('pick', () => undefined))

    expect(error).toMatchObject({ code: 'TASK_DUPLICATE' })
    expect(error.message).toBe("a task named 'pick' is registered already; names are unique")
  })

  it('must be a text', () => {
    const app = newApp()

    expect(thrown(() => app.task('', () => undefined)).message).toBe("a task's name must be a text, got ")
    expect(thrown(() => app.task(7 as never, () => undefined)).message).toBe("a task's name must be a text, got 7")
  })

  it('needs a function', () => {
    const app = newApp()

    const error = thrown(() => app.task('pick', { queue: 'picking' }, undefined as never))

    expect(error.message).toBe("task 'pick' lacks its function: app.task(name, options, function)")
  })
})

describe('options that cannot work are refused when they are given', () => {
  const ofTask: [TaskOptions | Record<string, unknown>, string][] = [
    [{ retryBackof: '2s' }, "unknown option `retryBackof` in the options of task 'pick'; did you mean `retryBackoff`?"],
    [{ maxRetires: 3 }, "unknown option `maxRetires` in the options of task 'pick'; did you mean `maxRetries`?"],
    [{ priority: 10 }, '`priority` of task `pick` must be a whole number from 0 to 9, got 10'],
    [{ maxRetries: -1 }, '`maxRetries` of task `pick` must be a whole number of at least 0, got -1'],
    [{ maxRetries: 1.5 }, '`maxRetries` of task `pick` must be a whole number of at least 0, got 1.5'],
    [{ maxDeliveries: 0 }, '`maxDeliveries` of task `pick` must be a whole number of at least 1, got 0'],
    [
      { retryBackoff: '2 sec' },
      "`retryBackoff` of task `pick` must be a number of seconds or a text such as '500ms', '30s', '5m', '2h' or '1d', " +
        "got '2 sec'",
    ],
    [
      { timeLimit: -1 },
      "`timeLimit` of task `pick` must be a number of seconds or a text such as '500ms', '30s', '5m', '2h' or '1d', got -1",
    ],
    [{ autoretryFor: 'Error' }, '`autoretryFor` of task `pick` must be a list of error classes or a function'],
    [{ dontAutoretryFor: ['x'] }, '`dontAutoretryFor` of task `pick` must be a list of error classes or a function'],
  ]

  it.each(ofTask)('of a task: %j', (options, message) => {
    const error = thrown(() => newApp().task('pick', options, () => undefined))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message })
  })

  it('of a task, listing what there is when no option is near', () => {
    const error = thrown(() => newApp().task('pick', { colour: 'red' } as TaskOptions, () => undefined))

    expect(error.message).toMatch(
      /^unknown option `colour` in the options of task 'pick'; it takes input, bind, queue, /,
    )
  })

  const ofApp: [CeleriacOptions | Record<string, unknown>, string][] = [
    [{ brokr: 'x' }, 'unknown option `brokr` in the options of the application; did you mean `broker`?'],
    [{ durability: 'high' }, "`durability` must be 'full', 'group' or 'relaxed', got 'high'"],
    [
      { maxMessageSize: '1 MB' },
      "`maxMessageSize` must be a number of bytes or a text such as '64KB' or '200MB', got '1 MB'",
    ],
    [
      { lease: 'soon' },
      "`lease` must be a number of seconds or a text such as '500ms', '30s', '5m', '2h' or '1d', got 'soon'",
    ],
    [{ taskDefaults: { maxRetrys: 3 } }, 'unknown option `maxRetrys` in `taskDefaults`; did you mean `maxRetries`?'],
  ]

  it.each(ofApp)('of an application: %j', (options, message) => {
    const error = thrown(() => new Celeriac('shop', options as CeleriacOptions))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message })
  })

  const ofWorker: [WorkerOptions | Record<string, unknown>, string][] = [
    [{ concurency: 2 }, 'unknown option `concurency` in the options of the worker; did you mean `concurrency`?'],
    [{ concurrency: 0 }, '`concurrency` must be a whole number of at least 1, got 0'],
    [{ prefetch: 0 }, '`prefetch` must be a whole number of at least 1, got 0'],
    [{ queues: [] }, '`queues` must name at least one queue'],
  ]

  it.each(ofWorker)('of a worker: %j', async (options, message) => {
    const error = await rejection(newApp().worker(options))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message })
  })

  const ofCall: [Record<string, unknown>, string][] = [
    [{ countdwn: 5 }, 'unknown option `countdwn` in the options of a call; did you mean `countdown`?'],
    [{ countdown: 5, eta: new Date() }, 'give either `countdown` or `eta`, not both'],
    [{ eta: 'tomorrow' }, '`eta` must be a valid Date, got tomorrow'],
    [{ eta: new Date(Number.NaN) }, '`eta` must be a valid Date, got Invalid Date'],
    [{ expires: new Date(Number.NaN) }, '`expires` must be a duration or a valid Date, got Invalid Date'],
    [{ priority: 'high' }, '`priority` must be a whole number from 0 to 9, got high'],
    [{ kwargs: [1] }, '`kwargs` must be an object, got [1]'],
    [{ taskId: '' }, '`taskId` must not be empty'],
  ]

  it.each(ofCall)('of a call: %j', async (options, message) => {
    const ping = newApp().task('ping', () => undefined)

    expect(thrown(() => ping.s().set(options))).toMatchObject({ code: 'CONFIG_INVALID', message })
    expect(await rejection((async () => ping.applyAsync([], options))())).toMatchObject({ message })
    expect(await rejection(ping.delayMany([[]], options))).toMatchObject({ message })
  })

  it('of a broker: a scheme that no driver serves', async () => {
    const error = await rejection(newApp({ broker: 'sqlit://shop.db' }).open())

    expect(error).toMatchObject({ code: 'BROKER_UNKNOWN_SCHEME' })
    expect(error.message).toBe(
      "no driver serves 'sqlit://' (sqlit://shop.db); did you mean 'sqlite://'? known: sqlite://, memory://, " +
        'redis://, rediss://, redis+socket://, redis+cluster://, rediss+cluster://, sentinel://, amqp://, amqps://',
    )
  })

  it('of a broker: a URL without its slashes is not taken for a file', async () => {
    const error = await rejection(newApp({ broker: 'memory:shop' }).open())

    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(error.message).toBe("the URL 'memory:shop' lacks the two slashes after 'memory:'")
  })
})

describe('`taskDefaults`', () => {
  it('hold for every task that does not say otherwise', async () => {
    const app = await newApp({ taskDefaults: { queue: 'shared', priority: 3 } }).open()
    const usual = app.task('usual', () => undefined)
    const special = app.task('special', { queue: 'special' }, () => undefined)

    await usual.delay()
    await special.delay()

    expect((await app.broker.peek('shared', 1))[0]?.properties.priority).toBe(3)
    expect((await app.broker.peek('special', 1))[0]?.properties.priority).toBe(3)
  })
})

describe('an application', () => {
  it('connects to nothing before it is asked to', () => {
    const app = newApp({ broker: 'sqlite:///no/such/folder/shop.db' })

    const error = thrown(() => app.broker)

    expect(error).toMatchObject({
      code: 'CLOSED',
      message: "the application 'flow' is not open; await app.open() first",
    })
  })

  it('knows the queues its tasks go to', () => {
    const app = newApp({ taskRoutes: { 'pack.*': 'packing' }, defaultQueue: 'main' })
    app.task('pick', { queue: 'picking' }, () => undefined)
    app.task('pack.box', () => undefined)

    expect(app.queues).toEqual(['main', 'packing', 'picking'])
  })

  it('may be closed twice, and opened again', async () => {
    const app = await newApp().open()
    const ping = app.task('ping', () => 'pong')

    await app.close()
    await app.close()
    const result = await ping.delay()

    expect(await result.state()).toBe('PENDING')
  })
})
