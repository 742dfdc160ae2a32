import { randomUUID } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type BusMessage, controlTopic } from '../../src/broker/bus.ts'
import { askerOf } from '../../src/broker/celery-asker.ts'
import { RedisBroker, RedisBus } from '../../src/drivers/redis/index.ts'
import { busContract } from '../../src/testing/index.ts'
import { describeWith } from '../servers/index.ts'
import { connections, raw, redisClient, redisServer } from './redis-fixture.ts'

/** What others may publish, and what is no JSON in kombu's envelope. */
const noEnvelopes = [
  ...['', 'no json', '7', 'null', '[]', '"text"', '{"body": "e30="}', '{"body": "e30=", "properties": null}'],
  kombu('{}', { 'content-type': 'application/x-python-serialize' }),
  kombu('{}', { 'content-type': undefined }),
  kombu('{}', { body: '%%% no base64 %%%' }),
  kombu('{}', { body: '/////w==' }),
  kombu('{}', { body: null }),
]

const bindings = '_kombu.binding.reply.celery.pidbox'

/** A body in kombu's envelope, with parts replaced. */
function kombu(body: string, parts: object = {}): string {
  return JSON.stringify({
    body: Buffer.from(body).toString('base64'),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: {},
    properties: {
      delivery_mode: 2,
      delivery_info: { exchange: 'celery.pidbox', routing_key: '' },
      priority: 0,
      body_encoding: 'base64',
      delivery_tag: 'tag',
    },
    ...parts,
  })
}

function replyKeys(server: { readonly url: string; readonly port: number }): Promise<string[]> {
  return raw(server, (redis) => redis.keys('*reply.celery.pidbox'))
}

