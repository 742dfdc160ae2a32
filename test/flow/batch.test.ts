/** Tasks whose calls are run many at a time. */
import { type BatchContext, chain, chord, group, Ignore } from 'celeriac'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { TaskMessage } from '../../src/send/message.ts'
import type { Worker } from '../../src/work/worker.ts'
import {
  brokers,
  depthOf,
  gate,
  memoryUrl,
  newApp,
  publishForeign,
  rejection,
  skipAhead,
  thrown,
  until,
} from './fixture.ts'

const isRevoked = (worker: Worker, id: string | undefined): boolean =>
  worker.revoked.covers({ id, headers: {} } as TaskMessage)

const range = (count: number): number[] => Array.from({ length: count }, (_, n) => n)

describe.each(brokers)('a batch on $broker', ({ url }) => {
  it('is run once it is complete, and gives each call its own result', async () => {
    const app = newApp({ broker: url() })
    const sizes: number[] = []
    const square = app.batch('square', { maxSize: 5, maxWait: '1m' }, (numbers: number[]) => {
      sizes.push(numbers.length)
      return numbers.map((n) => n * n)
    })
    await app.open()
    const results = await square.delayMany(range(10).map((n) => [n]))

    await app.worker({ concurrency: 1 })

    expect(await Promise.all(results.map((result) => result.get()))).toEqual(range(10).map((n) => n * n))
    expect(sizes).toEqual([5, 5])
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })

  it('is run incomplete when its first call has waited long enough', async () => {
    const app = newApp({ broker: url() })
    const pack = app.batch('pack', { maxSize: 100, maxWait: '50ms' }, (items: string[]) =>
      items.map(() => items.length),
    )
    await app.worker()

    const results = await pack.delayMany([['a'], ['b'], ['c']])

    expect(await Promise.all(results.map((result) => result.get()))).toEqual([3, 3, 3])
  })

  it('puts together only calls of one key', async () => {
    const app = newApp({ broker: url() })
    interface Order {
      readonly aisle: number
      readonly id: number
    }
    const batches: Order[][] = []
    const pick = app.batch('pick', { maxSize: 3, maxWait: '50ms', key: ({ aisle }: Order) => aisle }, (orders) => {
      batches.push(orders)
    })
    await app.open()
    const results = await pick.delayMany(range(8).map((id) => [{ aisle: id % 2, id }]))

    await app.worker({ concurrency: 4 })
    await Promise.all(results.map((result) => result.get()))

    expect(batches.map((orders) => orders.map(({ aisle }) => aisle).join(''))).toEqual(
      expect.arrayContaining(['000', '111', '0', '1']),
    )
    expect(
      batches
        .flat()
        .map(({ id }) => id)
        .sort(),
    ).toEqual(range(8))
  })

  it('as a whole is retried or given up by what its function throws, each call with its own count', async () => {
    const app = newApp({ broker: url() })
    const seen: number[][] = []
    const load = app.batch(
      'load',
      { maxSize: 3, maxWait: '20ms', autoretryFor: [TypeError], maxRetries: 2, defaultRetryDelay: '10ms' },
      (items: string[], ctx) => {
        seen.push(ctx.requests.map(({ retries }) => retries))
        throw new TypeError(`no truck for ${items.length}`)
      },
    )
    await app.worker()

    const results = await load.delayMany([['a'], ['b'], ['c']])

    for (const result of results) expect(await rejection(result.get())).toMatchObject({ type: 'TypeError' })
    expect(seen.flat().sort()).toEqual([0, 0, 0, 1, 1, 1, 2, 2, 2])
    const letters = await app.deadLetters.list()
    expect(letters.map(({ id }) => id).sort()).toEqual(results.map(({ id }) => id).sort())
    expect(letters[0]).toMatchObject({ reason: 'retries exhausted' })
  })

  it('lets single calls fail, be retried or be forgotten, and the others succeed', async () => {
    const app = newApp({ broker: url() })
    const pack = app.batch('pack', { maxSize: 4, maxWait: '30ms' }, (items: string[], ctx) =>
      items.map((item, index) => {
        const isFirst = ctx.requests[index]?.retries === 0
        if (item === 'broken') ctx.fail(index, new RangeError('it is broken'))
        if (item === 'busy' && isFirst) ctx.fail(index, ctx.retry({ countdown: '10ms' }))
        if (item === 'gone') ctx.fail(index, new Ignore())
        return `packed ${item}`
      }),
    )
    await app.worker()

    const [good, broken, busy, gone] = await pack.delayMany([['good'], ['broken'], ['busy'], ['gone']])

    expect(await good?.get()).toBe('packed good')
    expect(await busy?.get()).toBe('packed busy')
    expect(await rejection(broken?.get() as Promise<unknown>)).toMatchObject({ type: 'RangeError' })
    await until(async () => (await depthOf(app)).every((count) => count === 0))
    expect(await gone?.state()).toBe('PENDING')
    expect(await app.deadLetters.list()).toMatchObject([{ id: broken?.id, reason: 'failed' }])
  })

  it('goes on with the chain of each call', async () => {
    const app = newApp({ broker: url() })
    const pick = app.task('pick', (order: number) => ({ order }))
    const pack = app.batch('pack', { maxSize: 3, maxWait: '1m' }, (picked: { order: number }[]) =>
      picked.map(({ order }) => `box ${order}`),
    )
    const ship = app.task('ship', (box: string) => `${box} shipped`)
    await app.worker()

    const results = await Promise.all(range(3).map((order) => chain(pick.s(order), pack.s(), ship.s()).delay()))

    expect((await Promise.all(results.map((result) => result.get()))).sort()).toEqual(
      range(3).map((order) => `box ${order} shipped`),
    )
  })

  it('is a member of chords and a step of groups as any task is', async () => {
    const app = newApp({ broker: url() })
    const square = app.batch('square', { maxSize: 4, maxWait: '30ms' }, (numbers: number[]) =>
      numbers.map((n) => n * n),
    )
    const total = app.task('total', (squares: number[]) => squares.reduce((sum, n) => sum + n, 0))
    await app.worker()

    const result = await chord(group(range(4).map((n) => square.s(n))), total.s()).delay()

    expect(await result.get({ timeout: '25s' })).toBe(0 + 1 + 4 + 9)
  })

  it('takes its calls from Python too, with positional and with keyword arguments', async () => {
    const app = newApp({ broker: url() })
    const batches: unknown[][] = []
    app.batch('pack', { maxSize: 2, maxWait: '1m' }, (items: unknown[]) => void batches.push(items))
    await app.worker()

    await publishForeign(app, 'pack', { args: [{ id: 1 }] })
    await publishForeign(app, 'pack', { kwargs: { id: 2 } })

    await until(() => batches.length === 1)
    expect(batches).toEqual([[{ id: 1 }, { id: 2 }]])
  })

  it('is given back when the worker stops before it was run, at no cost', async () => {
    const app = newApp({ broker: url() })
    const contexts: BatchContext[] = []
    app.batch('pack', { maxSize: 3, maxWait: '1h' }, (_items: number[], ctx) => void contexts.push(ctx))
    const worker = await app.worker()
    const pack = app.remote<[number], void>('pack')
    const early = await pack.delayMany([[1], [2]])
    await until(() => worker.reserved().length === 2)

    await worker.stop()
    expect(await depthOf(app)).toEqual([2, 0, 0])
    await app.worker()
    const last = await pack.delay(3)
    await Promise.all([...early, last].map((result) => result.get()))

    expect(contexts.map(({ requests }) => requests.map((one) => [one.retries, one.deliveryCount]))).toEqual([
      [
        [0, 1],
        [0, 1],
        [0, 1],
      ],
    ])
  })

  it('leaves out what was revoked or has expired while it waited', async () => {
    const app = newApp({ broker: url() })
    const packed: string[][] = []
    const pack = app.batch('pack', { maxSize: 3, maxWait: '1h' }, (items: string[]) => void packed.push(items))
    const worker = await app.worker()
    const revoked = await pack.delay('revoked')
    const expired = await pack.applyAsync(['expired'], { expires: '30s' })
    await until(() => worker.reserved().length === 2)

    await revoked.revoke()
    await until(() => isRevoked(worker, revoked.id))
    skipAhead(60_000)
    await pack.delay('good')

    await until(async () => (await revoked.state()) === 'REVOKED' && (await expired.state()) === 'REVOKED')
    expect(packed).toEqual([['good']])
  })

  it('keeps its worker no longer than its time limit', async () => {
    const app = newApp({ broker: url() })
    const stuck = app.batch('stuck', { maxSize: 2, timeLimit: '40ms' }, () => new Promise<void>(() => undefined))
    await app.worker({ concurrency: 1 })

    const results = await stuck.delayMany([[1], [2]] as [never][])

    for (const result of results) expect(await rejection(result.get())).toMatchObject({ type: 'TimeLimitExceeded' })
  })

  it('refuses to guess whose a wrong number of results are', async () => {
    const app = newApp({ broker: url() })
    const pack = app.batch('pack', { maxSize: 2 }, (items: string[]) => items.slice(1))
    await app.worker()

    const [result] = await pack.delayMany([['a'], ['b']])

    expect((await rejection(result?.get() as Promise<unknown>)).message).toBe(
      "batch 'pack' must return nothing or a list with one value for each of its 2 items, got 1 values",
    )
  })

  it('fails a call whose input does not fit, or whose key cannot be told, and runs the others', async () => {
    const app = newApp({ broker: url() })
    const Order = z.object({ id: z.number() })
    const key = ({ id }: { id: number }): string => {
      if (id === 13) throw new RangeError('unlucky')
      return 'all'
    }
    const pack = app.batch('pack', { input: Order, maxSize: 2, maxWait: '30ms', key }, (orders, ctx) => {
      expect(ctx.requests).toHaveLength(orders.length)
      return orders.map(({ id }) => id)
    })
    await app.worker()

    const bad = await publishForeign(app, 'pack', { kwargs: { id: 'one' } })
    const unlucky = await pack.delay({ id: 13 })
    const good = await pack.delay({ id: 7 })

    expect(await good.get()).toBe(7)
    expect(await rejection(app.result(bad).get())).toMatchObject({ type: 'CeleriacError' })
    expect(await rejection(unlucky.get())).toMatchObject({ type: 'RangeError' })
  })
})

