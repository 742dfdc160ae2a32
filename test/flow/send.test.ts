import { type Celeriac, type CeleriacOptions, chain, type Task } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { brokers, depthOf, memoryUrl, newApp, publishForeign, rejection, skipAhead, until } from './fixture.ts'

describe.each(brokers)('a call, on $broker', ({ url }) => {
  it('is held by the broker when `delay` resolves, and its result is PENDING', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)

    const result = await add.delay(2, 3)

    expect(await depthOf(app)).toEqual([1, 0, 0])
    expect(await result.info()).toMatchObject({ status: 'PENDING', name: 'add', queue: 'celery', worker: null })
  })

  it('has a UUID, or the id it is given', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)

    const [one, other] = [await add.delay(1, 1), await add.delay(1, 1)]
    const own = await add.applyAsync([1, 1], { taskId: 'order 7/ä' })

    expect(one.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    expect(other.id).not.toBe(one.id)
    expect(own.id).toBe('order 7/ä')
    expect(await app.result('order 7/ä').state()).toBe('PENDING')
  })

  it('carries dates and bytes as they are, there and back', async () => {
    const app = newApp({ broker: url() })
    const echo = app.task('echo', (...values: unknown[]) => values)
    await app.worker()
    const values = [new Date('2030-01-02T03:04:05.678Z'), new Uint8Array([0, 255, 10]), { on: [new Date(0)] }, 'ü\0\n']

    const result = await echo.delay(...values)

    expect(await result.get()).toEqual(values)
  })

  it('may carry headers, which the task finds in its context', async () => {
    const app = newApp({ broker: url() })
    const tenantOf = app.task('tenant', { bind: true }, (ctx) => ctx.headers.tenant)
    await app.worker()

    const result = await tenantOf.applyAsync([], { headers: { tenant: 'acme' } })

    expect(await result.get()).toBe('acme')
  })

  it('goes before others when it has a higher priority, and behind its equals', async () => {
    const app = await newApp({ broker: url() }).open()
    const order: string[] = []
    const note = app.task('note', (name: string) => void order.push(name))
    for (const [name, priority] of [
      ['low', 0],
      ['high 1', 9],
      ['middle', 5],
      ['high 2', 9],
    ] as const) {
      await note.applyAsync([name], { priority })
    }
    await note.delay('low 2')

    await app.worker({ concurrency: 1 })
    await until(() => order.length === 5)

    expect(order).toEqual(['high 1', 'high 2', 'middle', 'low', 'low 2'])
  })

  it('with a countdown is kept by the broker until it is due', async () => {
    const app = newApp({ broker: url() })
    const add = app.task('add', (x: number, y: number) => x + y)
    const worker = await app.worker()

    const result = await add.applyAsync([2, 3], { countdown: '1h' })

    expect(await depthOf(app)).toEqual([0, 1, 0])
    expect(await result.state()).toBe('PENDING')
    await worker.stop()
    skipAhead(3_600_001)
    await app.worker()
    expect(await result.get()).toBe(5)
  })

  it('with an eta is kept until then; with one in the past it starts at once', async () => {
    const app = newApp({ broker: url() })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const late = await add.applyAsync([1, 1], { eta: new Date(Date.now() + 80) })
    const tomorrow = await add.applyAsync([2, 2], { eta: new Date(Date.now() + 86_400_000) })
    const past = await add.applyAsync([3, 3], { eta: new Date(0) })

    expect(await past.get()).toBe(6)
    expect(await late.get()).toBe(2)
    expect((await late.info())?.startedAt).toBeGreaterThanOrEqual((await late.info())?.sentAt ?? Number.NaN)
    expect(await tomorrow.state()).toBe('PENDING')
    expect(await depthOf(app)).toEqual([0, 1, 0])
  })

  it('that has expired is not run, and ends as REVOKED', async () => {
    const app = await newApp({ broker: url() }).open()
    let runs = 0
    const count = app.task('count', () => {
      runs += 1
    })
    const sale = app.task('sale', { expires: '1h' }, () => {
      runs += 1
    })

    const dated = await count.applyAsync([], { expires: new Date(Date.now() - 1) })
    const ofTask = await sale.delay()
    const inTime = await count.applyAsync([], { expires: '3h' })
    skipAhead(3_600_001)
    await app.worker()

    expect(await inTime.get()).toBeNull()
    expect(await rejection(dated.get())).toMatchObject({ code: 'TASK_REVOKED', taskId: dated.id })
    expect((await rejection(ofTask.get())).message).toBe(`task ${ofTask.id} was not run: expired`)
    expect(await ofTask.state()).toBe('REVOKED')
    expect(runs).toBe(1)
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })
})

