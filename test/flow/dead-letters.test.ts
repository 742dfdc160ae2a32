import { type Celeriac, chain, type DeadLetter, type Task } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { MemoryConsumer } from '../../src/drivers/memory/consumer.ts'
import type { SqliteConsumer } from '../../src/drivers/sqlite/consumer.ts'
import { brokers, depthOf, newApp, publishForeign, rejection, skipAhead, until } from './fixture.ts'

/** A task that fails until it is mended, and the values it was given. */
function brokenTask(app: Celeriac): { task: Task<[n: number], number, [n: number]>; mend(): void; seen: number[] } {
  let isBroken = true
  const seen: number[] = []
  const task = app.task('pick', { queue: 'picking' }, (n: number) => {
    seen.push(n)
    if (isBroken) throw new RangeError(`no bin ${n}`)
    return n * 10
  })
  return {
    task,
    seen,
    mend: () => {
      isBroken = false
    },
  }
}

async function fail(results: readonly { get(): Promise<unknown> }[]): Promise<void> {
  await Promise.all(results.map((result) => rejection(result.get())))
}

describe.each(brokers)('a dead letter, on $broker', ({ url }) => {
  it('is the whole message with the story of its end', async () => {
    const app = newApp({ broker: url() })
    const { task } = brokenTask(app)
    await app.worker({ name: 'w1@h' })

    const result = await task.applyAsync([7], { priority: 4, headers: { tenant: 'acme' } })
    await fail([result])
    const letter = await app.deadLetters.show(result.id)

    expect(letter).toMatchObject({
      id: result.id,
      task: 'pick',
      queue: 'picking',
      reason: 'failed',
      worker: 'w1@h',
      deliveries: 1,
      args: [7],
      kwargs: {},
      error: { type: 'RangeError', message: 'no bin 7', traceback: expect.stringContaining('dead-letters.test.ts') },
      attempts: [{ worker: 'w1@h', error: 'RangeError: no bin 7' }],
      message: { headers: { tenant: 'acme' }, properties: { priority: 4 } },
    })
    expect(Date.now() - Date.parse(letter.at)).toBeLessThan(10_000)
    expect(await depthOf(app, 'picking.dead')).toEqual([1, 0, 0])
  })

  it('is listed with those of its queue, or of all, oldest first', async () => {
    const app = newApp({ broker: url() })
    const { task } = brokenTask(app)
    const other = app.task('pack', { queue: 'packing' }, () => {
      throw new Error('no box')
    })
    await app.worker({ concurrency: 1 })

    for (const n of [1, 2, 3]) await fail([await task.delay(n)])
    await fail([await other.delay()])

    expect((await app.deadLetters.list({ queue: 'picking' })).map(({ args }) => args)).toEqual([[1], [2], [3]])
    expect((await app.deadLetters.list({ queue: 'picking.dead', limit: 2 })).map(({ args }) => args)).toEqual([
      [1],
      [2],
    ])
    expect((await app.deadLetters.list()).map(({ task: name }) => name).sort()).toEqual([
      'pack',
      'pick',
      'pick',
      'pick',
    ])
    expect(await app.deadLetters.list({ limit: 2 })).toHaveLength(2)
    expect(await app.deadLetters.list({ queue: 'empty' })).toEqual([])
  })

  it('is asked for by an id that exists', async () => {
    const app = await newApp({ broker: url() }).open()

    const error = await rejection(app.deadLetters.show('nobody'))

    expect(error).toMatchObject({
      code: 'DEAD_LETTER_UNKNOWN',
      message: "no dead letter has the id 'nobody'; `celeriac dlq list` shows them",
    })
  })

  it('that is redriven is run again as if it were new', async () => {
    const app = newApp({ broker: url() })
    const { task, mend, seen } = brokenTask(app)
    await app.worker()
    const results = await task.delayMany([[1], [2], [3]])
    await fail(results)

    mend()
    const count = await app.deadLetters.redrive({ ids: [results[1]?.id as string] })
    await until(async () => (await results[1]?.state()) === 'SUCCESS')

    expect(count).toBe(1)
    expect(await results[1]?.get()).toBe(20)
    expect(seen.slice(3)).toEqual([2])
    expect((await app.deadLetters.list()).map(({ args }) => args)).toEqual([[1], [3]])
  })

  it('that is redriven has all its retries again, and has not expired', async () => {
    const app = newApp({ broker: url() })
    const retries: number[] = []
    const options = {
      bind: true,
      autoretryFor: [RangeError],
      maxRetries: 1,
      retryBackoff: '1ms',
      expires: '1h',
    } as const
    const task = app.task('stubborn', options, (ctx) => {
      retries.push(ctx.retries)
      if (retries.length < 4) throw new RangeError('no')
    })
    await app.worker()
    const result = await task.delay()
    await fail([result])

    skipAhead(7_200_000)
    await app.deadLetters.redrive({})
    await until(async () => (await result.state()) === 'SUCCESS')

    expect(retries).toEqual([0, 1, 0, 1])
  })

  it('may be redriven with all others', async () => {
    const app = newApp({ broker: url() })
    const { task, mend } = brokenTask(app)
    await app.worker()
    const results = await task.delayMany(Array.from({ length: 20 }, (_, n) => [n]))
    await fail(results)

    mend()
    const count = await app.deadLetters.redrive({})
    await until(async () => (await Promise.all(results.map((result) => result.state()))).every((s) => s === 'SUCCESS'))

    expect(count).toBe(20)
    expect(await app.deadLetters.list()).toEqual([])
  })

  it('may be chosen by a filter, and what is not chosen stays in its place', async () => {
    const app = newApp({ broker: url() })
    const { task, mend } = brokenTask(app)
    await app.worker({ concurrency: 1 })
    const results = await task.delayMany([[1], [2], [3], [4]])
    await fail(results)

    mend()
    const isEven = ({ args }: DeadLetter): boolean => (args as number[]).every((n) => n % 2 === 0)
    const count = await app.deadLetters.redrive({ queue: 'picking', filter: isEven })

    expect(count).toBe(2)
    expect((await app.deadLetters.list()).map(({ args }) => args)).toEqual([[1], [3]])
  })

  it('may get other arguments on its way back', async () => {
    const app = newApp({ broker: url() })
    const { task, mend, seen } = brokenTask(app)
    const pack = app.task('pack', { input: z.object({ boxes: z.number() }) }, ({ boxes }) => boxes)
    await app.worker()
    const result = await task.delay(1)
    await fail([result])
    const packed = await publishForeign(app, 'pack', { kwargs: { boxes: 'many' } })
    await fail([app.result(packed)])

    mend()
    await app.deadLetters.redrive({
      edit: ({ task: name }) => (name === pack.name ? { kwargs: { boxes: 2 } } : { args: [99] }),
    })
    await until(async () => (await result.state()) === 'SUCCESS' && (await app.result(packed).state()) === 'SUCCESS')

    expect(seen).toEqual([1, 99])
    expect(await result.get()).toBe(990)
    expect(await app.result(packed).get()).toBe(2)
  })

  it('goes back at the rate that is asked for', async () => {
    const app = newApp({ broker: url() })
    const { task } = brokenTask(app)
    const worker = await app.worker()
    await fail(await task.delayMany([[1], [2], [3], [4], [5]]))
    await worker.stop()

    const began = performance.now()
    const count = await app.deadLetters.redrive({ perSecond: 50 })

    expect(count).toBe(5)
    expect(performance.now() - began).toBeGreaterThanOrEqual(75)
    expect(await depthOf(app, 'picking')).toEqual([5, 0, 0])
  })

  it('that dies again has both ends in its story', async () => {
    const app = newApp({ broker: url() })
    const { task } = brokenTask(app)
    await app.worker()
    const result = await task.delay(7)
    await fail([result])

    await app.deadLetters.redrive({})
    await until(async () => (await app.deadLetters.list())[0]?.attempts.length === 2)

    expect(await result.info()).toMatchObject({ status: 'FAILURE', fence: 2 })
    expect(await depthOf(app, 'picking.dead')).toEqual([1, 0, 0])
  })

  it('may be dropped for good', async () => {
    const app = newApp({ broker: url() })
    const { task } = brokenTask(app)
    await app.worker()
    const results = await task.delayMany([[1], [2]])
    await fail(results)

    const count = await app.deadLetters.drop({ filter: ({ args }) => (args as number[])[0] === 1 })

    expect(count).toBe(1)
    expect((await app.deadLetters.list()).map(({ args }) => args)).toEqual([[2]])
    expect(await results[0]?.state()).toBe('FAILURE')
  })
})

