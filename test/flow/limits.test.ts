/** How often and how many at once: what may not start waits in the broker, keeps its retries, and is run in the end. */
import type { Celeriac, TaskOptions } from 'celeriac'
import { ManualClock } from 'celeriac/testing'
import { describe, expect, it } from 'vitest'
import { RateLimits } from '../../src/work/rate-limits.ts'
import { brokers, depthOf, gate, newApp, recordingLogger, until } from './fixture.ts'

const range = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

describe('a rate in one worker', () => {
  it('lets one through at once, and the next a period later', async () => {
    const clock = new ManualClock()
    const rates = new RateLimits(clock)
    rates.set('pick', 10)

    expect(rates.take('pick')).toBe(0)
    expect(rates.take('pick')).toBe(100)
    await clock.advance(100)
    expect(rates.take('pick')).toBe(0)
  })

  it('sends each of a crowd away until a moment of its own', () => {
    const rates = new RateLimits(new ManualClock())
    rates.set('pick', 10)
    rates.take('pick')

    expect(range(4).map(() => rates.take('pick'))).toEqual([100, 200, 300, 400])
  })

  it('does not save up what was not used', async () => {
    const clock = new ManualClock()
    const rates = new RateLimits(clock)
    rates.set('pick', 10)
    rates.take('pick')
    await clock.advance(5_000)

    expect(range(3).map(() => rates.take('pick') > 0)).toEqual([false, true, true])
  })

  it('can be changed and lifted', () => {
    const rates = new RateLimits(new ManualClock())
    rates.set('pick', 1)
    rates.take('pick')
    rates.set('pick', undefined)

    expect(range(3).map(() => rates.take('pick'))).toEqual([0, 0, 0])
  })
})

