/** Steps of a task that are done once, and sleeps that take no slot. */
import type { TaskContext } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { brokers, depthOf, newApp, rejection, skipAhead, until } from './fixture.ts'

describe.each(brokers)('durable steps on $broker', ({ url }) => {
  it('are done once, however often the task is retried', async () => {
    const app = newApp({ broker: url() })
    const done: string[] = []
    const fulfil = app.task(
      'fulfil',
      { bind: true, autoretryFor: [RangeError], defaultRetryDelay: '5ms', maxRetries: 3 },
      async (ctx, order: string) => {
        const charge = await ctx.step('charge', async () => {
          done.push(`charge ${order}`)
          return { id: 7, at: new Date(0) }
        })
        const nothing = await ctx.step('note', () => void done.push('note'))
        if (ctx.retries < 2) throw new RangeError('not yet')
        return { charge, nothing, retries: ctx.retries }
      },
    )
    await app.worker()

    const result = await fulfil.delay('O-1')

    expect(await result.get()).toEqual({ charge: { id: 7, at: new Date(0) }, nothing: null, retries: 2 })
    expect(done).toEqual(['charge O-1', 'note'])
    await until(async () => (await stepsOf(app, result.id, 'charge', 'note')).every((record) => record === undefined))
  })

  it('are done again when they failed, and only then', async () => {
    const app = newApp({ broker: url() })
    const tries: string[] = []
    const fulfil = app.task(
      'fulfil',
      { bind: true, autoretryFor: [RangeError], defaultRetryDelay: '5ms' },
      async (ctx: TaskContext) =>
        Promise.all(
          ['a', 'b'].map((name) =>
            ctx.step(name, () => {
              tries.push(name)
              if (name === 'b' && tries.filter((one) => one === 'b').length < 3) throw new RangeError('b fails')
              return name
            }),
          ),
        ),
    )
    await app.worker()

    expect(await (await fulfil.delay()).get()).toEqual(['a', 'b'])
    expect(tries.sort()).toEqual(['a', 'b', 'b', 'b'])
  })

  it('let a redriven dead letter go on behind those that were done', async () => {
    const app = newApp({ broker: url() })
    const done: string[] = []
    let isBroken = true
    const fulfil = app.task('fulfil', { bind: true }, async (ctx) => {
      await ctx.step('charge', () => void done.push('charge'))
      if (isBroken) throw new TypeError('no courier')
      return 'shipped'
    })
    await app.worker()
    const result = await fulfil.delay()
    await rejection(result.get())

    isBroken = false
    await app.deadLetters.redrive({})

    await until(async () => (await result.state()) === 'SUCCESS')
    expect(done).toEqual(['charge'])
  })

  it('sleep without a slot, without a retry, and go on where they were', async () => {
    const app = newApp({ broker: url() })
    const log: string[] = []
    const fulfil = app.task('fulfil', { bind: true }, async (ctx) => {
      log.push(`run ${ctx.retries} ${ctx.deliveryCount}`)
      await ctx.step('charge', () => void log.push('charge'))
      try {
        await ctx.sleep('1h')
      } finally {
        log.push('finally')
      }
      return 'awake'
    })
    const quick = app.task('quick', () => 'done')
    await app.worker({ concurrency: 1 })

    const result = await fulfil.delay()
    await until(async () => (await depthOf(app))[1] === 1)
    expect(await (await quick.delay()).get()).toBe('done')
    skipAhead(3_600_000)
    await quick.delay() // Its arrival has the worker look.

    expect(await result.get({ timeout: '25s' })).toBe('awake')
    expect(log).toEqual(['run 0 1', 'charge', 'finally', 'run 0 1', 'finally'])
  })

  it('do not expire while they sleep, and end with a later word than that of any run before', async () => {
    const app = newApp({ broker: url() })
    const dozy = app.task('dozy', { bind: true, trackStarted: true }, async (ctx) => {
      await ctx.updateState('PROGRESS', { retries: ctx.retries })
      await ctx.sleep('1h')
      return 'awake'
    })
    const quick = app.task('quick', () => 'done')
    await app.worker()
    const result = await dozy.applyAsync([], { expires: '10m' })
    await until(async () => (await depthOf(app))[1] === 1)
    const [before] = (await app.results?.load([result.id])) ?? []

    skipAhead(3_600_000)
    await quick.delay()

    expect(await result.get({ timeout: '25s' })).toBe('awake')
    const [after] = (await app.results?.load([result.id])) ?? []
    expect(after?.fence).toBeGreaterThan(before?.fence as number)
  })

  it('cannot be kept awake by a task that catches everything', async () => {
    const app = newApp({ broker: url() })
    let runs = 0
    const stubborn = app.task('stubborn', { bind: true }, async (ctx) => {
      runs += 1
      await ctx.sleep('1h').catch(() => undefined)
      return runs
    })
    const quick = app.task('quick', () => 'done')
    await app.worker()

    const result = await stubborn.delay()
    await until(async () => (await depthOf(app))[1] === 1)
    skipAhead(3_600_000)
    await quick.delay() // Its arrival has the worker look.

    expect(await result.get()).toBe(2)
  })

  it('are revoked while they sleep', async () => {
    const app = newApp({ broker: url() })
    let runs = 0
    const dozy = app.task('dozy', { bind: true }, async (ctx) => {
      runs += 1
      await ctx.sleep('1h')
    })
    const quick = app.task('quick', () => 'done')
    const worker = await app.worker()
    const result = await dozy.delay()
    await until(async () => (await depthOf(app))[1] === 1)

    await result.revoke()
    await until(() => worker.revoked.covers({ id: result.id, headers: {} } as never))
    skipAhead(3_600_000)
    await quick.delay()

    await until(async () => (await result.state()) === 'REVOKED')
    expect(runs).toBe(1)
  })
})

describe('a step', () => {
  it.each([
    [
      'whose name comes twice',
      async (ctx: TaskContext) => {
        await ctx.step('charge', () => 1)
        await ctx.step('charge', () => 2)
      },
      'STEP_INVALID',
      "this run has had a step 'charge' already",
    ],
    ['without a name', (ctx: TaskContext) => ctx.step('', () => 1), 'STEP_INVALID', "a step's name must be a text"],
    [
      'in which the task sleeps',
      (ctx: TaskContext) => ctx.step('charge', () => ctx.sleep('1h')),
      'STEP_INVALID',
      'sleep between steps',
    ],
    [
      'whose result cannot be kept',
      (ctx: TaskContext) => ctx.step('charge', () => () => 1),
      'PAYLOAD_INVALID',
      'function',
    ],
  ])('%s fails', async (_what, run, _code, message) => {
    const app = newApp()
    const task = app.task('task', { bind: true }, (ctx) => run(ctx) as Promise<unknown>)
    await app.worker()

    expect((await rejection((await task.delay()).get())).message).toContain(message)
  })

  it('needs something to keep its result in', async () => {
    const app = newApp({ results: false })
    let error: unknown
    const task = app.task('task', { bind: true }, (ctx) =>
      ctx
        .step('charge', () => 1)
        .catch((caught: unknown) => {
          error = caught
        }),
    )
    await app.worker()
    await task.delay()

    await until(() => error !== undefined)
    expect(error).toMatchObject({ code: 'RESULTS_DISABLED', message: expect.stringContaining('set `results`') })
  })
})

function stepsOf(app: ReturnType<typeof newApp>, id: string, ...names: string[]) {
  return app.results?.load(names.map((name) => `${id}:step:${name}`)) ?? Promise.resolve([])
}