describe.each(brokers)('a step of a chain that is redriven, on $broker', ({ url }) => {
  it('goes on with the rest of its chain, until all of it has succeeded', async () => {
    const app = newApp({ broker: url() })
    const { task: pick, mend } = brokenTask(app)
    const start = app.task('start', () => 4)
    const pack = app.task('pack', { queue: 'packing' }, (n: number) => n + 1)
    const deliver = app.task('deliver', { queue: 'delivering' }, (n: number) => `order ${n}`)
    await app.worker()

    const result = await chain(start.s(), pick.s(), pack.s(), deliver.s()).delay()
    await fail([result])
    expect(states(await result.tree())).toEqual(['SUCCESS', 'FAILURE', 'FAILURE', 'FAILURE'])

    mend()
    expect(await app.deadLetters.redrive({ queue: 'picking' })).toBe(1)

    expect(await result.get()).toBe('order 41')
    expect(states(await result.tree())).toEqual(['SUCCESS', 'SUCCESS', 'SUCCESS', 'SUCCESS'])
    expect(await app.deadLetters.list()).toEqual([])
  })

  it('is PENDING again at once, and so are the steps behind it: nobody is told the old end', async () => {
    const app = newApp({ broker: url() })
    const { task: pick } = brokenTask(app)
    const pack = app.task('pack', { queue: 'packing' }, (n: number) => n + 1)
    const worker = await app.worker()
    const result = await chain(pick.s(1), pack.s()).delay()
    await fail([result])
    await worker.stop()

    await app.deadLetters.redrive({ queue: 'picking' })

    expect(states(await result.tree())).toEqual(['PENDING', 'PENDING'])
    expect(await result.info()).toMatchObject({ result: null, traceback: null, doneAt: null })
  })
})