describe.each(brokers)('`delayMany`, on $broker', ({ url }) => {
  it('sends many calls and gives their results in order', async () => {
    const app = newApp({ broker: url() })
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const results = await add.delayMany([
      [1, 1],
      [2, 2],
      [3, 3],
    ])

    expect(await Promise.all(results.map((result) => result.get()))).toEqual([2, 4, 6])
  })

  it('sends all or none', async () => {
    const app = await newApp({ broker: url() }).open()
    const echo = app.task('echo', (value: unknown) => value)
    const pick = app.task('pick', { input: z.object({ id: z.string() }) }, () => undefined)

    const unwritable = await rejection(echo.delayMany([[1], [() => 2], [3]]))
    const unfit = await rejection(pick.delayMany([{ id: 'a' }, { id: 7 } as never]))

    expect([unwritable.code, unfit.code]).toEqual(['PAYLOAD_INVALID', 'INPUT_INVALID'])
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('takes options for all of them', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)

    await add.delayMany(
      [
        [1, 1],
        [2, 2],
      ],
      { queue: 'sums', countdown: '1h' },
    )

    expect(await depthOf(app, 'sums')).toEqual([0, 2, 0])
  })

  it('refuses an id, which all of them would have', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)

    const error = await rejection(
      add.delayMany(
        [
          [1, 1],
          [2, 2],
        ],
        { taskId: 'mine' },
      ),
    )

    expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: '`taskId` is for one call; delayMany sends many' })
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('of nothing is nothing', async () => {
    const app = await newApp({ broker: url() }).open()
    const add = app.task('add', (x: number, y: number) => x + y)

    expect(await add.delayMany([])).toEqual([])
  })
})

