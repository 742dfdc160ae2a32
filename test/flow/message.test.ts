/** The wire: Celery's protocol 2 as we write it, and what we read of Python's. Names in angle brackets are captures. */
import { readFileSync } from 'node:fs'
import { type Celeriac, chain, type Message, type PeekedMessage } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { Content } from '../../src/send/content.ts'
import { decodeTask } from '../../src/send/decode-task.ts'
import { emptyEmbed, type TaskMessage } from '../../src/send/message.ts'
import { Serializers } from '../../src/send/serializer.ts'
import { type Captured, captured, capturedOne } from './captured.ts'
import { newApp, thrown } from './fixture.ts'

const decode = (message: Message, accepted: readonly string[] = ['json']): TaskMessage =>
  decodeTask(message, new Content(new Serializers(), accepted))

/** `null`, `array`, or what `typeof` says: the types JSON tells apart. */
function jsonType(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'array' : typeof value
}

function typesOf(value: object): Record<string, string> {
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, jsonType(item)]))
}

async function sentBy(send: (app: Celeriac) => Promise<unknown>): Promise<PeekedMessage> {
  const app = await newApp().open()
  await send(app)
  const [message] = await app.broker.peek('celery', 1)
  return message ?? expect.fail('nothing was sent')
}

const bodyOf = ({ body }: Message): [unknown[], Record<string, unknown>, Record<string, unknown>] =>
  JSON.parse(String(body))

describe('the message of a call', () => {
  const basic = capturedOne('task-redis-5.6.3-basic')
  const sent = (): Promise<PeekedMessage> =>
    sentBy((app) => app.task('lab.add', (x: number, y: number) => x + y).applyAsync([2, 3], { taskId: 'id-1' }))

  it("has Python's headers in Python's order and of its types, and one of our own", async () => {
    const { headers } = await sent()

    expect(Object.keys(headers)).toEqual([...Object.keys(basic.headers), 'celeriac'])
    expect({ ...typesOf(headers), celeriac: 'object' }).toEqual({ ...typesOf(basic.headers), celeriac: 'object' })
  })

  it('says the same as <task-redis-5.6.3-basic>', async () => {
    const { headers } = await sent()

    expect(headers).toEqual({
      ...basic.headers,
      lang: 'js',
      id: 'id-1',
      root_id: 'id-1',
      origin: expect.stringMatching(/^gen\d+@.+/),
      celeriac: { sent: expect.any(Number) },
    })
  })

  it('has the properties that are for a producer to say; delivery mode and tags are the driver’s', async () => {
    const { properties } = await sent()

    expect(properties).toEqual({
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: 'id-1',
    })
  })

  it('has a body of args, kwargs and embed', async () => {
    expect(bodyOf(await sent())).toEqual(bodyOf(basic))
  })

  it('writes dates with an offset, six digits of a second and no Z', async () => {
    const eta = new Date('2030-01-02T03:04:05.678Z')
    const expires = new Date('2030-01-02T04:00:00Z')

    const { headers, properties } = await sentBy((app) =>
      app.task('lab.add', () => 0).applyAsync([], { eta, expires, timeLimit: '30s', softTimeLimit: '20500ms' }),
    )

    expect(headers).toMatchObject({
      eta: '2030-01-02T03:04:05.678000+00:00',
      expires: '2030-01-02T04:00:00.000000+00:00',
      timelimit: capturedOne('task-redis-5.6.3-timelimits').headers.timelimit,
    })
    expect(properties.expirationMs).toBeGreaterThan(expires.getTime() - Date.now() - 10_000)
  })

  it('has the caller’s own headers among the others, as <task-redis-5.6.3-custom-headers>', async () => {
    const own = { 'x-tenant': 'acme', traceparent: '00-aa-bb-01' }

    const { headers } = await sentBy((app) => app.task('lab.add', () => 0).applyAsync([], { headers: own }))

    expect(headers).toMatchObject(own)
    expect(capturedOne('task-redis-5.6.3-custom-headers').headers).toMatchObject(own)
  })

  it('can be read back', async () => {
    const message = await sentBy((app) =>
      app
        .task('lab.add', (..._values: unknown[]) => 0)
        .applyAsync([2, new Date(7)], { priority: 5, ignoreResult: true }),
    )

    expect(decode(message)).toMatchObject({
      task: 'lab.add',
      args: [2, new Date(7)],
      kwargs: {},
      priority: 5,
      ignoreResult: true,
      rootId: message.headers.id,
      parentId: null,
    })
  })
})

