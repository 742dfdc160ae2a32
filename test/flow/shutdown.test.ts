import type { Celeriac, CeleriacError, TaskContext } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { brokers, depthOf, gate, newApp, recordingLogger, skipAhead, until } from './fixture.ts'

/** What the run of a task knew of its attempts. */
const attemptOf = (ctx: TaskContext): [retries: number, deliveryCount: number] => [ctx.retries, ctx.deliveryCount]

/** Fails when the signal aborts, as a fetch or a database call does. */
function abortable({ signal }: TaskContext): Promise<never> {
  return new Promise((_resolve, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason))
  })
}

/** A task that waits for the signal the first time, and says what it knows of its attempts the second. */
function interruptible(app: Celeriac, options: { acksLate?: boolean } = {}) {
  const reasons: CeleriacError[] = []
  let runs = 0
  const task = app.task('interruptible', { bind: true, ...options }, async (ctx) => {
    runs += 1
    if (runs > 1) return attemptOf(ctx)
    return abortable(ctx).catch((reason: CeleriacError) => {
      reasons.push(reason)
      throw reason
    })
  })
  return { task, reasons, runs: () => runs }
}

describe.each(brokers)('a worker that is stopped, on $broker', ({ url }) => {
  it('lets running tasks end and stores their outcomes', async () => {
    const app = newApp({ broker: url() })
    const { opened, open } = gate()
    let started = 0
    const slow = app.task('slow', async () => {
      started += 1
      await opened
      return 'done'
    })
    const worker = await app.worker()
    const results = await slow.delayMany([[], []])
    await until(() => started === 2)

    const stopped = worker.stop()
    open()
    await stopped

    expect(await Promise.all(results.map((result) => result.state()))).toEqual(['SUCCESS', 'SUCCESS'])
    expect(worker.health()).toMatchObject({ ok: false, running: 0, processed: 2 })
  })

  it('takes nothing new, and hands back at once what has not started', async () => {
    const app = newApp({ broker: url() })
    const { opened, open } = gate()
    const slow = app.task('slow', () => opened)
    const quick = app.task('quick', { bind: true }, attemptOf)
    await app.open()
    await slow.delay()
    const waiting = await quick.delayMany([[], []])
    const worker = await app.worker({ concurrency: 1, prefetch: 3 })
    await until(async () => (await depthOf(app))[2] === 3)

    const stopped = worker.stop()
    const late = await quick.delay()
    await until(async () => (await depthOf(app))[0] === 3)

    expect(await depthOf(app)).toEqual([3, 0, 1])
    open()
    await stopped
    await app.worker()
    const attempts = await Promise.all([...waiting, late].map((result) => result.get()))
    expect(attempts).toEqual([
      [0, 1],
      [0, 1],
      [0, 1],
    ])
  })

  it('aborts `ctx.signal` of what still runs after its timeout; that goes back, and costs no retry and no delivery', async () => {
    const app = newApp({ broker: url() })
    const { task, reasons, runs } = interruptible(app)
    const worker = await app.worker({ shutdownTimeout: '10ms' })
    const result = await task.delay()
    await until(() => runs() === 1)

    await worker.stop()

    expect(reasons).toMatchObject([
      { code: 'CLOSED', message: 'the worker is shutting down; the task goes back to its queue' },
    ])
    expect(await depthOf(app)).toEqual([1, 0, 0])
    expect(await result.state()).toBe('PENDING')
    await app.worker()
    expect(await result.get()).toEqual([0, 1])
    expect(await app.deadLetters.list()).toEqual([])
  })

  it('gives up what does not end, and refuses its late outcome: that of the next worker counts', async () => {
    const broker = url()
    const { logger, lines } = recordingLogger()
    const { opened, open } = gate()
    const { opened: told, open: tell } = gate()
    const first = newApp({ broker, logger })
    const deaf = first.task('deaf', { bind: true }, async ({ signal }) => {
      signal.addEventListener('abort', tell)
      await opened
      return 'late'
    })
    const second = newApp({ broker })
    second.task('deaf', { bind: true }, (ctx) => ['in time', ...attemptOf(ctx)])
    const worker = await first.worker({ shutdownTimeout: '10ms', name: 'w1' })
    const result = await deaf.delay()
    await until(() => worker.health().running === 1)

    const stopped = worker.stop()
    await told
    skipAhead(5_001)
    await stopped
    await second.worker({ name: 'w2' })

    expect(await result.get()).toEqual(['in time', 0, 1])
    open()
    await until(() => lines.includes('warn: the lease was lost before the outcome was stored; the task will run again'))
    expect(await result.info()).toMatchObject({ status: 'SUCCESS', worker: 'w2' })
  })
})