describe('what cannot be sent is refused by `delay`, and nothing is sent', () => {
  async function echo(
    options: CeleriacOptions = {},
  ): Promise<{ app: ReturnType<typeof newApp>; echo: Task<unknown[], unknown[], unknown[]> }> {
    const app = await newApp(options).open()
    return { app, echo: app.task('echo', (...values: unknown[]) => values) }
  }
  const cycle: { self?: unknown } = {}
  cycle.self = cycle

  it.each([
    [
      'a function',
      [{ order: { notify: () => undefined } }],
      '`[0].order.notify` is a function, which JSON cannot carry',
    ],
    ['NaN', [1, [2, Number.NaN]], '`[1][1]` is NaN, which JSON cannot carry'],
    ['Infinity', [Number.POSITIVE_INFINITY], '`[0]` is Infinity, which JSON cannot carry'],
    ['a symbol', [Symbol('x')], '`[0]` is a symbol, which JSON cannot carry'],
    ['a cycle', [cycle], '`[0].self` is a cycle, which JSON cannot carry'],
    ['an invalid date', [new Date('no')], '`[0]` is an invalid Date, which JSON cannot carry'],
    [
      'data that looks like a typed value',
      [{ __type__: 'x', __value__: 1 }],
      '`[0]` is an object of just `__type__` and `__value__`, which marks typed values; add or rename a key',
    ],
  ])('%s, by its place', async (_what, values, message) => {
    const { app, echo: task } = await echo()

    const error = await rejection(task.delay(...values))

    expect(error).toMatchObject({ code: 'PAYLOAD_INVALID', message })
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('more bytes than `maxMessageSize`', async () => {
    const { app, echo: task } = await echo({ maxMessageSize: '1KB' })

    await task.delay('x'.repeat(900))
    const error = await rejection(task.delay('ä'.repeat(500)))

    expect(error).toMatchObject({ code: 'PAYLOAD_TOO_LARGE' })
    expect(error.message).toBe(
      "a call of 'echo' takes 1070 bytes, more than the 1024 allowed; send a reference to the data instead of the data, " +
        'or raise `maxMessageSize`',
    )
    expect(await depthOf(app)).toEqual([1, 0, 0])
  })
})

describe('the queue of a call', () => {
  const queueOf = async (app: ReturnType<typeof newApp>, send: () => Promise<{ info(): Promise<unknown> }>) => {
    await app.open()
    const { queue, priority } = { ...((await (await send()).info()) as { queue: string; priority?: number }) }
    const [message] = await app.broker.peek(queue, 1)
    return { queue, priority: priority ?? message?.properties.priority }
  }

  it('is the default queue, if nothing says otherwise', async () => {
    const app = newApp()
    const other = newApp({ defaultQueue: 'main' })

    expect((await queueOf(app, () => app.task('a', () => 1).delay())).queue).toBe('celery')
    expect((await queueOf(other, () => other.task('a', () => 1).delay())).queue).toBe('main')
  })

  it.each([
    ['images.resize', 'pictures'],
    ['images', 'celery'],
    ['mail.a', 'short'],
    ['mail.all', 'long'],
    ['(odd)+name', 'odd'],
  ])('is that of the first route whose glob matches: %s → %s', async (name, queue) => {
    const taskRoutes = { 'images.*': 'pictures', 'mail.?': { queue: 'short' }, 'mail.*': 'long', '(odd)+name': 'odd' }
    const app = newApp({ taskRoutes })

    expect((await queueOf(app, () => app.task(name, () => 1).delay())).queue).toBe(queue)
  })

  it('may come from a function of the name and the arguments', async () => {
    const app = newApp({
      taskRoutes: (task, args, kwargs) => {
        if (task === 'add') return { queue: (args[0] as number) > 100 ? 'large' : 'small', priority: 4 }
        return kwargs.express === true ? 'express' : undefined
      },
    })
    const add = app.task('add', (x: number) => x)
    const ship = app.task('ship', { input: z.object({ express: z.boolean() }) }, () => 1)

    expect(await queueOf(app, () => add.delay(1))).toEqual({ queue: 'small', priority: 4 })
    expect(await queueOf(app, () => add.delay(101))).toEqual({ queue: 'large', priority: 4 })
    expect((await queueOf(app, () => ship.delay({ express: true }))).queue).toBe('express')
    expect((await queueOf(app, () => ship.delay({ express: false }))).queue).toBe('celery')
  })

  it('is what the call says, else the task, else the route; its priority likewise', async () => {
    const app = newApp({ taskRoutes: { '*': { queue: 'route', priority: 1 } } })
    const plain = app.task('plain', () => 1)
    const own = app.task('own', { queue: 'task', priority: 2 }, () => 1)

    expect(await queueOf(app, () => plain.delay())).toEqual({ queue: 'route', priority: 1 })
    expect(await queueOf(app, () => own.delay())).toEqual({ queue: 'task', priority: 2 })
    expect(await queueOf(app, () => own.applyAsync([], { queue: 'call', priority: 3 }))).toEqual({
      queue: 'call',
      priority: 3,
    })
    expect(await queueOf(app, () => own.s().set({ queue: 'set' }).delay())).toEqual({ queue: 'set', priority: 2 })
  })

  it('of a task defined elsewhere is the one given with its name', async () => {
    const app = newApp()
    const add = app.remote<[number, number], number>('proj.tasks.add', { queue: 'python' })

    expect((await queueOf(app, () => add.delay(1, 2))).queue).toBe('python')
    expect((await queueOf(app, async () => (await add.delayMany([[1, 2]]))[0] ?? expect.fail())).queue).toBe('python')
    expect((await queueOf(app, () => add.applyAsync([1, 2], { queue: 'other' }))).queue).toBe('other')
  })

  it('must be a name', async () => {
    const app = newApp({ taskRoutes: () => 7 as never })

    const error = await rejection(app.task('a', () => 1).delay())

    expect(error).toMatchObject({
      code: 'CONFIG_INVALID',
      message: 'a route must be a queue name or { queue, priority }, got 7',
    })
  })
})

describe.each(brokers)('a call from inside a running task, on $broker', ({ url }) => {
  it('has that task as its parent, and the root of that task as its root', async () => {
    const app = newApp({ broker: url() })
    const leaf = app.task('leaf', { bind: true }, (ctx) => [ctx.rootId, ctx.parentId])
    const middle = app.task('middle', async () => (await leaf.delay()).id)
    const top = app.task('top', async () => (await middle.delay()).id)
    await app.worker()

    const root = await top.delay()
    const middleId = await root.get()
    const leafId = (await app.result(middleId).get()) as string

    expect(await app.result(leafId).get()).toEqual([root.id, middleId])
  })

  it('is a child in the tree of results', async () => {
    const app = newApp({ broker: url() })
    const leaf = app.task('leaf', (n: number) => n)
    const top = app.task('top', async () => {
      const [first] = await leaf.delayMany([[1], [2]])
      await leaf.delay(3)
      return first?.id
    })
    await app.worker()

    const root = await top.delay()
    const leafId = (await root.get()) as string
    await until(async () => (await root.tree()).children.every((child) => child.state === 'SUCCESS'))

    const tree = await app.result(leafId).tree()
    expect(tree).toMatchObject({ taskId: root.id, name: 'top', state: 'SUCCESS' })
    expect(tree.children.map(({ name, result }) => [name, result])).toEqual([
      ['leaf', 1],
      ['leaf', 2],
      ['leaf', 3],
    ])
  })

  it('has neither when it is made elsewhere in the same process', async () => {
    const app = newApp({ broker: url() })
    const position = app.task('position', { bind: true }, (ctx) => [ctx.rootId === ctx.taskId, ctx.parentId])
    await app.worker()

    expect(await (await position.delay()).get()).toEqual([true, null])
  })
})

describe('a call of a foreign program', () => {
  it('with an eta is given back to the broker until then', async () => {
    const app = newApp()
    app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const eta = new Date(Date.now() + 3_600_000).toISOString()
    const id = await publishForeign(app, 'add', { args: [1, 2], headers: { eta } })
    await until(async () => (await app.broker.depth('celery')).delayed === 1)

    expect(await depthOf(app)).toEqual([0, 1, 0])
    expect(await app.result(id).state()).toBe('UNKNOWN')
  })
})

describe('a call with a countdown of a task that is not defined here', () => {
  it('is sent at once, with its eta: a worker keeps it, as Celery has it', async () => {
    const app = await newApp().open()
    const add = app.remote<[number, number], number>('proj.add')

    await add.applyAsync([1, 2], { countdown: '1h', expires: '2h' })
    await add.delayMany([[1, 2]], { eta: new Date(Date.now() + 3_600_000) })

    expect(await depthOf(app)).toEqual([2, 0, 0])
    for (const { headers } of await app.broker.peek('celery', 2)) {
      expect(Date.parse(String(headers.eta)) - Date.now()).toBeGreaterThan(3_590_000)
    }
  })

  it('is sent so as a step of a chain too', async () => {
    const app = newApp()
    const first = app.task('first', () => 1)
    const add = app.remote<[number], number>('proj.add', { queue: 'python' })
    await app.worker()

    await chain(first.s(), add.s().set({ countdown: '1h' })).delay()
    await until(async () => (await app.broker.depth('python')).ready === 1)

    const [step] = await app.broker.peek('python', 1)
    expect(step).toMatchObject({ state: 'ready', headers: { task: 'proj.add' } })
    expect(Date.parse(String(step?.headers.eta)) - Date.now()).toBeGreaterThan(3_590_000)
  })

  it('is put back until it is due by a worker that does define it', async () => {
    const url = memoryUrl()
    const client = newApp({ broker: url })
    const server = newApp({ broker: url })
    server.task('proj.add', (x: number, y: number) => x + y)
    const worker = await server.worker({ concurrency: 1 })

    const result = await client.remote<[number, number], number>('proj.add').applyAsync([1, 2], { countdown: '60ms' })
    await until(async () => (await server.broker.depth('celery')).delayed === 1)

    expect(worker.health().running).toBe(0)
    expect(await result.get()).toBe(3)
  })
})

describe('a delay beyond what the broker keeps', () => {
  it('is cut, since the message says when it is due; the worker puts it back as often as it must', async () => {
    const app = await newApp().open()
    const capabilities = { ...app.broker.capabilities, maxDelayMs: 30 }
    Object.defineProperty(app.broker, 'capabilities', { value: capabilities })
    const add = app.task('add', (x: number, y: number) => x + y)
    const sentAt = Date.now()

    const result = await add.applyAsync([1, 2], { countdown: '400ms' })
    const [message] = await app.broker.peek('celery', 1)
    await app.worker()

    expect(message?.at).toBeLessThan(Date.parse(String(message?.headers.eta)))
    expect(await result.get()).toBe(3)
    expect(Date.now() - sentAt).toBeGreaterThanOrEqual(399)
  })
})

describe('the priority of a call', () => {
  const priorityOf = async (options: CeleriacOptions, send: (app: Celeriac) => Promise<unknown>): Promise<unknown> => {
    const app = await newApp(options).open()
    await send(app)
    const [message] = await app.broker.peek('celery', 1)
    return message?.properties
  }

  it('is left open where nothing gives it one', async () => {
    expect(await priorityOf({}, (app) => app.task('a', () => 1).delay())).not.toHaveProperty('priority')
    expect(await priorityOf({}, (app) => app.remote<[], void>('a').delay())).not.toHaveProperty('priority')
  })

  it("is the call's, else the task's, else its route's, else the app's", async () => {
    const route: CeleriacOptions = { defaultPriority: 1, taskRoutes: { 'a.*': { priority: 2 } } }

    const found = await Promise.all([
      priorityOf(route, (app) => app.task('a.a', { priority: 3 }, () => 1).applyAsync([], { priority: 0 })),
      priorityOf(route, (app) => app.task('a.a', { priority: 3 }, () => 1).delay()),
      priorityOf(route, (app) => app.task('a.a', () => 1).delay()),
      priorityOf(route, (app) => app.task('b', () => 1).delay()),
    ])

    expect(found.map((properties) => (properties as { priority: number }).priority)).toEqual([0, 3, 2, 1])
  })
})

describe('headers of the caller', () => {
  it.each(['id', 'task', 'eta', 'retries', 'timelimit', 'stamps', 'celeriac', 'compression', 'x-death'])(
    'must not name what the message itself says: %s',
    async (name) => {
      const app = newApp()

      const error = await rejection(app.task('a', () => 1).applyAsync([], { headers: { [name]: 1 } }))

      expect(error.message).toBe(`\`headers\` must not hold '${name}', which the message itself says`)
    },
  )

  it('must be data', async () => {
    const app = newApp()

    const error = await rejection(app.task('a', () => 1).applyAsync([], { headers: { tenant: { name: () => 1 } } }))

    expect(error.message).toBe('`tenant.name` is a function, which JSON cannot carry')
  })
})

describe('two applications', () => {
  it('on one broker send to each other by name', async () => {
    const url = memoryUrl()
    const server = newApp({ broker: url })
    server.task('proj.add', (x: number, y: number) => x + y)
    await server.worker()
    const client = newApp({ broker: url })

    const result = await client.remote<[number, number], number>('proj.add').delay(2, 3)

    expect(await result.get()).toBe(5)
  })
})
