import { CeleriacError, MaxRetriesExceededError, Reject, Retry, type TaskContext, type TaskOptions } from 'celeriac'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { resolveTaskOptions } from '../../src/task/options.ts'
import { decideRetry, type RetryPolicy, retryCountdownMs } from '../../src/task/retry-policy.ts'
import { brokers, depthOf, newApp, publishForeign, recordingLogger, rejection, until } from './fixture.ts'

class AisleBusy extends Error {
  override readonly name: string = 'AisleBusy'
}

class AisleClosed extends AisleBusy {
  override readonly name = 'AisleClosed'
}

function policy(options: TaskOptions = {}): RetryPolicy {
  return resolveTaskOptions('pick', options, {})
}

describe('whether a failed task runs again', () => {
  it('is no, unless it asks for it', () => {
    const error = new AisleBusy('busy')

    expect(decideRetry(error, 0, 'pick', policy())).toEqual({ retry: false, error, reason: 'failed' })
  })

  it('is yes for the classes of `autoretryFor` and what extends them', () => {
    const options = policy({ autoretryFor: [AisleBusy], retryBackoff: '2s', retryJitter: false })

    expect(decideRetry(new AisleBusy(), 0, 'pick', options)).toMatchObject({ retry: true, countdownMs: 2_000 })
    expect(decideRetry(new AisleClosed(), 0, 'pick', options)).toMatchObject({ retry: true })
    expect(decideRetry(new TypeError('no'), 0, 'pick', options)).toMatchObject({ retry: false, reason: 'failed' })
    expect(decideRetry('a thrown text', 0, 'pick', options)).toMatchObject({ retry: false })
  })

  it('may be decided by a predicate', () => {
    const options = policy({ autoretryFor: (error) => error instanceof Error && 'code' in error && error.code === 503 })

    expect(decideRetry(Object.assign(new Error('answered'), { code: 503 }), 0, 'pick', options)).toMatchObject({
      retry: true,
    })
    expect(decideRetry(Object.assign(new Error('answered'), { code: 404 }), 0, 'pick', options)).toMatchObject({
      retry: false,
    })
  })

  it('is no for the exceptions in `dontAutoretryFor`', () => {
    const options = policy({ autoretryFor: [AisleBusy], dontAutoretryFor: [AisleClosed] })

    expect(decideRetry(new AisleBusy(), 0, 'pick', options)).toMatchObject({ retry: true })
    expect(decideRetry(new AisleClosed(), 0, 'pick', options)).toMatchObject({ retry: false, reason: 'failed' })
  })

  it('is no once there have been `maxRetries`: five with `autoretryFor`, three by hand', () => {
    const auto = policy({ autoretryFor: [AisleBusy] })
    const error = new AisleBusy('busy')

    expect(decideRetry(error, 4, 'pick', auto)).toMatchObject({ retry: true })
    expect(decideRetry(error, 5, 'pick', auto)).toEqual({ retry: false, error, reason: 'retries exhausted' })
    expect(decideRetry(new Retry(), 2, 'pick', policy())).toMatchObject({ retry: true })
    expect(decideRetry(new Retry(), 3, 'pick', policy())).toMatchObject({ retry: false, reason: 'retries exhausted' })
    expect(decideRetry(error, 10_000, 'pick', policy({ autoretryFor: [Error], maxRetries: Infinity }))).toMatchObject({
      retry: true,
    })
    expect(decideRetry(error, 0, 'pick', policy({ autoretryFor: [Error], maxRetries: 0 }))).toMatchObject({
      retry: false,
    })
  })

  it('is never yes for an input that does not fit its schema', () => {
    const error = new CeleriacError('INPUT_INVALID', 'no')

    expect(decideRetry(error, 0, 'pick', policy({ autoretryFor: [Error] }))).toMatchObject({ retry: false })
    expect(decideRetry(error, 0, 'pick', policy({ autoretryFor: () => true }))).toMatchObject({ retry: false })
  })

  it('is no when the task throws `Reject`; its cause is the error', () => {
    const cause = new Error('torn')
    const options = policy({ autoretryFor: [Error] })

    expect(decideRetry(new Reject('broken', { cause }), 0, 'pick', options)).toEqual({
      retry: false,
      error: cause,
      reason: 'rejected',
    })
    expect(decideRetry(new Reject('broken'), 0, 'pick', options)).toMatchObject({ error: { message: 'broken' } })
  })

  it('is what the task asks for: its countdown, its limit, its cause', () => {
    const cause = new AisleBusy('busy')
    const asked = new Retry({ countdownMs: 7_000, maxRetries: 1, cause })

    expect(decideRetry(asked, 0, 'pick', policy())).toEqual({ retry: true, countdownMs: 7_000, error: cause })
    expect(decideRetry(asked, 1, 'pick', policy())).toEqual({ retry: false, error: cause, reason: 'retries exhausted' })
  })

  it('ends in MaxRetriesExceededError when the task asked once too often and gave no cause', () => {
    const decision = decideRetry(new Retry(), 3, 'pick', policy())

    expect(decision.error).toBeInstanceOf(MaxRetriesExceededError)
    expect(decision.error).toMatchObject({ code: 'MAX_RETRIES_EXCEEDED', message: 'pick failed after 3 retries' })
  })
})