describe('a second signal', () => {
  it('aborts at once: `interrupt()` cuts the wait of `stop()` short', async () => {
    const app = newApp()
    const { task, reasons, runs } = interruptible(app)
    const worker = await app.worker({ shutdownTimeout: '1h' })
    const result = await task.delay()
    await until(() => runs() === 1)

    const stopped = worker.stop()
    worker.interrupt()
    await stopped

    expect(reasons).toHaveLength(1)
    await app.worker()
    expect(await result.get()).toEqual([0, 1])
  })
})

describe('a task that is told to stop', () => {
  it('may finish all the same: then it has succeeded', async () => {
    const app = newApp()
    const tidy = app.task('tidy', { bind: true }, async (ctx) => {
      await abortable(ctx).catch(() => undefined)
      return 'tidied up'
    })
    const worker = await app.worker({ shutdownTimeout: 0 })
    const result = await tidy.delay()
    await until(() => worker.health().running === 1)

    await worker.stop()

    expect(await result.get()).toBe('tidied up')
  })

  it('may throw what it likes: it goes back, even if it would be retried or given up for that', async () => {
    const app = newApp()
    let runs = 0
    const wrapped = app.task('wrapped', { bind: true, maxRetries: 0, autoretryFor: [RangeError] }, async (ctx) => {
      runs += 1
      if (runs > 1) return attemptOf(ctx)
      return abortable(ctx).catch((cause) => {
        throw new RangeError('the download was cut off', { cause })
      })
    })
    const worker = await app.worker({ shutdownTimeout: 0 })
    const result = await wrapped.delay()
    await until(() => runs === 1)

    await worker.stop()
    await app.worker()

    expect(await result.get()).toEqual([0, 1])
  })

  it('goes back although it was acknowledged before its run', async () => {
    const app = newApp()
    const { task, runs } = interruptible(app, { acksLate: false })
    const worker = await app.worker({ shutdownTimeout: 0 })
    const result = await task.delay()
    await until(() => runs() === 1)

    await worker.stop()

    expect(await depthOf(app)).toEqual([1, 0, 0])
    await app.worker()
    expect(await result.get()).toEqual([0, 1])
  })
})

describe('stopping', () => {
  it('twice is stopping once', async () => {
    const worker = await newApp().worker()

    await Promise.all([worker.stop(), worker.stop()])
    await worker.stop()

    expect(worker.health().ok).toBe(false)
  })

  it('is what `await using` does at the end of its block', async () => {
    const app = newApp()
    let used: { health(): { ok: boolean } } | undefined
    {
      await using worker = await app.worker()
      used = worker
      expect(worker.health().ok).toBe(true)
    }

    expect(used.health().ok).toBe(false)
  })

  it('is stopped once, also by those whom its signal tells', async () => {
    const app = newApp()
    const worker = await app.worker()
    const stops: Promise<void>[] = []
    worker.stopping.addEventListener('abort', () => stops.push(worker.stop()))

    const first = worker.stop()
    await first

    expect(stops).toEqual([first])
    expect(stops[0]).toBe(first)
  })

  it('the application stops its workers, then lets go of its connections', async () => {
    const app = newApp()
    const { opened, open } = gate()
    let state = 'waiting'
    const slow = app.task('slow', async () => {
      state = 'running'
      await opened
      state = 'done'
    })
    const worker = await app.worker()
    await slow.delay()
    await until(() => state === 'running')

    const closed = app.close()
    open()
    await closed

    expect(state).toBe('done')
    expect(worker.health()).toMatchObject({ ok: false, running: 0, processed: 1 })
    expect(() => app.broker).toThrow(expect.objectContaining({ code: 'CLOSED' }))
  })
})
