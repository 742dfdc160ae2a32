import { describe, expect, it, type TestContext } from 'vitest'
import { RedisResultStore } from '../../src/drivers/redis/index.ts'
import type { JoinPart, ResultRecord } from '../../src/result/result-store.ts'
import { resultContract } from '../../src/testing/index.ts'
import { resultRecord } from '../../src/testing/result-record.ts'
import { describeWith, startProxy, startRedis } from '../servers/index.ts'
import { connections, raw, redisClient, redisServer } from './redis-fixture.ts'

describeWith('redis', 'with a server', () => {
  const server = redisServer()

  resultContract('redis', {
    open: async () => {
      const { open, time } = connections()
      const connect = (expiresMs = Number.POSITIVE_INFINITY) =>
        open(new RedisResultStore(redisClient(server().url, { resultExpiresMs: expiresMs })))
      return { ...time, store: await connect(), peer: ({ expiresMs } = {}) => connect(expiresMs) }
    },
  })

  async function openStore({ onTestFinished }: TestContext, url = server().url, resultExpiresMs = 60_000) {
    const { open, time } = connections()
    onTestFinished(time.close)
    return open(new RedisResultStore(redisClient(url, { resultExpiresMs })))
  }

  const metaKey = (taskId: string) => `celery-task-meta-${taskId}`

  describe('redis result store', () => {
    it('holds a join that has failed, so that Python does not end it too, and lets go once it may go on', async (context) => {
      const store = await openStore(context)
      const part: JoinPart = {
        memberId: 'a',
        index: 0,
        state: 'FAILURE',
        result: { exc_type: 'Error', exc_message: [] },
      }
      const later = (): Promise<unknown> => raw(server(), (redis) => redis.get('celery-taskset-meta-held.t'))

      // Before the size is told: a member may fail while the others are still being sent.
      await store.join('held', { part })
      const held = await later()
      const progress = await store.join('held', { size: 1 })
      await store.join('held', { part: { ...part, state: 'SUCCESS' } })

      expect(Number(held)).toBeGreaterThanOrEqual(1_000_000_000)
      expect(progress).toMatchObject({ joined: 1, size: 1, failed: 'a' })
      expect(await later()).toBe('0')
    })

    it('keeps a record under the key that Celery reads, for its time, and publishes the same', async (context) => {
      const store = await openStore(context)
      await raw(server(), async (redis) => {
        const published: string[] = []
        await raw(server(), async (subscriber) => {
          await subscriber.subscribe(metaKey('shape'))
          subscriber.on('message', (_channel, text) => published.push(text))

          await store.save([resultRecord({ taskId: 'shape', status: 'SUCCESS', result: 5, fence: 1 })])

          await expect.poll(() => published).toHaveLength(1)
        })

        const stored = await redis.get(metaKey('shape'))
        expect(published).toEqual([stored])
        expect(JSON.parse(stored ?? '')).toMatchObject({ status: 'SUCCESS', result: 5, task_id: 'shape' })
        expect(await redis.pttl(metaKey('shape'))).toBeGreaterThan(50_000)
      })
    })

    it('keeps a record for ever where that is the wish', async (context) => {
      const store = await openStore(context, server().url, Number.POSITIVE_INFINITY)

      await store.save([resultRecord({ taskId: 'for-ever' })])
      await store.join('for-ever', { part: part('a', 0), size: 2 })

      await raw(server(), async (redis) => {
        expect(await redis.pttl(metaKey('for-ever'))).toBe(-1)
        expect(await redis.pttl('celery-taskset-meta-for-ever.j')).toBe(-1)
      })
    })

    it('leaves no channel behind when the last listener has gone', async (context) => {
      const store = await openStore(context)
      const both = [await store.subscribe(['left'], () => {}), await store.subscribe(['left', 'too'], () => {})]
      const channels = () => raw(server(), (redis) => redis.pubsub('CHANNELS', 'celery-task-meta-*'))

      await both[1]?.close()
      expect(await channels()).toEqual([metaKey('left')])
      await both[0]?.close()

      expect(await channels()).toEqual([])
    })

    it('passes over what is published or stored for a task and is no record', async (context) => {
      const store = await openStore(context)
      const heard: ResultRecord[] = []
      await store.subscribe(['garbled'], (record) => heard.push(record))

      await raw(server(), async (redis) => {
        for (const text of ['', 'no json', '7', '{}']) await redis.publish(metaKey('garbled'), text)
        await redis.set(metaKey('garbled'), 'no json')
      })

      expect(await store.load(['garbled'])).toEqual([undefined])
      await store.save([resultRecord({ taskId: 'garbled', fence: 0 })])
      await expect.poll(() => heard.map(({ status }) => status)).toEqual(['PENDING'])
    })

    it('tells what was saved while the connection was away', async (context) => {
      const proxy = await startProxy(server().port)
      const away = await openStore(context, `redis://127.0.0.1:${proxy.port}/0`)
      const here = await openStore(context)
      const heard: string[] = []
      await away.subscribe(['before', 'missed', 'unsaved'], ({ taskId }) => heard.push(taskId))
      await here.save([resultRecord({ taskId: 'before' })])
      await expect.poll(() => heard).toEqual(['before'])

      proxy.refuse(true)
      proxy.cut()
      await here.save([resultRecord({ taskId: 'missed', status: 'SUCCESS', fence: 1 })])
      proxy.refuse(false)

      await expect.poll(() => heard, { timeout: 25_000 }).toContain('missed')
      expect(heard).not.toContain('unsaved')
      await here.save([resultRecord({ taskId: 'unsaved' })])
      await expect.poll(() => heard).toContain('unsaved')
    })

    it('is subscribed although the connection broke before the server answered', async (context) => {
      const proxy = await startProxy(server().port)
      const away = await openStore(context, `redis://127.0.0.1:${proxy.port}/0`)
      const here = await openStore(context)
      const heard: string[] = []

      proxy.delay(1_000)
      const subscribing = away.subscribe(['unanswered'], ({ taskId }) => heard.push(taskId))
      const subscribers = () => raw(server(), (redis) => redis.pubsub('NUMSUB', metaKey('unanswered')))
      await expect.poll(async () => (await subscribers())[1], { timeout: 5_000 }).toBe(1)
      proxy.delay(0)
      proxy.cut()
      await subscribing
      await here.save([resultRecord({ taskId: 'unanswered' })])

      await expect.poll(() => heard).toEqual(['unanswered'])
    })

    it('is subscribed again at a server that was restarted', async (context) => {
      const own = await startRedis()
      const store = await openStore(context, own.url)
      const other = await openStore(context, own.url)
      const heard: string[] = []
      await store.subscribe(['restarted'], ({ status }) => heard.push(status))

      await own.kill()
      await own.restart()
      const subscribers = () => raw(own, (redis) => redis.pubsub('NUMSUB', metaKey('restarted')))
      await expect.poll(async () => (await subscribers())[1], { timeout: 25_000 }).toBe(1)
      await other.save([resultRecord({ taskId: 'restarted', status: 'SUCCESS', fence: 1 })])

      await expect.poll(() => heard).toEqual(['SUCCESS'])
    })
  })

  /** What Python left behind, what is saved over it, and which of the two is there then. */
  describe("a record over one of Python's", () => {
    const started = '{"status": "STARTED", "result": {"pid": 1}, "traceback": null, "children": [], "date_done": null}'
    const succeeded = '{"status": "SUCCESS", "result": "theirs", "traceback": null, "children": []}'
    const retried = '{"status": "RETRY", "result": null, "retries": 2}'
    const deep = `{"status": "SUCCESS", "result": ${'['.repeat(2_000)}${']'.repeat(2_000)}}`
    const cases: [what: string, stored: string, saved: Partial<ResultRecord>, replaced: boolean][] = [
      ['SUCCESS stays, whatever follows', succeeded, { status: 'FAILURE', fence: 1 }, false],
      ['SUCCESS stays, even when a newer attempt follows', succeeded, { status: 'SUCCESS', fence: 7 }, false],
      [
        'SUCCESS stays, in another spelling',
        '{ "result" : 1, "status":"SUCCESS"}',
        { status: 'FAILURE', fence: 9 },
        false,
      ],
      ['SUCCESS stays, too deep for the server to read', deep, { status: 'FAILURE', fence: 9 }, false],
      ['PENDING, saved late, replaces nothing', started, { status: 'PENDING', fence: 0 }, false],
      ['the first run here replaces what is not SUCCESS', started, { status: 'SUCCESS', fence: 1 }, true],
      ['an attempt before its retries is passed over', retried, { status: 'FAILURE', fence: 2 }, false],
      ['the attempt after its retries replaces it', retried, { status: 'FAILURE', fence: 3 }, true],
      ['what cannot be read is replaced by anything', 'no json', { status: 'PENDING', fence: 0 }, true],
    ]

    it.each(cases)('%s', async (what, stored, saved, replaced) => {
      const { open, time } = connections()
      const store = await open(new RedisResultStore(redisClient(server().url)))
      await raw(server(), async (redis) => {
        await redis.set(metaKey(what), stored)

        await store.save([resultRecord({ taskId: what, ...saved })])

        const text = await redis.get(metaKey(what))
        if (replaced) expect(JSON.parse(text ?? '')).toMatchObject({ status: saved.status })
        else expect(text).toBe(stored)
      })
      await time.close()
    })

    it('is kept even where a key of another type is in the way', async (context) => {
      const store = await openStore(context)
      await raw(server(), (redis) => redis.lpush(metaKey('list'), 'x'))

      await store.save([resultRecord({ taskId: 'list' })])

      expect((await store.load(['list']))[0]?.status).toBe('PENDING')
    })

    it('of ours is known by its fence however long its state is', async (context) => {
      const store = await openStore(context)
      const status = `STATE "${'x'.repeat(500)}"`
      const record = resultRecord({ taskId: 'long', status, fence: 3 })

      await store.save([record])
      await store.save([resultRecord({ taskId: 'long', status: 'FAILURE', fence: 2 })])

      expect(await store.load(['long'])).toEqual([record])
    })
  })

  function part(memberId: string, index: number, result: unknown = index): JoinPart {
    return { memberId, index, state: 'SUCCESS', result }
  }

  describe("a join on the keys of Celery's chords", () => {
    const keys = (group: string) => ['.j', '.t', '.s'].map((end) => `celery-taskset-meta-${group}${end}`)

    it("writes what Python's last member looks for", async (context) => {
      const store = await openStore(context)

      await store.join('g1', {
        part: { memberId: 'a', index: 3, state: 'SUCCESS', result: { sum: [1, 'é'] } },
        size: 2,
      })

      await raw(server(), async (redis) => {
        const [parts = '', , size = ''] = keys('g1')
        expect(await redis.zrange(parts, '-inf', '+inf', 'BYSCORE', 'WITHSCORES')).toEqual([
          String.raw`[1, "a", "SUCCESS", {"sum": [1, "\u00e9"]}]`,
          '3',
        ])
        expect(await redis.get(size)).toBe('2')
        for (const key of [parts, size]) expect(await redis.pttl(key)).toBeGreaterThan(50_000)
      })
    })

    it('counts members of both languages, with those that came later', async (context) => {
      const store = await openStore(context)
      await raw(server(), async (redis) => {
        const [parts = '', later = '', size = ''] = keys('g2')
        await redis.setex(size, 60, 2)
        await redis.incr(later)
        await redis.zadd(parts, 1, '[1, "python", "SUCCESS", 7]')
        expect(await store.join('g2', { part: part('ours', 0, 3) })).toEqual({ joined: 2, size: 3, parts: undefined })
        await redis.zadd(parts, '+inf', '[1, "late", "SUCCESS", null]')
      })

      expect(await store.join('g2', {})).toEqual({
        joined: 3,
        size: 3,
        parts: [part('ours', 0, 3), part('python', 1, 7), part('late', Number.POSITIVE_INFINITY, null)],
      })
    })

    it('counts a Python member that ran twice once, and its SUCCESS before anything else', async (context) => {
      const store = await openStore(context)
      await raw(server(), async (redis) => {
        const [parts = ''] = keys('g3')
        await redis.zadd(parts, 0, '[1, "twice", "FAILURE", {"exc_type": "E", "exc_message": [], "exc_module": "m"}]')
        await redis.zadd(parts, 0, '[1, "twice", "SUCCESS", 7]')
      })

      const early = await store.join('g3', { size: 2 })
      const done = await store.join('g3', { part: part('ours', 1) })

      expect(early).toEqual({ joined: 1, size: 2, parts: undefined })
      expect(done).toEqual({ joined: 2, size: 2, parts: [part('twice', 0, 7), part('ours', 1)] })
    })

    it('leaves nothing when it is closed but the word that it is, and that for a time', async (context) => {
      const store = await openStore(context)
      await store.join('g4', { part: part('a', 0), size: 1 })

      await store.closeJoin('g4')
      const late = await store.join('g4', { part: part('b', 1), size: 1 })

      expect(late).toEqual({ joined: 1, size: 1, parts: undefined })
      await raw(server(), async (redis) => {
        expect(await redis.exists(keys('g4'))).toBe(0)
        expect(await redis.hgetall('celeriac:join:g4')).toEqual({ joined: '1', size: '1' })
        expect(await redis.pttl('celeriac:join:g4')).toBeGreaterThan(50_000)
      })
    })

    it('does not begin anew when a member comes again after Python has joined it', async (context) => {
      const store = await openStore(context)
      await store.join('g5', { part: part('a', 0), size: 2 })
      await raw(server(), (redis) => redis.del(keys('g5')))

      expect(await store.join('g5', { part: part('a', 0) })).toEqual({ joined: 0, size: undefined, parts: undefined })
    })

    it('takes ten thousand members, each of which comes twice', async (context) => {
      const store = await openStore(context)
      const members = Array.from({ length: 10_000 }, (_, index) => part(`member-${index}`, index))
      await store.join('large', { size: members.length })

      for (const one of members.slice(0, -1)) void store.join('large', { part: one })
      const again = await Promise.all(members.slice(0, -1).map((one) => store.join('large', { part: one })))
      const done = await store.join('large', { part: members.at(-1) as JoinPart })

      expect(again.at(-1)).toEqual({ joined: members.length - 1, size: members.length, parts: undefined })
      expect(done.parts).toEqual(members)
    })
  })
})