describe('the message of a chain', () => {
  const chain3 = capturedOne('task-redis-5.6.3-chain3')
  const sent = (): Promise<PeekedMessage> =>
    sentBy((app) => {
      const add = app.task('lab.add', (x: number, y: number) => x + y)
      const mul = app.task('lab.mul', (x: number, y: number) => x * y)
      const echo = app.task('lab.echo', (value: number) => value)
      return chain(add.s(1, 2), mul.s(3), echo.s()).applyAsync({ taskId: 'last' })
    })

  it('carries the steps that follow, the next one last, as <task-redis-5.6.3-chain3>', async () => {
    const [args, , embed] = bodyOf(await sent())
    const [pythonArgs, , pythonEmbed] = bodyOf(chain3)

    expect(args).toEqual(pythonArgs)
    expect(Object.keys(embed)).toEqual(Object.keys(pythonEmbed))
    expect(typesOf(embed)).toEqual(typesOf(pythonEmbed))
    const steps = embed.chain as { task: string; args: unknown[]; options: Record<string, unknown> }[]
    const pythonSteps = pythonEmbed.chain as typeof steps
    expect(steps.map((step) => step.task)).toEqual(['lab.echo', 'lab.mul'])
    expect(steps.map((step) => step.args)).toEqual([[], [3]])
    expect(steps.map(typesOf)).toEqual(pythonSteps.map(typesOf))
  })

  it('has dates of its steps with an offset, and says nothing of what Celery has no word for', async () => {
    const eta = new Date('2030-01-02T03:04:05.678Z')
    const message = await sentBy((app) => {
      const echo = app.task('lab.echo', (value: number) => value)
      return chain(echo.s(1), echo.s().set({ eta, expires: eta, compression: 'none' })).delay()
    })

    const [, , embed] = bodyOf(message)
    const [{ options }] = embed.chain as [{ options: Record<string, unknown> }]
    expect(options).toMatchObject({
      eta: '2030-01-02T03:04:05.678000+00:00',
      expires: '2030-01-02T03:04:05.678000+00:00',
    })
    expect(options).not.toHaveProperty('compression')
  })

  it('has the id of each step in its signature, and the queue we would send it to', async () => {
    const [, , embed] = bodyOf(await sent())

    expect(embed.chain).toMatchObject([
      { options: { task_id: 'last', queue: 'celery' } },
      { options: { task_id: expect.any(String), queue: 'celery' } },
    ])
  })
})