describe('the wait before a retry', () => {
  it('is `defaultRetryDelay` without a backoff: three minutes each time, as in Celery', () => {
    const options = policy({ autoretryFor: [Error] })

    expect([0, 1, 9].map((retries) => retryCountdownMs(retries, options))).toEqual([180_000, 180_000, 180_000])
    expect(retryCountdownMs(0, policy({ defaultRetryDelay: '5s' }))).toBe(5_000)
  })

  it('doubles with a backoff, from its base up to its cap', () => {
    const options = policy({ retryBackoff: '2s', retryJitter: false, retryBackoffMax: '30s' })

    expect([0, 1, 2, 3, 4, 5, 50].map((retries) => retryCountdownMs(retries, options))).toEqual([
      2_000, 4_000, 8_000, 16_000, 30_000, 30_000, 30_000,
    ])
  })

  it('begins at one second with `retryBackoff: true`, and is capped at ten minutes', () => {
    const options = policy({ retryBackoff: true, retryJitter: false })

    expect([0, 1, 9, 10].map((retries) => retryCountdownMs(retries, options))).toEqual([1_000, 2_000, 512_000, 600_000])
    expect(retryCountdownMs(0, policy({ retryBackoff: false }))).toBe(180_000)
  })

  it('with jitter is any share of that, both ends included', () => {
    const options = policy({ retryBackoff: '2s' })

    expect(retryCountdownMs(1, options, () => 0)).toBe(0)
    expect(retryCountdownMs(1, options, () => 0.5)).toBe(2_000)
    expect(retryCountdownMs(1, options, () => 1 - Number.EPSILON)).toBe(4_000)
  })

  it('is always whole with jitter, never negative, and never beyond backoff or cap', () => {
    const share = fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true })
    const backoffMs = fc.integer({ min: 0, max: 100_000 })

    const property = fc.property(
      fc.nat({ max: 5_000 }),
      backoffMs,
      backoffMs,
      fc.boolean(),
      share,
      (retries, base, cap, retryJitter, random) => {
        const options = { ...policy(), retryBackoffMs: base, retryBackoffMaxMs: cap, retryJitter }
        const countdownMs = retryCountdownMs(retries, options, () => random)

        expect(Number.isInteger(countdownMs)).toBe(true)
        expect(countdownMs).toBeGreaterThanOrEqual(0)
        expect(countdownMs).toBeLessThanOrEqual(cap)
        if (retries === 0) expect(countdownMs).toBeLessThanOrEqual(base)
      },
    )
    fc.assert(property)
  })

  it('never grows shorter from one retry to the next, without jitter', () => {
    const property = fc.property(fc.nat({ max: 2_000 }), fc.integer({ min: 1, max: 10_000 }), (retries, base) => {
      const options = { ...policy(), retryBackoffMs: base, retryJitter: false }

      expect(retryCountdownMs(retries + 1, options)).toBeGreaterThanOrEqual(retryCountdownMs(retries, options))
    })
    fc.assert(property)
  })
})

