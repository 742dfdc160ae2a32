/** Remote control and events, as they are on the wire: the bus and real Python hear each other. */
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { type Bus, type BusMessage, controlTopic } from '../../src/broker/bus.ts'
import { systemClock } from '../../src/clock.ts'
import { connect } from '../../src/connect.ts'
import { describeWith, type PythonWorker } from '../servers/index.ts'
import { startReceiver } from './python-client.ts'
import { everything, openSite, type Site, transports } from './site.ts'

const silent = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

const ping = { method: 'ping', arguments: {}, destination: null, pattern: null, matcher: null }

/** What every event says, but for its type. */
const common = { hostname: 'ts@localhost', utcoffset: 0, pid: process.pid, clock: 7 }

describeWith(everything, 'the bus beside Python', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    let worker: PythonWorker
    /** Of the worker's start. */
    const early: BusMessage[] = []

    beforeAll(async () => {
      site = await openSite(transport)
      const ear = await openBus()
      await ear.subscribe(['celeryev.worker.#'], (message) => early.push(message))
      worker = await site.startPythonWorker()
      return () => ear.close()
    })

    async function openBus(): Promise<Bus> {
      const { bus } = await connect(site.url, {
        durability: 'full',
        resultExpiresMs: 60_000,
        publishTimeoutMs: 10_000,
        logger: silent,
        clock: systemClock,
      })
      await bus.open()
      return bus
    }

    async function openOwnBus(): Promise<Bus> {
      const bus = await openBus()
      onTestFinished(() => bus.close())
      return bus
    }

    it("hears a Python worker's coming and its heartbeats", async () => {
      const heardOf = (topic: string) => early.find((message) => message.topic === topic)

      await expect.poll(() => heardOf('celeryev.worker.online'), { timeout: 25_000 }).toBeDefined()
      await expect.poll(() => heardOf('celeryev.worker.heartbeat'), { timeout: 25_000 }).toBeDefined()

      expect(heardOf('celeryev.worker.heartbeat')).toMatchObject({
        payload: { type: 'worker-heartbeat', hostname: worker.name, sw_ident: 'py-celery', clock: expect.any(Number) },
        headers: { hostname: worker.name },
        reply: undefined,
      })
    })

    it("gets a Python worker's reply to a request", async () => {
      const bus = await openOwnBus()

      const replies = await bus.request(controlTopic, ping, { timeoutMs: 20_000, replies: 1, headers: { clock: 1 } })

      expect(replies).toEqual([{ [worker.name]: { ok: 'pong' } }])
    })

    it("gives each of two requests the replies to it, Python's and ours", async () => {
      const bus = await openOwnBus()
      const other = await openOwnBus()
      await other.subscribe([controlTopic], ({ reply }) => void reply?.({ 'ts@localhost': { ok: 'pong' } }))

      const [pings, clocks] = await Promise.all([
        bus.request(controlTopic, ping, { timeoutMs: 20_000, replies: 2 }),
        bus.request(controlTopic, { ...ping, method: 'clock' }, { timeoutMs: 20_000, replies: 2 }),
      ])

      expect(Object.assign({}, ...pings)).toEqual({
        [worker.name]: { ok: 'pong' },
        'ts@localhost': { ok: 'pong' },
      })
      expect(Object.assign({}, ...clocks)).toEqual({
        [worker.name]: { clock: expect.any(Number) },
        'ts@localhost': { ok: 'pong' },
      })
    })

    it("answers Python's `inspect ping`", async () => {
      const bus = await openOwnBus()
      const asked: BusMessage[] = []
      await bus.subscribe([controlTopic], (message) => {
        asked.push(message)
        void message.reply?.({ 'ts@localhost': { ok: 'pong' } }, { clock: 8 })
      })

      const answers = await site.python.run(
        'app.control.inspect(destination=["ts@localhost", worker], timeout=20).ping()',
        { worker: worker.name },
      )

      expect(answers).toEqual({ 'ts@localhost': { ok: 'pong' }, [worker.name]: { ok: 'pong' } })
      expect(asked[0]).toMatchObject({
        topic: controlTopic,
        payload: { method: 'ping', destination: ['ts@localhost', worker.name] },
        headers: { clock: expect.any(Number) },
      })
    })

    it('offers no reply to what Python only tells', async () => {
      const bus = await openOwnBus()
      const heard: BusMessage[] = []
      await bus.subscribe([controlTopic], (message) => heard.push(message))

      await site.python.run('app.control.revoke("some-task")')

      await expect.poll(() => heard).toHaveLength(1)
      expect(heard[0]).toMatchObject({ payload: { method: 'revoke', arguments: { task_id: 'some-task' } } })
      expect(heard[0]?.reply).toBeUndefined()
    })

    it('leaves a Python worker well after control messages of every kind we publish', async () => {
      const bus = await openOwnBus()

      await bus.publish(controlTopic, { ...ping, method: 'no such method' })
      await bus.publish(controlTopic, { method: 'heartbeat' }, { clock: 3 })
      const unknown = await bus.request(controlTopic, { method: 'no such method' }, { timeoutMs: 20_000, replies: 1 })

      expect(unknown).toEqual([{ [worker.name]: { error: expect.stringContaining('KeyError') } }])
      expect(await bus.request(controlTopic, ping, { timeoutMs: 20_000, replies: 1 })).toHaveLength(1)
    })

    it("brings events to Python's receiver, one or several at once", async () => {
      const bus = await openOwnBus()
      const timestamp = Date.now() / 1_000
      const heartbeat = { ...common, timestamp, freq: 2, active: 0, processed: 0, type: 'worker-heartbeat' }
      const started = [1, 2].map((n) => ({ ...common, timestamp, uuid: `task-${n}`, type: 'task-started' }))
      await site.python.run(`${startReceiver}\nNone`)

      // It does not tell when it listens.
      const hears = async (): Promise<unknown> => {
        await bus.publish('celeryev.worker.heartbeat', heartbeat, { hostname: common.hostname })
        return site.python.run('sum(event["hostname"] == "ts@localhost" for event in heard)')
      }
      await expect.poll(hears, { timeout: 25_000 }).toBeGreaterThan(0)
      await bus.publish('celeryev.task.multi', started, { hostname: common.hostname })

      const tasks = () => site.python.run('[event["uuid"] for event in heard if event["type"] == "task-started"]')
      await expect.poll(tasks, { timeout: 25_000 }).toEqual(['task-1', 'task-2'])
      expect(worker.hasEnded).toBe(false)
    })
  })
})