describe('a batch', () => {
  it('takes one slot, and fills as many as there are', async () => {
    const app = newApp()
    const { opened, open } = gate()
    let running = 0
    const pack = app.batch('pack', { maxSize: 10, maxWait: '1m' }, async () => {
      running += 1
      await opened
    })
    const worker = await app.worker({ concurrency: 3 })

    const results = await pack.delayMany(range(50).map((n) => [n] as [never]))
    await until(() => running === 3)

    expect(worker.health().running).toBe(3)
    expect(worker.active()).toHaveLength(30)
    open()
    await Promise.all(results.map((result) => result.get()))
    expect(worker.totals()).toEqual({ pack: 50 })
  })

  it('goes on without the call that is terminated', async () => {
    const app = newApp()
    const { opened, open } = gate()
    const pack = app.batch('pack', { maxSize: 2, maxWait: '1m' }, async (items: string[]) => {
      await opened
      return items
    })
    const worker = await app.worker()
    const [one, other] = await pack.delayMany([['one'], ['other']])
    await until(() => worker.active().length === 2)

    await one?.revoke({ terminate: true })
    await until(() => isRevoked(worker, one?.id))
    open()

    expect(await rejection(one?.get() as Promise<unknown>)).toMatchObject({ code: 'TASK_REVOKED' })
    expect(await other?.get()).toBe('other')
  })

  it('counts as one run for its rate limit', async () => {
    const app = newApp()
    const startedAt: number[] = []
    const pack = app.batch('pack', { maxSize: 5, maxWait: '10ms', rateLimit: '5/s' }, () => {
      startedAt.push(performance.now())
    })
    await app.worker({ concurrency: 4 })

    const results = await pack.delayMany(range(15).map((n) => [n] as [never]))
    await Promise.all(results.map((result) => result.get()))

    const between = startedAt.slice(1).map((at, index) => at - (startedAt[index] as number))
    expect(Math.min(...between)).toBeGreaterThan(150)
  })

  it.each([
    [{ maxSize: 0 }, '`maxSize` of batch `pack` must be a whole number of at least 1, got 0'],
    [{ maxSize: 2, maxWait: 'soon' }, /`maxWait` of batch `pack`/],
    [{ maxSize: 2, key: 'aisle' }, '`key` of batch `pack` must be a function of an item'],
    [{ maxSize: 2, concurrency: 1 }, /batch 'pack' cannot have limits over all workers/],
    [{ maxSize: 2, rateLimit: { limit: 1, per: '1s', scope: 'cluster' } }, /cannot have limits over all workers/],
    [{ maxSize: 2, bind: true }, /bind/],
  ])('refuses the options %o', (options, message) => {
    const app = newApp()
    const error = thrown(() => app.batch('pack', options as never, () => undefined))

    expect(error).toMatchObject({ code: 'CONFIG_INVALID' })
    expect(error.message).toEqual(typeof message === 'string' ? message : expect.stringMatching(message))
  })

  it('refuses a key that is neither text nor number', async () => {
    const app = newApp()
    const pack = app.batch('pack', { maxSize: 2, key: (() => ({})) as never }, () => undefined)
    await app.worker()

    expect((await rejection((await pack.delay(1 as never)).get())).message).toContain('must be a text or a number')
  })
})