it('a redrive at a rate of nothing is refused', async () => {
  const app = await newApp().open()

  await expect(app.deadLetters.redrive({ perSecond: 0 })).rejects.toThrow('`perSecond` must be more than 0, got 0')
})

interface Node {
  readonly state: string
  readonly children: readonly Node[]
}

function states({ state, children }: Node): string[] {
  return [state, ...children.flatMap(states)]
}

describe.each(brokers)('a message that its workers do not survive, on $broker', ({ url }) => {
  /** Takes the message and vanishes, as by `kill -9`. */
  async function loseWorker(app: Celeriac): Promise<void> {
    const consumer = await app.broker.consume(['celery'], { leaseMs: 20 })
    await until(async () => (await consumer.fetch(1, { waitMs: 20 })).length === 1)
    ;(consumer as MemoryConsumer | SqliteConsumer).abandon()
    if (app.config.broker.startsWith('memory')) skipAhead(21)
    await until(async () => (await depthOf(app))[2] === 0)
  }

  it('goes to the dead letters after `maxDeliveries` of them', async () => {
    const app = await newApp({ broker: url() }).open()
    const counts: number[] = []
    const deadly = app.task('deadly', { bind: true, maxDeliveries: 2 }, (ctx) => {
      counts.push(ctx.deliveryCount)
    })
    // Another one keeps the lease thread of this process at work while nobody consumes.
    const watcher = await app.broker.consume(['elsewhere'])
    const survivor = await deadly.delay()
    await loseWorker(app)
    const worker = await app.worker()
    await survivor.get()
    await worker.stop()

    const result = await deadly.delay()
    await loseWorker(app)
    await loseWorker(app)
    await app.worker()
    const error = await rejection(result.get())

    expect(counts).toEqual([2])
    expect(error.message).toBe('2 workers were lost while they had this task; it may be what kills them')
    expect(await app.deadLetters.show(result.id)).toMatchObject({ reason: 'worker lost', deliveries: 3 })
    await watcher.close()
  })
})
