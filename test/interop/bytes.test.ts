/**
 * The very bytes we leave on a broker, held against what ends or deafens Python workers (kombu 5.2 … 5.6 and Celery 5.2 …
 * 5.6 trust their broker: a message without a delivery tag or an id ends the process).
 */
import { connect as connectAmqp } from 'amqplib'
import { type Celeriac, chain } from 'celeriac'
import { Redis } from 'ioredis'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports } from './site.ts'

/** A message as it lies there, whatever the broker. */
interface Raw {
  readonly contentType: unknown
  readonly contentEncoding: unknown
  readonly headers: Readonly<Record<string, unknown>>
  readonly body: string
  /** Redis: the whole envelope. */
  readonly envelope?: Envelope
}

interface Envelope {
  readonly body: string
  readonly 'content-type': string
  readonly 'content-encoding': string
  readonly headers: Record<string, unknown>
  readonly properties: {
    readonly delivery_tag: unknown
    readonly delivery_info: { readonly exchange: unknown; readonly routing_key: unknown }
    readonly body_encoding: unknown
    readonly delivery_mode: unknown
    readonly priority: unknown
    readonly correlation_id: unknown
    readonly reply_to: unknown
  }
}

/** Every kind of call that has a form of its own on the wire. */
async function sendAll(app: Celeriac): Promise<void> {
  const echo = app.remote<unknown[], unknown>('py.echo')
  await echo.delay()
  await echo.delay('ä🥕', 1.5, null, { nested: [] })
  await echo.applyAsync([1], { countdown: '1h', expires: '2h', priority: 5, headers: { mine: 'ü' }, taskId: 'ü/1' })
  await echo.applyAsync([1], { eta: new Date(Date.now() - 1_000), timeLimit: 5, softTimeLimit: '1500ms' })
  await echo.applyAsync([1], { expires: new Date(Date.now() + 60_000), ignoreResult: true, priority: 9 })
  await echo.delayMany([[1], [2]])
  const step = app.remote<[unknown], unknown>('py.echo')
  await chain(step.s(1), step.s(), step.si('x')).delay()
}

const isoDate = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00$/
const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/

describeWith(everything, 'the messages we send to Python', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    let messages: Raw[]
    beforeAll(async () => {
      site = await openSite(transport)
      await sendAll(site.app)
      messages = await (transport === 'redis' ? onRedis(site.url) : onRabbitmq(site.url))
    })

    it('are all there, at once, the delayed ones too: Python keeps them back itself', () => {
      expect(messages).toHaveLength(8)
    })

    it('have the headers a task needs, each of its type', () => {
      for (const { headers } of messages) {
        expect(headers).toMatchObject({ task: 'py.echo', id: expect.any(String), lang: 'js', retries: 0 })
        for (const date of [headers.eta, headers.expires])
          expect(date === null || isoDate.test(String(date))).toBe(true)
        expect(headers.timelimit).toEqual([numberOrNull(headers, 0), numberOrNull(headers, 1)])
        expect([typeof headers.argsrepr, typeof headers.kwargsrepr]).toEqual(['string', 'string'])
      }
      expect(messages.map(({ headers }) => headers.timelimit)).toContainEqual([5, 1.5])
    })

    it('have a body of args, kwargs and four embedded keys, as plain JSON', () => {
      for (const { body, contentType, contentEncoding } of messages) {
        expect([contentType, contentEncoding]).toEqual(['application/json', 'utf-8'])
        const [args, kwargs, embed, ...more] = JSON.parse(body) as unknown[]
        expect(Array.isArray(args)).toBe(true)
        expect(kwargs).toEqual({})
        expect(Object.keys(embed as object).sort()).toEqual(['callbacks', 'chain', 'chord', 'errbacks'])
        expect(more).toEqual([])
      }
    })

    it('carry what follows in reverse, complete as Python freezes it', () => {
      const [chained] = messages.flatMap(
        ({ body }) => (JSON.parse(body) as [unknown, unknown, { chain: unknown }])[2].chain ?? [],
      )

      expect(chained).toMatchObject({ task: 'py.echo', args: ['x'], kwargs: {}, immutable: true, subtask_type: null })
      expect((chained as { options: { task_id: string } }).options.task_id).toMatch(uuid)
    })

    it.runIf(transport === 'redis')('have an envelope that Python can take apart and give back', () => {
      const tags = messages.map(({ envelope }) => envelope?.properties.delivery_tag)
      expect(new Set(tags).size).toBe(messages.length)
      for (const { envelope } of messages) {
        expect(envelope?.properties).toMatchObject({
          delivery_tag: expect.stringMatching(uuid),
          delivery_info: { exchange: '', routing_key: 'python' },
          body_encoding: 'base64',
          delivery_mode: 2,
          correlation_id: envelope?.headers.id,
          reply_to: expect.any(String),
        })
        expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]).toContain(envelope?.properties.priority)
      }
    })

    it('are run by a Python worker to the last one, which is well after', async () => {
      if (transport === 'amqp') await sendAll(site.app)
      const worker = await site.startPythonWorker()
      onTestFinished(() => worker.kill())

      const pongs = await site.python.run('app.control.broadcast("ping", reply=True, limit=1, timeout=10)')
      expect(pongs).toEqual([{ [worker.name]: { ok: 'pong' } }])
      const last = await site.app.remote<[number, number], number>('py.add').delay(1, 2)
      expect(await last.get({ timeout: '25s' })).toBe(3)
      expect(worker.hasEnded).toBe(false)
      expect(worker.said).not.toMatch(/Traceback|Received and deleted|unknown message|DecodeError/i)
    })
  })
})

function numberOrNull({ timelimit }: Raw['headers'], index: number): unknown {
  const value = (timelimit as unknown[])[index]
  return value === null ? null : expect.any(Number)
}

/** Every list of the queue, most urgent first, oldest message first. */
async function onRedis(url: string): Promise<Raw[]> {
  const redis = new Redis(url)
  try {
    const keys = ['python', ...[3, 6, 9].map((step) => `python\x06\x16${step}`)]
    const texts = (await Promise.all(keys.map((key) => redis.lrange(key, 0, -1)))).flatMap((list) => list.reverse())
    return texts.map((text) => {
      const envelope = JSON.parse(text) as Envelope
      return {
        envelope,
        contentType: envelope['content-type'],
        contentEncoding: envelope['content-encoding'],
        headers: envelope.headers,
        body: Buffer.from(envelope.body, 'base64').toString(),
      }
    })
  } finally {
    redis.disconnect()
  }
}

/** Takes them all off the queue. */
async function onRabbitmq(url: string): Promise<Raw[]> {
  const connection = await connectAmqp(url)
  try {
    const channel = await connection.createChannel()
    const messages: Raw[] = []
    for (;;) {
      const message = await channel.get('python', { noAck: true })
      if (message === false) return messages
      const { contentType, contentEncoding, headers = {} } = message.properties
      messages.push({ contentType, contentEncoding, headers, body: message.content.toString() })
    }
  } finally {
    await connection.close()
  }
}