describe.each(brokers)('a failed task, on $broker', ({ url }) => {
  const soon = { retryBackoff: '2ms', retryJitter: false } as const

  it('runs again until it succeeds, each time with one retry more', async () => {
    const app = newApp({ broker: url() })
    const seen: [number, string][] = []
    const pick = app.task('pick', { bind: true, autoretryFor: [AisleBusy], ...soon }, (ctx, bin: string) => {
      seen.push([ctx.retries, bin])
      if (ctx.retries < 3) throw new AisleBusy('busy')
      return 'picked'
    })
    await app.worker()

    const result = await pick.delay('A7')

    expect(await result.get()).toBe('picked')
    expect(seen).toEqual([0, 1, 2, 3].map((retries) => [retries, 'A7']))
    expect(await result.info()).toMatchObject({ status: 'SUCCESS', retries: 3, fence: 4 })
  })

  it('waits for its retry in the broker, in state RETRY with the error', async () => {
    const app = newApp({ broker: url() })
    const pick = app.task('pick', { autoretryFor: [AisleBusy], defaultRetryDelay: '1h', priority: 7 }, () => {
      throw new AisleBusy('the aisle is busy')
    })
    await app.worker()

    const result = await pick.applyAsync([], { headers: { tenant: 'acme' } })
    await until(async () => (await result.state()) === 'RETRY')

    expect(await depthOf(app)).toEqual([0, 1, 0])
    expect(await result.info()).toMatchObject({
      result: { exc_type: 'AisleBusy', exc_message: ['the aisle is busy'] },
      traceback: expect.stringContaining('AisleBusy: the aisle is busy'),
      dateDone: null,
    })
    const [waiting] = await app.broker.peek('celery', 1)
    expect(waiting).toMatchObject({
      state: 'delayed',
      properties: { priority: 7, correlationId: result.id },
      headers: { id: result.id, retries: 1, tenant: 'acme', eta: expect.stringMatching(/\+00:00$/) },
    })
    expect((waiting?.at ?? 0) - Date.now()).toBeGreaterThan(3_590_000)
  })

  it('keeps all that its message said, but for what RabbitMQ told of its way', async () => {
    const app = newApp({ broker: url() })
    app.task('pick', { autoretryFor: () => true, defaultRetryDelay: '1h' }, () => {
      throw new AisleBusy('busy')
    })
    await app.worker()
    const expires = new Date(Date.now() + 7_200_000).toISOString()
    const said = {
      ...{ shadow: 'alias', expires, group: 'g', group_index: 2, timelimit: [30, 20], root_id: 'r', parent_id: 'p' },
      ...{ ignore_result: false, replaced_task_nesting: 3, stamped_headers: ['batch'], stamps: { batch: ['b1'] } },
      ...{ tenant: 'acme', origin: 'gen7@h', lang: 'py', argsrepr: '(1,)' },
    }
    const death = { 'x-death': [{ count: 1 }], 'x-first-death-queue': 'q', 'x-last-death-reason': 'expired' }
    const embed = {
      callbacks: [{ task: 'a' }],
      errbacks: [{ task: 'b' }],
      chain: [{ task: 'c', options: { task_id: 'c' } }],
      chord: null,
    }
    const properties = {
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      replyTo: 'theirs',
      expirationMs: 9e6,
    }
    const body = JSON.stringify([[1], { k: 2 }, embed])

    const headers = { task: 'pick', id: 'x', retries: 1, ...said, ...death }
    await app.broker.publish([{ queue: 'celery', headers, properties, body }])
    await until(async () => (await app.broker.depth('celery')).delayed === 1)
    const [again] = await app.broker.peek('celery', 1)

    expect(again).toMatchObject({ body, properties: { replyTo: 'theirs' }, headers: { id: 'x', retries: 2, ...said } })
    expect(Object.keys(again?.headers ?? {}).filter((name) => name.startsWith('x-'))).toEqual([])
    expect(again?.properties.expirationMs).toBeLessThanOrEqual(7_200_000)
  })

  it('is given up after its last retry: FAILURE, and a dead letter that tells every attempt', async () => {
    const app = newApp({ broker: url() })
    let runs = 0
    const pick = app.task('pick', { autoretryFor: [AisleBusy], maxRetries: 2, ...soon }, (_bin: string) => {
      runs += 1
      throw new AisleBusy(`busy ${runs}`)
    })
    await app.worker({ name: 'w1@h' })

    const result = await pick.delay('A7')
    const error = await rejection(result.get())

    expect(error).toMatchObject({ code: 'TASK_FAILED', type: 'AisleBusy', message: 'busy 3' })
    expect(runs).toBe(3)
    expect(await app.deadLetters.show(result.id)).toMatchObject({
      reason: 'retries exhausted',
      args: ['A7'],
      worker: 'w1@h',
      attempts: [1, 2, 3].map((run) => ({ worker: 'w1@h', error: `AisleBusy: busy ${run}` })),
    })
  })

  it('keeps its retries when another worker takes it on', async () => {
    const brokerUrl = url()
    const workers: string[] = []
    const body = (ctx: TaskContext): number => {
      workers.push(ctx.worker)
      if (ctx.retries === 0) throw new AisleBusy('busy')
      return ctx.retries
    }
    const first = newApp({ broker: brokerUrl })
    const pick = first.task('pick', { bind: true, autoretryFor: [AisleBusy], defaultRetryDelay: '50ms' }, body)
    const second = newApp({ broker: brokerUrl })
    second.task('pick', { bind: true }, body)

    const one = await first.worker({ name: 'one' })
    const result = await pick.delay()
    await until(() => workers.length === 1)
    await one.stop()
    await second.worker({ name: 'two' })

    expect(await result.get()).toBe(1)
    expect(workers).toEqual(['one', 'two'])
  })

  it('may ask for its retry itself, with a wait and the cause', async () => {
    const { logger, lines } = recordingLogger()
    const app = newApp({ broker: url(), logger })
    const pick = app.task('pick', { bind: true }, (ctx) => {
      if (ctx.retries < 2) throw ctx.retry({ countdown: '5ms', cause: new AisleBusy('busy') })
      return ctx.retries
    })
    await app.worker()

    expect(await (await pick.delay()).get()).toBe(2)
    expect(lines.filter((line) => line === 'info: failed; will retry')).toHaveLength(2)
  })
})

