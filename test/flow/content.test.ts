/** How bodies are written: serializers and compression, by call, task and application, and what workers accept. */
import { brotliCompressSync, deflateSync } from 'node:zlib'
import { type Celeriac, type CeleriacOptions, chain, type PeekedMessage, type Serializer } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { maxInflatedBytes } from '../../src/compression.ts'
import { brokers, newApp, publishForeign, rejection, thrown, until } from './fixture.ts'

const long = 'pick three of bin A7, then two of bin B1; '.repeat(100)

/** A serializer of somebody's own: keys and values, one a line. */
const lines: Serializer = {
  name: 'lines',
  contentType: 'text/x-lines',
  contentEncoding: 'utf-8',
  encode: (value) => `lines\n${JSON.stringify(value)}`,
  decode: (text) => JSON.parse(text.slice('lines\n'.length)),
}

async function sentBy(app: Celeriac, send: () => Promise<unknown>): Promise<PeekedMessage> {
  await app.open()
  await send()
  const [message] = await app.broker.peek('celery', 1)
  return message ?? expect.fail('nothing was sent')
}

describe.each(brokers)('a body on $broker', ({ url }) => {
  const values = [
    7,
    1.5,
    'Zoë – 苹果 🍏',
    true,
    null,
    [1, [2]],
    { a: { b: [] } },
    new Date(7),
    new Uint8Array([0, 255]),
    2n ** 60n + 1n,
    1_732_290_000_000,
    -(2 ** 40),
  ]
  const cases: [options: CeleriacOptions, contentType: string, compression: string | undefined][] = [
    [{ serializer: 'msgpack' }, 'application/x-msgpack', undefined],
    [{ serializer: 'yaml' }, 'application/x-yaml', undefined],
    [{ compression: 'gzip' }, 'application/json', 'application/x-gzip'],
    [{ compression: 'brotli' }, 'application/json', 'application/x-brotli'],
    [{ serializer: 'msgpack', compression: 'brotli' }, 'application/x-msgpack', 'application/x-brotli'],
  ]

  it.each(cases)('comes to its task as it was sent: %o', async (options, contentType, compression) => {
    const app = newApp({ broker: url(), ...options })
    let received: unknown
    const take = app.task('take', (...args: unknown[]) => {
      received = args
    })

    const message = await sentBy(app, () => take.applyAsync([...values, long], { taskId: 'take' }))
    await app.worker()
    await app.result('take').get()

    expect(message.properties.contentType).toBe(contentType)
    expect(message.headers.compression).toBe(compression)
    expect(received).toEqual([...values, long])
  })

  it.runIf(Number(process.versions.node.split('.')[0]) >= 24)('comes to its task as it was sent: zstd', async () => {
    const app = newApp({ broker: url(), compression: 'zstd' })
    const echo = app.task('echo', (text: string) => text)
    await app.worker()

    expect(await (await echo.delay(long)).get()).toBe(long)
  })

  it('of bytes is retried, given up, shown, redriven and edited like any other', async () => {
    const app = newApp({ broker: url(), serializer: 'msgpack', compression: 'gzip' })
    const runs: unknown[] = []
    const task = app.task('flaky', { autoretryFor: () => true, maxRetries: 1, retryBackoff: '1ms' }, (text: string) => {
      runs.push(text)
      if (text === long) throw new Error('too long')
      return text.length
    })
    await app.worker()

    const result = await task.delay(long)
    await rejection(result.get())
    expect(runs).toEqual([long, long])
    const letter = await app.deadLetters.show(result.id)
    expect(letter).toMatchObject({ task: 'flaky', args: [long], kwargs: {} })
    expect(letter.message.body).toBeInstanceOf(Uint8Array)

    await app.deadLetters.redrive({ ids: [result.id] })
    await until(async () => runs.length === 4 && (await app.deadLetters.list()).length === 1)
    await app.deadLetters.redrive({ ids: [result.id], edit: () => ({ args: ['short'] }) })

    expect(await result.get()).toBe(5)
    expect(await app.deadLetters.list()).toEqual([])
  })
})