describe('a message of Python', () => {
  const all = captured()
  const readable = all.filter(({ isJson }) => isJson)
  const isTyped = ({ name }: Captured): boolean => name.includes('5.6.3-special')
  const protocol2 = readable.filter((message) => message.headers.task !== undefined && !isTyped(message))

  it('is here in many forms', () => {
    expect(all.length).toBeGreaterThan(85)
    expect(protocol2.length).toBeGreaterThan(70)
  })

  it.each(protocol2.map((message) => [message.name, message] as const))(
    '<%s> is read',
    (_name, { message, headers }) => {
      const [args, kwargs, embed] = bodyOf(message)
      const [hard, soft] = headers.timelimit as (number | null)[]

      expect(decode(message)).toEqual({
        task: headers.task,
        id: headers.id,
        args,
        kwargs,
        embed,
        rootId: headers.root_id,
        parentId: headers.parent_id,
        groupId: headers.group,
        groupIndex: headers.group_index ?? null,
        retries: headers.retries,
        etaMs: headers.eta === null ? null : expect.any(Number),
        expiresMs: headers.expires === null ? null : expect.any(Number),
        ignoreResult: headers.ignore_result,
        timeLimitS: hard,
        softTimeLimitS: soft,
        priority: message.properties.priority,
        replyTo: message.properties.replyTo,
        shadow: headers.shadow,
        headers,
        celeriac: {},
      })
    },
  )

  it.each([
    ['task-redis-5.6.3-countdown', 'etaMs', '2026-11-22T16:16:50.753Z'],
    ['task-redis-5.6.3-eta-naive', 'etaMs', '2030-01-02T03:04:05.678Z'],
    ['task-redis-5.2.6-eta-naive', 'etaMs', '2030-01-02T03:04:05.678Z'],
    ['task-redis-5.6.3-eta-aware', 'etaMs', '2030-01-01T21:34:05.678Z'],
    ['task-redis-5.6.3-tz-paris', 'etaMs', '2026-11-22T16:16:50.922Z'],
    ['task-redis-5.6.3-tz-paris', 'expiresMs', '2026-11-22T16:17:50.922Z'],
    ['task-redis-5.6.3-expires-seconds', 'expiresMs', '2026-11-22T16:17:50.791Z'],
    ['task-redis-5.6.3-expires-datetime', 'expiresMs', '2030-01-02T03:04:05.678Z'],
    ['amqp-5.6.3-countdown', 'etaMs', '2026-11-22T16:33:56.696Z'],
  ] as const)('<%s> has its %s, in UTC where it names no zone', (file, field, iso) => {
    const ms = decode(capturedOne(file))[field]

    expect(new Date(Math.floor(ms ?? Number.NaN)).toISOString()).toBe(iso)
  })

  it('has its time limits as hard and soft, in this order', () => {
    expect(decode(capturedOne('task-redis-5.6.3-timelimits'))).toMatchObject({ timeLimitS: 30, softTimeLimitS: 20.5 })
  })

  it('has its stamps in its headers', () => {
    expect(decode(capturedOne('task-redis-5.6.3-stamped')).headers).toMatchObject({
      stamped_headers: ['tenant', 'batch'],
      stamps: { tenant: 'acme', batch: ['b1', 'b2'] },
    })
  })

  it('tells a member of a group its place', () => {
    const members = captured('task-redis-5.6.3-group2').map(({ message }) => decode(message))

    expect(members.map(({ groupIndex }) => groupIndex)).toEqual([1, 0])
    expect(new Set(members.map(({ groupId }) => groupId)).size).toBe(1)
  })

  it('brings its dates and bytes back; what JavaScript has no type for stays text', () => {
    expect(decode(capturedOne('task-redis-5.6.3-special-types')).args).toEqual([
      new Date('2030-01-02T03:04:05.678Z'),
      new Date('2030-01-02T03:04:05.678Z'),
      '2030-01-02',
      '03:04:05.678901',
      '1.50',
      '00000000-0000-0000-0000-000000000005',
    ])
    expect(decode(capturedOne('task-redis-5.6.3-special-bytes')).args).toEqual([
      new Uint8Array(Buffer.from('abc')),
      new Uint8Array([255, 0]),
    ])
  })

  it.each(['5.2.6', '5.6.3'])('of protocol 1 is read too: <task-redis-%s-protocol1>', (version) => {
    const message = decode(capturedOne(`task-redis-${version}-protocol1`))

    expect(message).toMatchObject({
      task: 'lab.add',
      id: '00000000-0000-4000-8000-000000000019',
      args: [2, 3],
      kwargs: {},
      embed: { callbacks: [{ task: 'lab.mul', args: [2] }], errbacks: null, chain: null, chord: null },
      rootId: '00000000-0000-4000-8000-000000000019',
      parentId: null,
      retries: 0,
      ignoreResult: null,
      timeLimitS: null,
    })
    expect(message.etaMs).not.toBeNull()
  })

  it('of protocol 2 with a body of protocol 1 takes from that what the headers do not say', () => {
    const message = {
      headers: { task: 'lab.add', id: 'a', eta: '2030-01-01T00:00:00' },
      properties: { contentType: 'application/json', contentEncoding: 'utf-8' },
      body: JSON.stringify({
        args: [2],
        kwargs: { y: 3 },
        id: 'b',
        retries: 2,
        group: 'g',
        callbacks: [{ task: 'lab.mul' }],
      }),
    }

    expect(decode(message)).toMatchObject({
      task: 'lab.add',
      id: 'a',
      args: [2],
      kwargs: { y: 3 },
      retries: 2,
      groupId: 'g',
      etaMs: Date.UTC(2030, 0, 1),
      embed: { callbacks: [{ task: 'lab.mul', args: [], kwargs: {}, options: {}, immutable: false }], chain: null },
    })
  })

  const { cases } = JSON.parse(readFileSync(new URL('../fixtures/celery-malformed.json', import.meta.url), 'utf8')) as {
    cases: { case: string; 'celery_5.6.3': string; envelope: Envelope }[]
  }

  it.each(cases.map((item) => [item.case, item] as const))(
    'is run, or refused with a reason, where Python runs, loses or dies of it: %s',
    (_case, { envelope, ...outcome }) => {
      let decoded: TaskMessage | undefined
      let error: unknown
      try {
        decoded = decode(fromEnvelope(envelope))
      } catch (thrown) {
        error = thrown
      }

      if (outcome['celery_5.6.3'] === 'runs') expect(decoded).toMatchObject({ task: 'lab.add', args: [2, 3] })
      else if (decoded === undefined) expect(error).toMatchObject({ code: 'MESSAGE_INVALID' })
    },
  )

  it.each([
    ['2030-01-02T03:04:05.678Z', '2030-01-02T03:04:05.678Z'],
    ['2030-01-02T03:04:05', '2030-01-02T03:04:05.000Z'],
    ['2030-01-02T03:04:05.678901', '2030-01-02T03:04:05.678Z'],
    ['2030-01-02T03:04:05.6', '2030-01-02T03:04:05.600Z'],
    ['2030-01-02T03:04:05+05:30', '2030-01-01T21:34:05.000Z'],
    ['2030-01-02T03:04:05+0530', '2030-01-01T21:34:05.000Z'],
    ['2030-01-02 03:04:05', '2030-01-02T03:04:05.000Z'],
    ['2030-01-02', '2030-01-02T00:00:00.000Z'],
  ])('has the date %s', (eta, iso) => {
    const { headers, ...message } = capturedOne('task-redis-5.6.3-basic')

    expect(decode({ ...message, headers: { ...headers, eta, expires: eta } })).toMatchObject({
      etaMs: Date.parse(iso),
      expiresMs: Date.parse(iso),
    })
  })

  it('has whole numbers beyond 2^53 as bigint, and null for NaN', () => {
    const message = capturedOne('task-redis-5.6.3-basic')

    const { args } = decode({ ...message, body: '[[12345678901234567890, NaN, -Infinity, 7], {}, {}]' })

    expect(args).toEqual([12_345_678_901_234_567_890n, null, null, 7])
  })

  it('as small as Python would take it is enough', () => {
    const message = {
      headers: { task: 'lab.add', id: 'order:42' },
      properties: { contentType: 'application/json', contentEncoding: 'utf-8' },
      body: '[[2, 3], {}, null]',
    }

    expect(decode(message)).toMatchObject({ id: 'order:42', args: [2, 3], rootId: 'order:42', retries: 0, etaMs: null })
  })

  it.each([
    ['task-redis-5.6.3-serializer-msgpack', 'msgpack'],
    ['task-redis-5.2.6-serializer-msgpack', 'msgpack'],
    ['amqp-5.6.3-msgpack', 'application/x-msgpack'],
    ['task-redis-5.6.3-serializer-yaml', 'yaml'],
  ])('<%s> is read where it is accepted, and refused where it is not', (file, accepted) => {
    const message = capturedOne(file)

    expect(decode(message, ['json', accepted])).toMatchObject({
      task: 'lab.add',
      args: [2, 3],
      kwargs: {},
      embed: emptyEmbed,
    })
    const { code, message: text } = thrown(() => decode(message))
    expect(code).toBe('MESSAGE_INVALID')
    expect(text).toMatch(/content type application\/x-\S+ is not accepted here \(acceptContent: json\)/)
  })

  it.each(['task-redis-5.2.6-compression-gzip', 'task-redis-5.6.3-compression-gzip', 'amqp-5.6.3-compression'])(
    '<%s>, which is a zlib stream, is read',
    (file) => {
      const message = capturedOne(file)

      expect(message.body[0]).toBe(0x78)
      expect(decode(message)).toMatchObject({ task: 'lab.add', args: [2, 3], kwargs: {} })
    },
  )

  it.each([
    ['task-redis-5.6.3-compression-bzip2', 'it is compressed (application/x-bz2), which cannot be read here'],
    ['task-redis-5.6.3-compression-lzma', 'it is compressed (application/x-lzma), which cannot be read here'],
    [
      'task-redis-5.6.3-serializer-pickle',
      'its content type application/x-python-serialize is never read: unpickling runs whatever the writer wants to be run',
    ],
  ])('<%s> is never read, and the error says what its producer should change', (file, why) => {
    const { code, message } = thrown(() => decode(capturedOne(file), ['json', 'yaml', 'msgpack']))

    expect(code).toBe('MESSAGE_INVALID')
    expect(message).toContain(why)
    expect(message).toMatch(/let its producer (?:use gzip|send JSON).*in Python: task_\w+ = '\w+'\)$/)
  })
})