describe('a failed task is given up at once', () => {
  it('when it throws `Reject`', async () => {
    const app = newApp()
    let runs = 0
    const pick = app.task('pick', { autoretryFor: [Error] }, () => {
      runs += 1
      throw new Reject('the order is torn')
    })
    await app.worker()

    const result = await pick.delay()

    expect(await rejection(result.get())).toMatchObject({ type: 'Reject', message: 'the order is torn' })
    expect(await app.deadLetters.show(result.id)).toMatchObject({ reason: 'rejected' })
    expect(runs).toBe(1)
  })

  it('when its input does not fit its schema, whatever it is retried for', async () => {
    const app = newApp()
    app.task('pick', { input: z.object({ id: z.string() }), autoretryFor: [Error] }, () => undefined)
    await app.worker()

    const id = await publishForeign(app, 'pick', { kwargs: { id: 7 } })

    expect((await rejection(app.result(id).get())).message).toContain('does not fit its schema')
    expect(await app.deadLetters.show(id)).toMatchObject({ reason: 'failed', attempts: [{}] })
  })

  it('when what it returns cannot be written', async () => {
    const app = newApp()
    const pick = app.task('pick', { autoretryFor: [AisleBusy] }, () => ({ callback: () => undefined }))
    await app.worker()

    const error = await rejection((await pick.delay()).get())

    expect(error.message).toBe('`callback` is a function, which JSON cannot carry')
  })

  it('when it has asked for more retries than it may have', async () => {
    const app = newApp()
    const pick = app.task('pick', { bind: true, maxRetries: 1 }, (ctx) => {
      throw ctx.retry({ countdown: 0 })
    })
    await app.worker()

    const error = await rejection((await pick.delay()).get())

    expect(error).toMatchObject({ type: 'MaxRetriesExceededError', message: 'pick failed after 1 retries' })
  })
})

describe('the story of a task with many attempts', () => {
  it('keeps the first and the last nine', async () => {
    const app = newApp()
    const pick = app.task('pick', { bind: true, maxRetries: 14 }, (ctx) => {
      throw ctx.retry({ countdown: 0, cause: new Error(`run ${ctx.retries + 1}`) })
    })
    await app.worker()

    const result = await pick.delay()
    await rejection(result.get())

    const { attempts } = await app.deadLetters.show(result.id)
    expect(attempts.map(({ error }) => error)).toEqual(
      [1, 7, 8, 9, 10, 11, 12, 13, 14, 15].map((run) => `Error: run ${run}`),
    )
  })
})