describe('the serializer and the compression of a call', () => {
  const typeOf = async (options: CeleriacOptions, send: (app: Celeriac) => Promise<unknown>): Promise<unknown[]> => {
    const app = newApp(options)
    const { properties, headers } = await sentBy(app, () => send(app))
    return [properties.contentType, properties.contentEncoding, headers.compression]
  }

  it("are the call's, else the task's, else the app's", async () => {
    const app: CeleriacOptions = { serializer: 'yaml', compression: 'gzip' }
    const own = { serializer: 'msgpack', compression: 'brotli' } as const

    expect(await typeOf(app, (a) => a.task('t', (x: string) => x).delay(long))).toEqual([
      'application/x-yaml',
      'utf-8',
      'application/x-gzip',
    ])
    expect(await typeOf(app, (a) => a.task('t', own, (x: string) => x).delay(long))).toEqual([
      'application/x-msgpack',
      'binary',
      'application/x-brotli',
    ])
    expect(
      await typeOf(app, (a) =>
        a.task('t', own, (x: string) => x).applyAsync([long], { serializer: 'json', compression: 'none' }),
      ),
    ).toEqual(['application/json', 'utf-8', undefined])
    expect(await typeOf({ taskDefaults: own }, (a) => a.task('t', (x: string) => x).delay(long))).toEqual([
      'application/x-msgpack',
      'binary',
      'application/x-brotli',
    ])
    expect(await typeOf({}, (a) => a.remote<[string], void>('t', own).delay(long))).toEqual([
      'application/x-msgpack',
      'binary',
      'application/x-brotli',
    ])
  })

  it('go along with the steps of a chain that were given them', async () => {
    const app = newApp()
    const echo = app.task('echo', (text: string) => text)

    const message = await sentBy(app, () =>
      chain(echo.s(long), echo.s().set({ serializer: 'msgpack', compression: 'gzip' }), echo.s()).delay(),
    )
    const [, , { chain: steps }] = JSON.parse(String(message.body))

    expect(steps[1].options).toMatchObject({ serializer: 'msgpack', compression: 'gzip' })
    expect(steps[0].options).not.toHaveProperty('serializer')
  })

  it('leave small bodies uncompressed', async () => {
    expect(await typeOf({ compression: 'gzip' }, (a) => a.task('t', (x: string) => x).delay('short'))).toEqual([
      'application/json',
      'utf-8',
      undefined,
    ])
  })

  it('are those of a registered serializer too', async () => {
    const app = newApp({ serializer: 'lines' })
    app.registerSerializer(lines)
    const add = app.task('add', (x: number, y: number) => x + y)

    const message = await sentBy(app, () => add.applyAsync([2, 3], { taskId: 'a' }))
    await app.worker()

    expect(message).toMatchObject({
      properties: { contentType: 'text/x-lines' },
      body: expect.stringMatching(/^lines\n/),
    })
    expect(await app.result('a').get()).toBe(5)
  })

  it.each([
    ['a number beyond 64 bits', 2n ** 70n, 'has more than 64 bits; send it as text'],
    ['a function', () => 1, 'a function is no data'],
  ])('refuse what they cannot carry: %s', async (_what, value, why) => {
    const app = newApp({ serializer: 'msgpack' })
    const task = app.task('t', (_value: unknown) => 0)

    const error = await rejection(task.delay(value))

    expect(error.code).toBe('PAYLOAD_INVALID')
    expect(error.message).toContain(`msgpack cannot carry it: `)
    expect(error.message).toContain(why)
  })

  it('are measured as they are sent', async () => {
    const app = newApp({ maxMessageSize: '2KB', compression: 'gzip' })
    const task = app.task('t', (text: string) => text.length)
    await app.worker()

    expect(await (await task.delay('x'.repeat(100_000))).get()).toBe(100_000)
  })

  const wrong: [options: CeleriacOptions, message: string][] = [
    [{ compression: 'bzip2' as 'gzip' }, "`compression` must be 'gzip', 'brotli', 'zstd' or 'none', got 'bzip2'"],
    [{ defaultPriority: 10 }, '`defaultPriority` must be a whole number from 0 to 9, got 10'],
  ]

  it.each(wrong)('that cannot work are refused when the app is made: %o', (options, message) => {
    expect(thrown(() => newApp(options))).toMatchObject({ code: 'CONFIG_INVALID', message })
  })

  const unknown: [options: CeleriacOptions, message: RegExp][] = [
    [{ serializer: 'mspack' }, /^no serializer is named 'mspack'; did you mean 'msgpack'\?/],
    [{ acceptContent: ['json', 'xml'] }, /^no serializer is named 'xml'; there are json, msgpack, yaml/],
    [{ acceptContent: ['pickle'] }, /^pickle is neither written nor read: it runs whatever its writer wants to be run/],
    [{ serializer: 'application/x-python-serialize' }, /^pickle is neither written nor read/],
  ]

  it.each(unknown)('that nobody has registered are refused when the app is opened: %o', async (options, message) => {
    const error = await rejection(newApp(options).open())

    expect(error.code).toBe('CONFIG_INVALID')
    expect(error.message).toMatch(message)
  })

  it('cannot be registered twice', () => {
    const app = newApp()
    app.registerSerializer(lines)

    expect(thrown(() => app.registerSerializer({ ...lines, name: 'other' })).message).toBe(
      "there is a serializer for 'text/x-lines' already",
    )
    expect(thrown(() => app.registerSerializer({ ...lines, name: 'pickle', contentType: 'x' })).code).toBe(
      'CONFIG_INVALID',
    )
  })
})

describe('a worker', () => {
  it('accepts by name or content type, by itself JSON and what its own app writes', async () => {
    const sender = newApp({ broker: 'memory://accepted' })
    const app = newApp({
      broker: 'memory://accepted',
      serializer: 'yaml',
      acceptContent: ['json', 'application/x-msgpack'],
    })
    app.task('add', (x: number, y: number) => x + y)
    await app.worker()
    const add = sender.remote<[number, number], number>('add')

    const results = await Promise.all(
      ['json', 'msgpack', 'yaml'].map((serializer) => add.applyAsync([1, 2], { serializer })),
    )

    expect(await results[0]?.get()).toBe(3)
    expect(await results[1]?.get()).toBe(3)
    await until(async () => (await app.deadLetters.list()).length === 1)
    expect((await app.deadLetters.list())[0]).toMatchObject({ id: results[2]?.id, reason: 'unreadable', args: [1, 2] })
  })

  it.each([
    ['application/x-gzip', deflateSync],
    ['application/x-brotli', brotliCompressSync],
  ])('inflates no more of %s than memory bears', async (compression, compress) => {
    const app = newApp({ results: false })
    app.task('t', () => 0)
    await app.worker()
    const bomb = compress(
      Buffer.concat([Buffer.from('[["'), Buffer.alloc(maxInflatedBytes, 'x'), Buffer.from('"],{},{}]')]),
    )

    await publishForeign(app, 't', { headers: { compression }, body: bomb })
    await until(async () => (await app.deadLetters.list()).length === 1)

    expect(bomb.length).toBeLessThan(100_000)
    expect((await app.deadLetters.list())[0]?.error?.message).toBe(
      `the message cannot be run: it inflates to more than the ${maxInflatedBytes} bytes that are taken`,
    )
  })
})