describeWith('redis', 'with a server', () => {
  const server = redisServer()

  busContract('redis', {
    open: async () => {
      const { open, time } = connections()
      const connect = () => open(new RedisBus(redisClient(server().url)))
      return { ...time, bus: await connect(), peer: connect }
    },
  })

  describe('redis bus', () => {
    it('passes over what others publish on its channels', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const heard: unknown[] = []
      await bus.subscribe(['news'], ({ payload }) => heard.push(payload))

      await raw(server(), async (redis) => {
        for (const text of ['', 'no json', '7', 'null', '[]', '{"other": 1}']) {
          expect(await redis.publish('/0.celeriac.bus/news', text)).toBe(1)
        }
      })
      await bus.publish('news', 'ours')

      await expect.poll(() => heard).toEqual(['ours'])
    })

    it("passes over what others publish on Celery's channels", async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const heard: unknown[] = []
      await bus.subscribe([controlTopic, 'celeryev.worker.#'], ({ payload }) => heard.push(payload))

      await raw(server(), async (redis) => {
        for (const text of [...noEnvelopes, ...['7', '"text"', 'null', '{', 'NaN', ''].map((body) => kombu(body))]) {
          expect(await redis.publish('/0.celery.pidbox', text)).toBe(1)
          expect(await redis.publish('/0.celeryev/worker.heartbeat', text)).toBe(1)
        }
        expect(await redis.publish('/0.celery.pidbox', kombu('[]'))).toBe(1)
        expect(await redis.publish('/0.celery.pidbox', kombu('{"reply_to": 7, "ticket": {}}'))).toBe(1)
        expect(await redis.publish('/0.celeryev/worker.heartbeat', kombu('{"type": "NaN", "freq": NaN}'))).toBe(1)
      })
      await bus.publish('celeryev.worker.heartbeat', { type: 'last' })

      await expect.poll(() => heard.at(-1)).toEqual({ type: 'last' })
      expect(heard).toEqual([{ reply_to: 7, ticket: {} }, { type: 'NaN', freq: null }, { type: 'last' }])
    })

    it("passes over what is no reply in an asker's list, and replies to others", async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      let ask: BusMessage | undefined
      await bus.subscribe([controlTopic], (message) => {
        ask = message
      })

      const asking = bus.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })
      await expect.poll(() => ask).toBeDefined()
      const oid = askerOf(ask?.payload as object)?.routingKey
      await raw(server(), async (redis) => {
        for (const text of [...noEnvelopes, kombu('7'), kombu('{"w1@h": "of another ticket"}')]) {
          await redis.lpush(`${oid}.reply.celery.pidbox`, text)
        }
      })
      await ask?.reply?.({ 'w1@h': 'mine' })

      expect(await asking).toEqual([{ 'w1@h': 'mine' }])
    })

    it('has no thread answer for a worker that ended before the thread began', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const broker = await open(new RedisBroker(redisClient(server().url)))
      const [brief, lasting] = [`brief-${randomUUID()}@h`, `lasting-${randomUUID()}@h`]

      broker.answerPings(brief, () => undefined)()
      // The thread takes its orders one after the other.
      await new Promise((resolve) => broker.answerPings(lasting, resolve))
      const ping = { method: 'ping', destination: [brief, lasting] }
      const replies = await bus.request(controlTopic, ping, { timeoutMs: 500 })

      expect(replies).toEqual([{ [lasting]: { ok: 'pong' } }])
    })

    it("refuses to publish what Celery's workers could not bear", async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const refused = { code: 'PAYLOAD_INVALID' }

      for (const payload of [undefined, null, 7, 'text', [], new Date(0)]) {
        await expect(bus.publish(controlTopic, payload)).rejects.toMatchObject(refused)
        await expect(bus.request(controlTopic, payload, { timeoutMs: 60_000 })).rejects.toMatchObject(refused)
      }
      for (const payload of ['text', null, {}, [{ type: 'task-sent' }, {}], [null]]) {
        await expect(bus.publish('celeryev.task.multi', payload)).rejects.toMatchObject(refused)
      }
      await expect(bus.request('celeryev.task.sent', {}, { timeoutMs: 1 })).rejects.toMatchObject({
        code: 'UNSUPPORTED',
      })
    })

    it('leaves nothing of a request behind, whether it was answered or ended by closing', async ({
      onTestFinished,
    }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const other = await open(new RedisBus(redisClient(server().url)))
      await other.subscribe([controlTopic], ({ reply }) => void reply?.({ 'ts@h': 'me' }))

      await bus.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000, replies: 1 })
      expect(await replyKeys(server())).toEqual([])

      const asking = bus.request(controlTopic, { method: 'ping' }, { timeoutMs: 60_000 })
      await expect.poll(() => replyKeys(server())).not.toEqual([])
      await bus.close()

      await asking
      expect(await replyKeys(server())).toEqual([])
    })

    it('lets a reply expire that its asker does not fetch', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      await bus.subscribe([controlTopic], ({ reply }) => void reply?.({ 'ts@h': 'me' }))
      const [dead, other] = [randomUUID(), randomUUID()]
      const list = `${dead}.reply.celery.pidbox`
      const members = [dead, other].map((oid) => `${oid}\x06\x16\x06\x16${oid}.reply.celery.pidbox`)

      await raw(server(), async (redis) => {
        onTestFinished(() =>
          raw(server(), async (again) => void (await Promise.all([again.srem(bindings, ...members), again.del(list)]))),
        )
        await redis.sadd(bindings, ...members)
        const replyTo = { exchange: 'reply.celery.pidbox', routing_key: dead }
        await redis.publish('/0.celery.pidbox', kombu(JSON.stringify({ ticket: 'one', reply_to: replyTo })))

        await expect.poll(() => redis.ttl(list)).toBeGreaterThan(50)
        expect(await redis.llen(list)).toBe(1)
        expect(await redis.exists(`${other}.reply.celery.pidbox`)).toBe(0)
      })
    })

    it('keeps the databases of one server apart', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const other = await open(new RedisBus(redisClient(server().url.replace(/\/0$/, '/1'))))
      const heard: unknown[] = []
      await bus.subscribe(['#'], ({ payload }) => heard.push(payload))

      await other.publish('news', 'theirs')
      await bus.publish('news', 'ours')

      await expect.poll(() => heard).toEqual(['ours'])
    })

    it('takes the signs of Redis patterns to the letter', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const heard: string[] = []
      for (const topic of ['a[bc].#', 'd*.#', 'e?.#', 'f\\g.#', '[^h].#']) {
        await bus.subscribe([topic], (message) => heard.push(message.topic))
      }

      for (const topic of ['ab.x', 'dd.x', 'ee.x', 'fg.x', 'i.x']) await bus.publish(topic, null)
      const literal = ['a[bc].x', 'd*.x', 'e?.x', 'f\\g.x', '[^h].x']
      for (const topic of literal) await bus.publish(topic, null)

      await expect.poll(() => heard).toEqual(literal)
    })

    it('leaves no channel behind', async ({ onTestFinished }) => {
      const { open, time } = connections()
      onTestFinished(time.close)
      const bus = await open(new RedisBus(redisClient(server().url)))
      const subscription = await bus.subscribe(['left.#', 'left'], ({ reply }) => void reply?.('me'))
      await bus.request('left', 'anybody?', { timeoutMs: 60_000, replies: 1 })

      await subscription.close()

      await raw(server(), async (redis) => {
        expect(await redis.pubsub('CHANNELS', '*celeriac*')).toEqual([])
        expect(await redis.pubsub('NUMPAT')).toBe(0)
      })
    })
  })
})