describe('whatever comes in whatever order', () => {
  it('every call is in one batch, none is too large, and keys are never mixed', async () => {
    const property = fc.asyncProperty(
      fc.record({
        keys: fc.array(fc.integer({ min: 0, max: 3 }), { minLength: 1, maxLength: 60 }),
        maxSize: fc.integer({ min: 1, max: 12 }),
        concurrency: fc.integer({ min: 1, max: 4 }),
        prefetch: fc.option(fc.integer({ min: 1, max: 20 }), { nil: undefined }),
      }),
      async ({ keys, maxSize, concurrency, prefetch }) => {
        const app = newApp({ broker: memoryUrl() })
        const batches: { key: number; n: number }[][] = []
        const options = { maxSize, maxWait: '5ms', key: ({ key }: { key: number }) => key } as const
        const work = app.batch('work', options, async (items: { key: number; n: number }[]) => {
          batches.push(items)
          await new Promise(setImmediate)
        })
        const worker = await app.worker({ concurrency, ...(prefetch !== undefined && { prefetch }) })
        const results = await work.delayMany(keys.map((key, n) => [{ key, n }]))
        await Promise.all(results.map((result) => result.get({ timeout: '25s' })))
        await worker.stop()

        expect(
          batches
            .flat()
            .map(({ n }) => n)
            .sort((a, b) => a - b),
        ).toEqual(range(keys.length))
        for (const items of batches) {
          expect(items.length).toBeLessThanOrEqual(maxSize)
          expect(new Set(items.map(({ key }) => key)).size).toBe(1)
        }
      },
    )
    await fc.assert(property, { numRuns: 60 })
  })
})
