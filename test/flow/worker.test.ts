import { type Celeriac, CeleriacError, Ignore, type SoftTimeLimitExceeded } from 'celeriac'
import { describe, expect, it, vi } from 'vitest'
import {
  brokers,
  depthOf,
  gate,
  memoryUrl,
  newApp,
  publishForeign,
  recordingLogger,
  rejection,
  skipAhead,
  until,
} from './fixture.ts'

/** A task that waits at a gate, and how many of it are running. */
function blockingTask(
  app: Celeriac,
  name = 'block',
): { task: ReturnType<typeof app.task>; running(): number; most(): number; open(): void } {
  const { opened, open } = gate()
  let running = 0
  let most = 0
  const task = app.task(name, async () => {
    running += 1
    most = Math.max(most, running)
    await opened
    running -= 1
  })
  return { task, running: () => running, most: () => most, open }
}

/** How many messages each fetch of the application's workers asks for. */
function watchFetches(app: Celeriac): number[] {
  const asked: number[] = []
  const { broker } = app
  const consume = broker.consume.bind(broker)
  vi.spyOn(broker, 'consume').mockImplementation(async (queues, options) => {
    const consumer = await consume(queues, options)
    const fetch = consumer.fetch.bind(consumer)
    consumer.fetch = (max, fetchOptions) => {
      asked.push(max)
      return fetch(max, fetchOptions)
    }
    return consumer
  })
  return asked
}

describe.each(brokers)('a worker, on $broker', ({ url }) => {
  it('runs no more tasks at once than its concurrency', async () => {
    const app = await newApp({ broker: url() }).open()
    const block = blockingTask(app)
    const results = await block.task.delayMany(Array.from({ length: 8 }, () => []))

    const worker = await app.worker({ concurrency: 3 })
    await until(() => block.running() === 3)
    expect(worker.health()).toMatchObject({ ok: true, running: 3, processed: 0 })
    block.open()
    await Promise.all(results.map((result) => result.get()))

    expect(block.most()).toBe(3)
    expect(worker.health()).toMatchObject({ ok: true, running: 0, processed: 8 })
  })

  it('takes from each of its queues in turn, and from no other', async () => {
    const app = await newApp({ broker: url() }).open()
    const order: string[] = []
    const note = app.task('note', (name: string) => {
      order.push(name)
    })
    for (const name of ['a1', 'a2', 'a3']) await note.applyAsync([name], { queue: 'a' })
    await note.applyAsync(['b1'], { queue: 'b' })
    await note.applyAsync(['c1'], { queue: 'c' })

    await app.worker({ queues: ['a', 'b'], concurrency: 1 })
    await until(() => order.length === 4)

    expect(order.indexOf('b1')).toBeLessThan(2)
    expect(order.filter((name) => name !== 'b1')).toEqual(['a1', 'a2', 'a3'])
    expect(await depthOf(app, 'c')).toEqual([1, 0, 0])
  })

  it('by itself consumes the queues of its tasks and the default one', async () => {
    const app = newApp({ broker: url(), taskRoutes: { 'pack.*': 'packing' } })
    const pick = app.task('pick', { queue: 'picking' }, () => 'picked')
    const pack = app.task('pack.box', () => 'packed')
    const rest = app.task('rest', () => 'done')

    await app.worker()
    const results = [await pick.delay(), await pack.delay(), await rest.delay()]

    expect(await Promise.all(results.map((result) => result.get()))).toEqual(['picked', 'packed', 'done'])
  })

  it('fetches only for its free slots while it does not know how long tasks take', async () => {
    const app = await newApp({ broker: url() }).open()
    const block = blockingTask(app)
    await block.task.delayMany(Array.from({ length: 8 }, () => []))

    await app.worker({ concurrency: 2 })
    await until(() => block.running() === 2)

    expect(await depthOf(app)).toEqual([6, 0, 2])
    block.open()
    await until(async () => (await depthOf(app))[0] === 0)
  })

  it('fetches short tasks many at a time', async () => {
    const app = await newApp({ broker: url() }).open()
    const asked = watchFetches(app)
    const noop = app.task('noop', () => undefined)
    await noop.delayMany(Array.from({ length: 2_000 }, () => []))

    const worker = await app.worker({ concurrency: 4 })
    await until(() => worker.health().processed === 2_000)

    expect(asked[0]).toBe(4)
    expect(Math.max(...asked)).toBeGreaterThan(20)
  })

  it('holds no more messages than a fixed prefetch, running ones included', async () => {
    const app = await newApp({ broker: url() }).open()
    const block = blockingTask(app)
    await block.task.delayMany(Array.from({ length: 8 }, () => []))

    await app.worker({ concurrency: 2, prefetch: 5 })
    await until(async () => (await depthOf(app))[2] === 5)

    expect(block.running()).toBe(2)
    expect(await depthOf(app)).toEqual([3, 0, 5])
    block.open()
    await until(async () => (await depthOf(app))[0] === 0)
  })

  it('hands back what waits behind a long task, and it costs no delivery', async () => {
    const app = await newApp({ broker: url() }).open()
    const block = blockingTask(app)
    const count = app.task('count', { bind: true }, (ctx) => ctx.deliveryCount)
    await block.task.delay()
    const results = await count.delayMany([[], [], []])

    await app.worker({ concurrency: 1, prefetch: 4 })
    await until(async () => (await depthOf(app))[2] === 4)
    await until(async () => (await depthOf(app))[2] === 1)

    expect(await depthOf(app)).toEqual([3, 0, 1])
    block.open()
    expect(await Promise.all(results.map((result) => result.get()))).toEqual([1, 1, 1])
  })

  it('with a long task leaves the others to another worker', async () => {
    const brokerUrl = url()
    const [one, two] = [newApp({ broker: brokerUrl }), newApp({ broker: brokerUrl })]
    const blocks = [one, two].map((app) => blockingTask(app))
    const quick = [one, two].map((app) => app.task('quick', { bind: true }, (ctx) => ctx.worker))
    await one.worker({ name: 'one', concurrency: 1 })
    await two.worker({ name: 'two', concurrency: 1 })
    // Short tasks first, so that both expect more of them.
    await Promise.all(((await quick[0]?.delayMany(Array.from({ length: 50 }, () => []))) ?? []).map((r) => r.get()))

    const long = await blocks[0]?.task.delay()
    const results = (await quick[0]?.delayMany(Array.from({ length: 20 }, () => []))) ?? []
    const workers = await Promise.all(results.map((result) => result.get()))

    expect(await long?.state()).toBe('PENDING')
    expect(new Set(workers.slice(-10)).size).toBe(1)
    for (const block of blocks) block.open()
    expect(await long?.get()).toBeNull()
  })
})

