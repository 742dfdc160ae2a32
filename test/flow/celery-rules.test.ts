/**
 * What must never leave us, because Python workers die of it or lose the message: malformed headers, bodies and errors.
 * Whatever a caller says, every message and every record keeps to the rules.
 */
import { chain, type OutgoingMessage, type ResultRecord } from 'celeriac'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { storeError } from '../../src/result/stored-error.ts'
import { newApp, publishForeign, until } from './fixture.ts'

const date = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/

function keepsToTheRules({ headers, properties, body }: OutgoingMessage): void {
  expect([typeof headers.task, typeof headers.id]).toEqual(['string', 'string'])
  for (const name of ['eta', 'expires']) {
    if (headers[name] !== null) expect(headers[name]).toMatch(date)
  }
  const limits = headers.timelimit as unknown[]
  expect(limits).toHaveLength(2)
  for (const limit of limits) expect(limit === null || typeof limit === 'number').toBe(true)
  expect(Number.isInteger(headers.retries)).toBe(true)
  const text = JSON.stringify(headers)
  expect(JSON.stringify(JSON.parse(text))).toBe(text)

  expect(properties).toMatchObject({ contentType: 'application/json', contentEncoding: 'utf-8' })
  expect(properties.correlationId).toBe(headers.id)
  expect(properties.priority === undefined || [0, 1, 2, 3, 4, 5, 6, 7, 8, 9].includes(properties.priority)).toBe(true)
  expect(properties.expirationMs ?? 0).toBeGreaterThanOrEqual(0)

  const parsed = JSON.parse(String(body)) as unknown[]
  expect(parsed).toHaveLength(3)
  const [args, kwargs, embed] = parsed
  expect(Array.isArray(args)).toBe(true)
  expect(Object.prototype.toString.call(kwargs)).toBe('[object Object]')
  expect(Object.keys(embed as object)).toEqual(['callbacks', 'errbacks', 'chain', 'chord'])
  expect(String(body)).not.toMatch(/NaN|Infinity/)
}

const anything = fc.oneof(
  fc.jsonValue(),
  fc.date({ noInvalidDate: true }),
  fc.uint8Array(),
  fc.bigInt(),
  fc.constant(undefined),
)
const options = fc.record(
  {
    countdown: fc.constantFrom<0 | '1ms' | '2h'>(0, '1ms', '2h'),
    expires: fc.oneof(
      fc.constantFrom<0 | '1h'>(0, '1h'),
      fc.date({ min: new Date(0), max: new Date(4e12), noInvalidDate: true }),
    ),
    priority: fc.integer({ min: 0, max: 9 }),
    taskId: fc.string({ minLength: 1, unit: 'grapheme' }),
    headers: fc.dictionary(fc.constantFrom('tenant', 'x-é', 'trace'), fc.jsonValue()),
    ignoreResult: fc.boolean(),
    softTimeLimit: fc.integer({ min: 0, max: 100 }),
    timeLimit: fc.constantFrom<0.5 | '30s'>(0.5, '30s'),
  },
  { requiredKeys: [] },
)

it('holds for every call, step and retry of ours', async () => {
  const app = await newApp().open()
  const sent: OutgoingMessage[] = []
  const publish = app.broker.publish.bind(app.broker)
  app.broker.publish = async (messages) => {
    sent.push(...messages)
    await publish(messages)
  }
  const task = app.task('täsk', (...values: unknown[]) => values)
  const there = app.remote<unknown[], unknown>('proj.there')
  const next = app.remote<[unknown], unknown>('proj.next')

  await fc.assert(
    fc.asyncProperty(fc.array(anything), fc.array(options, { minLength: 3, maxLength: 3 }), async (args, given) => {
      const [first, second, third] = given as [(typeof given)[0], (typeof given)[0], (typeof given)[0]]
      await task.applyAsync(args, first as object)
      await there.delayMany([args, []], { ...(second as object), taskId: undefined } as object)
      await chain(task.s(...args).set(first as object), next.s().set(third as object)).delay()
    }),
    { numRuns: 60 },
  )

  expect(sent.length).toBeGreaterThan(200)
  for (const message of sent) keepsToTheRules(message)
})

it('holds for what follows a message of others, however odd, and for the records of its end', async () => {
  const app = newApp()
  const saved: ResultRecord[] = []
  let runs = 0
  app.task('fail', { autoretryFor: () => true, maxRetries: 1, defaultRetryDelay: 0 }, (what: unknown) => {
    runs += 1
    throw what
  })
  app.task('odd', (value: unknown) => value)
  await app.worker({ queues: ['celery'] })
  const odd = {
    task: 'odd',
    args: null,
    kwargs: [],
    options: { queue: 'parked', priority: 'high', eta: 7, task_id: 5 },
  }
  const thrown = [null, 7, 'text', { a: 1 }, [1], 12n]

  for (const [index, what] of thrown.entries()) {
    const headers = { timelimit: null, ignore_result: null, eta: null, root_id: null, retries: null }
    const body = `[[${typeof what === 'bigint' ? what : JSON.stringify(what)}], {}, {"callbacks": [${JSON.stringify(odd)}], "errbacks": [${JSON.stringify(odd)}]}]`
    await publishForeign(app, 'fail', { id: `${index}`, headers, body })
  }
  await until(async () => (await app.broker.depth('parked')).ready === thrown.length)

  expect(runs).toBe(2 * thrown.length)
  for (const message of await app.broker.peek('parked', 100)) keepsToTheRules(message)
  saved.push(
    ...((await app.results?.load(thrown.map((_what, index) => `${index}`))) ?? []).filter(
      (record) => record !== undefined,
    ),
  )
  expect(saved).toHaveLength(thrown.length)
  for (const { taskId, status, result, dateDone } of saved) {
    expect([typeof taskId, status]).toEqual(['string', 'FAILURE'])
    expect(result).toMatchObject({ exc_type: expect.any(String), exc_message: [expect.any(String)], exc_module: 'js' })
    expect(dateDone).toMatch(date)
  }
})

it('holds for everything that can be thrown', () => {
  fc.assert(
    fc.property(fc.anything({ withBigInt: true, withDate: true, withMap: true, withSet: true }), (thrown) => {
      const stored = storeError(thrown)

      expect(stored).toEqual({ exc_type: expect.any(String), exc_message: [expect.any(String)], exc_module: 'js' })
    }),
  )
})