describe.each(brokers)('limits of a task on $broker', ({ url }) => {
  /** Two applications on one broker, with a task each of the same name. */
  function two(options: TaskOptions, run: (customer: string) => unknown): Celeriac[] {
    const broker = url()
    return [0, 1].map(() => {
      const app = newApp({ broker })
      app.task('serve', options, run)
      return app
    })
  }

  const serve = (app: Celeriac) => app.remote<[string], unknown>('serve')

  it('a rate lets all through in the end, without a retry on their account', async () => {
    const app = newApp({ broker: url() })
    const retries: number[] = []
    const task = app.task('pick', { rateLimit: '50/s', bind: true }, (ctx, _n: number) => retries.push(ctx.retries))
    await app.worker()

    const results = await task.delayMany(range(8).map((n): [number] => [n]))
    await Promise.all(results.map((result) => result.get({ timeout: '25s' })))

    expect(retries).toEqual(range(8).map(() => 0))
  })

  it('a rate of the cluster, for each key, lets each through once', async () => {
    const served: string[] = []
    const apps = two({ rateLimit: { limit: 100, per: '1s', key: (customer: string) => customer } }, (customer) =>
      served.push(customer),
    )
    for (const app of apps) await app.worker()

    const customers = range(20).map((n) => `${n % 2}`)
    const results = await serve(apps[0] as Celeriac).delayMany(customers.map((customer): [string] => [customer]))
    await Promise.all(results.map((result) => result.get({ timeout: '25s' })))

    expect(served.sort()).toEqual(customers.sort())
  })

  it('no more run at once than `concurrency` allows, over all workers', async () => {
    const running = new Map<string, number>()
    let most = 0
    const apps = two({ concurrency: { limit: 2, key: (customer: string) => customer } }, async (customer) => {
      running.set(customer, (running.get(customer) ?? 0) + 1)
      most = Math.max(most, running.get(customer) ?? 0)
      await new Promise((resolve) => setTimeout(resolve, 5))
      running.set(customer, (running.get(customer) ?? 0) - 1)
    })
    for (const app of apps) await app.worker()

    const results = await serve(apps[0] as Celeriac).delayMany(range(24).map((n): [string] => [`${n % 2}`]))
    await Promise.all(results.map((result) => result.get({ timeout: '25s' })))

    expect(most).toBe(2)
  })

  it('what waits for a slot is in the broker, not in the worker', async () => {
    const app = newApp({ broker: url() })
    const door = gate()
    const task = app.task('hold', { concurrency: 1 }, () => door.opened)
    const worker = await app.worker()

    const results = await task.delayMany(range(5).map((): [] => []))
    await until(async () => (await depthOf(app, 'celery'))[1] === 4)

    expect(worker.health().running).toBe(1)
    door.open()
    await Promise.all(results.map((result) => result.get({ timeout: '25s' })))
  })

  it('a unique call is sent once, and the others are given its result', async () => {
    const broker = url()
    const app = newApp({ broker })
    let runs = 0
    const task = app.task(
      'report',
      { unique: { for: '1h', key: (day: string) => day } },
      (day: string, _note: string) => {
        runs += 1
        return day
      },
    )

    const [first, second, other] = await Promise.all([
      task.delay('monday', 'a'),
      task.delay('monday', 'b'),
      task.delay('tuesday', 'a'),
    ])
    await app.worker()

    expect(second.id).toBe(first.id)
    expect(other.id).not.toBe(first.id)
    expect(await Promise.all([first.get(), second.get(), other.get()])).toEqual(['monday', 'monday', 'tuesday'])
    expect(runs).toBe(2)
    const many = await task.delayMany([
      ['monday', 'c'],
      ['sunday', 'c'],
    ])
    expect(many[0]?.id).toBe(first.id)
    expect(await many[1]?.get()).toBe('sunday')
  })

  it('a circuit breaker leaves alone what fails, tries one, and goes on when that works', async () => {
    const { logger, lines } = recordingLogger()
    const app = newApp({ broker: url(), logger })
    let isBroken = true
    let failed = 0
    const retries: number[] = []
    const task = app.task(
      'charge',
      {
        bind: true,
        autoretryFor: [Error],
        maxRetries: 50,
        defaultRetryDelay: '10ms',
        circuitBreaker: { failures: 3, coolDown: '150ms' },
      },
      (ctx, _n: number) => {
        if (isBroken) {
          failed += 1
          throw new Error('the bank is closed')
        }
        retries.push(ctx.retries)
      },
    )
    await app.worker({ concurrency: 1 })

    const results = await task.delayMany(range(12).map((n): [number] => [n]))
    await until(() => failed >= 5) // Three that opened it, and probes.
    expect(lines).toContain('warn: failed so often in a row that it is left alone for a while')
    isBroken = false
    await Promise.all(results.map((result) => result.get({ timeout: '25s' })))

    // Twelve calls with a retry each ten milliseconds would have burnt many more.
    expect(retries.reduce((sum, n) => sum + n, 0)).toBe(failed)
    expect(failed).toBeLessThan(12)
  })
})

describe('limits that cannot be kept', () => {
  it.each([
    [{ rateLimit: 'often' }, "a rate is a number per second, or a text such as '10/s', '100/m' or '1000/h'"],
    [{ rateLimit: { limit: 0, per: '1s' } }, 'must let something through'],
    [{ rateLimit: { limit: 1, per: '1s', scope: 'galaxy' } }, "must be one of 'worker', 'cluster'"],
    [{ rateLimit: { limit: 1, per: '1s', scope: 'worker', burst: 2 } }, "needs the scope 'cluster'"],
    [{ concurrency: 0 }, 'must be a whole number of at least 1'],
    [{ concurrency: { limit: 1, keys: () => '' } }, 'did you mean `key`?'],
    [{ unique: {} }, '`unique.for` of task `x` must be a number of seconds'],
    [{ circuitBreaker: { failures: 0 } }, 'must be a whole number of at least 1'],
  ])('are refused when the task is defined: %j', (options, message) => {
    expect(() => newApp().task('x', options as TaskOptions, () => undefined)).toThrow(message)
  })
})