describe("a worker's health", () => {
  it('is good while fetches are completed, and bad when none has been for fifteen seconds', async () => {
    const app = newApp()
    const ping = app.task('ping', () => 'pong')
    const worker = await app.worker()
    expect(worker.health()).toMatchObject({ ok: true, running: 0, processed: 0 })

    skipAhead(15_001)
    expect(worker.health().ok).toBe(false)
    expect(worker.health().fetchedMsAgo).toBeGreaterThan(15_000)

    await (await ping.delay()).get()
    expect(worker.health()).toMatchObject({ ok: true, processed: 1 })
  })

  it('is good while all slots are taken, however long', async () => {
    const app = newApp()
    const block = blockingTask(app)
    const worker = await app.worker({ concurrency: 1 })
    await block.task.delay()
    await until(() => block.running() === 1)

    skipAhead(3_600_000)

    expect(worker.health()).toMatchObject({ ok: true, running: 1 })
    block.open()
  })

  it('is bad once it has been stopped', async () => {
    const worker = await newApp().worker()

    await worker.stop()

    expect(worker.health().ok).toBe(false)
  })
})

describe('a worker whose broker fails', () => {
  it('says so, and fetches again until it succeeds', async () => {
    const { logger, lines } = recordingLogger()
    const app = await newApp({ logger }).open()
    const ping = app.task('ping', () => 'pong')
    const { broker } = app
    const consume = broker.consume.bind(broker)
    vi.spyOn(broker, 'consume').mockImplementation(async (queues, options) => {
      const consumer = await consume(queues, options)
      vi.spyOn(consumer, 'fetch').mockRejectedValueOnce(new Error('gone')).mockRejectedValueOnce(new Error('gone'))
      return consumer
    })

    await app.worker()

    expect(await (await ping.delay()).get()).toBe('pong')
    expect(lines.filter((line) => line === 'error: fetching failed; trying again')).toHaveLength(2)
  })

  it('does not lose finished work: it stores the outcome when that is possible again', async () => {
    const { logger, lines } = recordingLogger()
    const app = await newApp({ logger }).open()
    let runs = 0
    const count = app.task('count', () => {
      runs += 1
      return runs
    })
    failAcks(app, 3, new CeleriacError('STORAGE_FULL', 'no room'))
    await app.worker()

    expect(await (await count.delay()).get()).toBe(1)
    expect(lines.filter((line) => line.startsWith('error: the outcome could not be stored yet'))).toHaveLength(3)
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('does not repeat what no repetition mends: such an outcome becomes a failure', async () => {
    const app = await newApp({ logger: recordingLogger().logger }).open()
    const count = app.task('count', () => 1)
    failAcks(app, 1, new TypeError('a mistake in a driver'))
    await app.worker()

    expect(await rejection((await count.delay()).get())).toMatchObject({ type: 'TypeError' })
    expect(await app.deadLetters.list()).toMatchObject([{ task: 'count', reason: 'failed' }])
  })
})

/** The next acknowledgements fail, as on a full disk. */
function failAcks(app: Celeriac, times: number, error: Error): void {
  let left = times
  const { broker } = app
  const consume = broker.consume.bind(broker)
  vi.spyOn(broker, 'consume').mockImplementation(async (queues, options) => {
    const consumer = await consume(queues, options)
    const fetch = consumer.fetch.bind(consumer)
    consumer.fetch = async (max, fetchOptions) => {
      const deliveries = await fetch(max, fetchOptions)
      for (const delivery of deliveries) {
        const ack = delivery.ack.bind(delivery)
        delivery.ack = (effects) => {
          left -= 1
          return left < 0 ? ack(effects) : Promise.reject(error)
        }
      }
      return deliveries
    }
    return consumer
  })
}

describe.each(brokers)('a task with `acksLate: false`, on $broker', ({ url }) => {
  it('is acknowledged before it runs, and otherwise like any other', async () => {
    const app = newApp({ broker: url() })
    const { opened, open } = gate()
    let started = 0
    const early = app.task('early', { acksLate: false }, async (fail: boolean) => {
      started += 1
      await opened
      if (fail) throw new TypeError('it fails')
      return 'done'
    })
    await app.worker()

    const [good, bad] = await early.delayMany([[false], [true]])
    await until(() => started === 2)
    const during = await depthOf(app)
    open()

    expect(during).toEqual([0, 0, 0])
    expect(await good?.get()).toBe('done')
    expect(await rejection(bad?.get() as Promise<unknown>)).toMatchObject({ code: 'TASK_FAILED', type: 'TypeError' })
    expect(await app.deadLetters.list()).toMatchObject([{ id: bad?.id, reason: 'failed' }])
  })
})

describe('a task with `acksLate: false` whose acknowledgement fails', () => {
  it('is not run, and its slot is free again', async () => {
    const app = await newApp().open()
    let runs = 0
    const early = app.task('early', { acksLate: false }, () => {
      runs += 1
    })
    failAcks(app, 1, new CeleriacError('STORAGE_FULL', 'no room'))
    await app.worker({ concurrency: 1 })

    await early.delay()
    const second = await early.delay()
    await second.get({ timeout: '25s' })

    expect(runs).toBe(1)
  })
})

describe.each(brokers)('a message that can never be run goes to the dead letters, on $broker', ({ url }) => {
  it('when no task has its name, which says what it may have meant', async () => {
    const app = newApp({ broker: url() })
    app.task('warehouse.pick', () => undefined)
    await app.worker()

    const id = await publishForeign(app, 'warehouse.pik', { args: [1] })
    const error = await rejection(app.result(id).get())

    expect(error).toMatchObject({ code: 'TASK_FAILED', type: 'NotRegistered', module: 'celery.exceptions' })
    expect(error.message).toBe("no task is named 'warehouse.pik'; did you mean 'warehouse.pick'?")
    expect(await app.deadLetters.list()).toMatchObject([
      { id, task: 'warehouse.pik', queue: 'celery', reason: 'unknown task', args: [1], deliveries: 1 },
    ])
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  const unreadable: [what: string, foreign: Parameters<typeof publishForeign>[2], message: string | RegExp][] = [
    ['its body is not JSON', { body: '[[1], {' }, /^the message cannot be run: its body is not JSON: /],
    ['its body is no triple', { body: '7' }, 'the message cannot be run: its body is not [args, kwargs, embed]'],
    ['its args are no list', { body: '[{}, {}, {}]' }, 'the message cannot be run: its args are not a list'],
    ['its kwargs are a list', { body: '[[], [], {}]' }, 'the message cannot be run: its kwargs are not an object'],
    [
      'it has an unknown typed value',
      { body: '[[{"__type__": "money", "__value__": 3}], {}, {}]' },
      "the message cannot be run: its body is a typed value of the unknown type 'money'",
    ],
    [
      'its date is none',
      { headers: { eta: 'soon' } },
      'the message cannot be run: its header `eta` is not an ISO 8601 date: "soon"',
    ],
    [
      'it is pickled',
      { contentType: 'application/x-python-serialize', body: 'gAR9' },
      'the message cannot be run: its content type application/x-python-serialize is never read: unpickling runs ' +
        "whatever the writer wants to be run; let its producer send JSON (in Python: task_serializer = 'json')",
    ],
    [
      'it is of a kind that is not accepted',
      { contentType: 'application/x-yaml', body: '[[], {}, {}]' },
      'the message cannot be run: its content type application/x-yaml is not accepted here (acceptContent: json); ' +
        "let its producer send JSON (in Python: task_serializer = 'json')",
    ],
    [
      'it has no content type that is spelt as it is',
      { contentType: 'application/json; charset=utf-8' },
      /its content type application\/json; charset=utf-8 is not accepted here/,
    ],
    [
      'it is not compressed, though it says so',
      { headers: { compression: 'application/x-gzip' }, body: 'x' },
      /^the message cannot be run: it says to be compressed \(application\/x-gzip\), and is not: /,
    ],
    [
      'it is compressed by what we do not have',
      { headers: { compression: 'application/x-bz2' }, body: 'x' },
      'the message cannot be run: it is compressed (application/x-bz2), which cannot be read here; ' +
        "let its producer use gzip, brotli or zstd (in Python: task_compression = 'gzip')",
    ],
    [
      'its callbacks are no signatures',
      { embed: { callbacks: ['pick'] } },
      'the message cannot be run: its `callbacks` holds something that is no signature',
    ],
  ]

  it('when it cannot be read, whole and with what its producer should change', async () => {
    const app = newApp({ broker: url() })
    app.task('pick', () => undefined)
    await app.worker()

    const ids = await Promise.all(unreadable.map(([, foreign]) => publishForeign(app, 'pick', foreign)))
    await until(async () => (await app.deadLetters.list()).length === unreadable.length)

    for (const [index, [what, foreign, message]] of unreadable.entries()) {
      const letter = await app.deadLetters.show(ids[index] as string)
      expect(letter, what).toMatchObject({ reason: 'unreadable', task: 'pick' })
      if (typeof message === 'string') expect(letter.error?.message).toBe(message)
      else expect(letter.error?.message).toMatch(message)
      if (foreign?.body !== undefined) expect(letter.message.body).toBe(foreign.body)
      // Whoever waits for it hears of it.
      const error = await rejection(app.result(letter.id as string).get())
      expect(error, what).toMatchObject({ code: 'TASK_FAILED', type: 'CeleriacError' })
    }
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('when it names no task at all', async () => {
    const app = newApp({ broker: url() })
    await app.worker()

    await publishForeign(app, 'pick', { headers: { task: undefined } })
    await until(async () => (await app.deadLetters.list()).length === 1)

    const [letter] = await app.deadLetters.list()
    expect(letter?.error?.message).toBe(
      'the message cannot be run: it has no header `task` (protocol 2) and no `task` in its body (protocol 1)',
    )
  })
})

describe('time limits', () => {
  it('the soft one aborts `ctx.signal`, and what the task makes of it counts', async () => {
    const app = newApp()
    const tidy = app.task('tidy', { bind: true, softTimeLimit: '20ms' }, async ({ signal }) => {
      await new Promise((resolve) => signal.addEventListener('abort', resolve))
      return (signal.reason as SoftTimeLimitExceeded).message
    })
    const untidy = app.task('untidy', { bind: true }, async ({ signal }) => {
      await new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason)))
    })
    await app.worker()

    const [good, bad] = [await tidy.delay(), await untidy.applyAsync([], { softTimeLimit: '20ms' })]

    expect(await good.get()).toBe('the task ran longer than its soft time limit of 20 ms')
    expect(await rejection(bad.get())).toMatchObject({ type: 'SoftTimeLimitExceeded' })
  })

  it('past the hard one the task has failed, and its slot is free, whether it heeds its signal or not', async () => {
    const app = newApp()
    const block = blockingTask(app)
    const ping = app.task('ping', () => 'pong')
    await app.worker({ concurrency: 1 })

    const stuck = await block.task.applyAsync([], { timeLimit: '30ms' })
    const next = await ping.delay()

    expect(await rejection(stuck.get())).toMatchObject({ type: 'TimeLimitExceeded' })
    expect(await next.get()).toBe('pong')
    block.open()
    expect(await stuck.state()).toBe('FAILURE')
  })
})

describe('the context of a run', () => {
  it("logs with the task's name and id", async () => {
    const told: unknown[] = []
    const logger = {
      debug: () => undefined,
      info: (...line: unknown[]) => told.push(line),
      warn: () => undefined,
      error: () => undefined,
    }
    const app = newApp({ logger })
    const talk = app.task('talk', { bind: true }, (ctx) => ctx.logger.info({ step: 1 }, 'under way'))
    await app.worker()

    await (await talk.applyAsync([], { taskId: 't1' })).get()

    expect(told).toContainEqual([{ task: 'talk', taskId: 't1', step: 1 }, 'under way'])
  })

  it('lets the task end without an outcome: `Ignore`', async () => {
    const app = newApp()
    const skip = app.task('skip', () => {
      throw new Ignore()
    })
    const worker = await app.worker()

    const result = await skip.delay()
    await until(() => worker.health().processed === 1)
    await worker.stop()

    expect(await result.state()).toBe('PENDING')
    expect(await depthOf(app)).toEqual([0, 0, 0])
    expect(await depthOf(app, 'celery.dead')).toEqual([0, 0, 0])
  })
})

describe('workers of several applications', () => {
  it('share the work of one broker', async () => {
    const url = memoryUrl()
    const ran = new Set<string>()
    const { opened, open } = gate()
    const apps = ['one', 'two'].map((name) => {
      const app = newApp({ broker: url })
      const task = app.task('meet', { bind: true }, async (ctx) => {
        ran.add(ctx.worker)
        if (ran.size === 2) open()
        await opened
      })
      return { app, name, task }
    })
    for (const { app, name } of apps) await app.worker({ name, concurrency: 1 })

    const results = (await apps[0]?.task.delayMany([[], []])) ?? []
    await Promise.all(results.map((result) => result.get()))

    expect([...ran].sort()).toEqual(['one', 'two'])
  })
})

describe('a task that holds up the event loop', () => {
  const hold = (ms: number): void => {
    const end = performance.now() + ms
    while (performance.now() < end);
  }

  it.each([
    ['before it first waits', () => hold(600)],
    ['after it has waited', () => new Promise((resolve) => setImmediate(resolve)).then(() => hold(700))],
  ])('is named in a warning: %s', async (_when, run) => {
    const warnings: object[] = []
    const { logger } = recordingLogger()
    const app = newApp({ logger: { ...logger, warn: (fields) => void warnings.push(fields) } })
    const task = app.task('compute', run)
    await app.worker()

    const result = await task.delay()
    await result.get({ timeout: '25s' })

    await until(() => warnings.length === 1)
    expect(warnings).toMatchObject([{ tasks: `compute (${result.id})`, heldMs: expect.any(Number) }])
  })
})