interface Envelope {
  readonly body?: string
  readonly headers?: Record<string, unknown> | null
  readonly 'content-type'?: string
  readonly 'content-encoding'?: string
  readonly properties?: { readonly body_encoding?: string | null }
}

/** As a driver hands it on that makes the best of whatever lies on a queue. */
function fromEnvelope({ body = '', headers, properties, ...content }: Envelope): Message {
  return {
    headers: headers ?? {},
    properties: {
      contentType: content['content-type'] ?? '',
      contentEncoding: content['content-encoding'] ?? '',
    },
    body: properties?.body_encoding === 'base64' ? Buffer.from(body, 'base64').toString() : body,
  }
}

describe('what follows a task of Python', () => {
  it.each(['task-redis-5.6.3-chain3', 'task-redis-5.2.6-chain3'])('is run here: the steps of <%s>', async (file) => {
    const app = newApp()
    app.task('lab.add', (x: number, y: number) => x + y)
    app.task('lab.mul', (x: number, y: number) => x * y)
    app.task('lab.echo', (...values: unknown[]) => values)
    await app.worker()
    const message = capturedOne(file)

    await app.broker.publish([{ ...message, queue: 'celery' }])

    const [, , embed] = bodyOf(message)
    const [last, second] = embed.chain as { options: { task_id: string } }[]
    expect(await app.result(last?.options.task_id ?? '').get()).toEqual([9, { k: 'v' }])
    expect(await app.result(second?.options.task_id ?? '').get()).toBe(9)
    expect(await app.result(message.headers.id as string).get()).toBe(3)
  })

  it('is run here: the callbacks of <task-redis-5.6.3-link>', async () => {
    const app = newApp()
    app.task('lab.add', (x: number, y: number) => x + y)
    app.task('lab.mul', (x: number, y: number) => x * y)
    await app.worker()
    const message = capturedOne('task-redis-5.6.3-link')

    await app.broker.publish([{ ...message, queue: 'celery' }])
    const result = app.result(message.headers.id as string)
    await result.get()
    const [callback] = (await result.info())?.children ?? []

    expect(await app.result(callback ?? '').get()).toBe(20)
  })
})
