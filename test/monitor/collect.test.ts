import { systemClock } from 'celeriac'
import { afterEach, describe, expect, it } from 'vitest'
import { taskEventsTopic, topicOf } from '../../src/events/event.ts'
import { Collector, type CollectorSettings } from '../../src/monitor/collect/collector.ts'
import { Redaction } from '../../src/monitor/redaction.ts'
import { inMemory } from '../../src/monitor/store/database.ts'
import { MonitorStore } from '../../src/monitor/store/store.ts'
import { memoryUrl, newApp, silent, sqliteUrl, until } from '../flow/fixture.ts'
import { redisUrl } from '../servers/index.ts'

const fast: CollectorSettings = {
  enableEvents: true,
  peeks: true,
  inspectEveryMs: 100,
  inspectTimeoutMs: 100,
  queuesEveryMs: 50,
}

function newStore(path = inMemory): MonitorStore {
  return new MonitorStore({ path, clock: systemClock, maxTasks: 100_000, maxAgeMs: 3_600_000, maxBytes: 2 ** 30 })
}

const endings: (() => Promise<void>)[] = []
// Before the applications are closed: this hook was added after the fixture's.
afterEach(async () => {
  for (const end of endings.splice(0)) await end()
})

/** A collector on an open application. */
async function collecting(broker: string, store = newStore()) {
  const app = await newApp({ broker }).open()
  const redaction = new Redaction({ names: [], tasks: ['secret.*'] })
  const collector = new Collector({ app, store, redaction, clock: systemClock, logger: silent, settings: fast })
  await collector.start()
  endings.push(async () => {
    await collector.stop()
    store.close()
  })
  return { app, store, collector }
}

const brokers = [
  { broker: 'memory', url: async () => memoryUrl() },
  { broker: 'sqlite', url: async () => sqliteUrl() },
  { broker: 'redis', url: redisUrl },
]

describe.each(brokers)('the collector on $broker', ({ url }) => {
  it('knows tasks, workers and queues without being told of any', async () => {
    const broker = await url()
    const { store, collector } = await collecting(broker)
    const app = newApp({ broker, defaultQueue: 'parcels' })
    const weigh = app.task('weigh', (grams: number) => grams / 1_000)
    const drop = app.task('drop', { maxRetries: 0 }, () => {
      throw new RangeError('it slipped')
    })
    const worker = await app.worker({ taskEvents: true })

    const weighed = await weigh.delay(250)
    const dropped = await drop.delay()
    await until(
      () => store.tasks.get(weighed.id)?.state === 'SUCCESS' && store.tasks.get(dropped.id)?.state === 'FAILURE',
    )
    await until(() => collector.queues.get('parcels') !== undefined)
    await until(
      () =>
        collector.workers.get(worker.name)?.stats != null && collector.workers.get(worker.name)?.queues.length === 1,
    )

    expect(store.tasks.get(weighed.id)).toMatchObject({
      name: 'weigh',
      args: '(250,)',
      result: '0.25',
      worker: worker.name,
    })
    expect(store.tasks.get(dropped.id)).toMatchObject({ exception: "RangeError('it slipped')" })
    expect(store.tasks.events(weighed.id).map(({ type }) => type)).toEqual([
      'task-received',
      'task-started',
      'task-succeeded',
    ])
    const now = Date.now()
    const counts = store.series.byTask(10_000, now - 60_000, now + 1).find(({ task }) => task === 'weigh')
    expect(counts).toMatchObject({
      received: 1,
      started: 1,
      succeeded: 1,
      failed: 0,
      run: { count: 1 },
      wait: { count: 1 },
    })
    expect(collector.workers.get(worker.name)).toMatchObject({ isAlive: true, queues: ['parcels'] })
  })

  it('keeps the messages that wait, to send them again', async () => {
    const { app, store } = await collecting(await url())

    const sent = await app.remote('far.away', { queue: `distant-${Date.now()}` }).delay('as it is', { deep: [1] })

    await until(() => store.messages.get(sent.id) !== undefined)
    expect(app.content.readAny(store.messages.get(sent.id) as never)).toMatchObject([
      ['as it is', { deep: [1] }],
      {},
      {},
    ])
  })
})

describe('a worker that comes later', () => {
  it('is told at once to send events of its tasks', async () => {
    const broker = memoryUrl()
    const { store } = await collecting(broker)
    const app = newApp({ broker })
    const weigh = app.task('weigh', (grams: number) => grams / 1_000)
    await app.worker()

    await until(async () => {
      await weigh.delay(250)
      return store.query.count({ state: ['SUCCESS'] }) > 0
    })
  })
})

describe('the intake', () => {
  it('loses none of 2,000 events a second, and keeps up', async () => {
    const { app, store, collector } = await collecting(memoryUrl())
    const bus = await app.bus()
    const total = 6_000
    const perTick = 100

    for (let sent = 0; sent < total; ) {
      const events = Array.from({ length: perTick }, () => event(sent++))
      await bus.publish(taskEventsTopic, events)
      await new Promise((resolve) => setTimeout(resolve, 50))
      expect(collector.counts.buffered).toBeLessThan(3_000)
    }

    await until(() => collector.counts.taken === total)
    expect(collector.counts.missed).toBe(0)
    expect(store.query.count({})).toBe(total / 3)
    expect(store.query.count({ state: ['SUCCESS'] })).toBe(total / 3)
  }, 20_000)

  it('takes an event in once, however often it comes', async () => {
    const { app, store, collector } = await collecting(memoryUrl())
    const bus = await app.bus()

    const events = [event(0), event(1)]
    for (let time = 0; time < 3; time += 1) await bus.publish(taskEventsTopic, events)

    await until(() => collector.counts.taken === 2)
    collector.flush()
    expect(store.tasks.events('task-0')).toHaveLength(2)
    const now = Date.now()
    expect(store.series.points(3_600_000, now - 60_000, now + 1)).toMatchObject([{ received: 1, started: 1 }])
  })

  it('stores no secrets, neither of names that sound like one nor of tasks that are hidden', async () => {
    const { app, store, collector } = await collecting(memoryUrl())
    const bus = await app.bus()
    const received = { type: 'task-received', hostname: 'w1@h', clock: 1, timestamp: 1_000 }

    await bus.publish(topicOf('task-received'), {
      ...received,
      uuid: 'a',
      name: 'log.in',
      args: "('ada', 'postgres://ada:hunter2@db/x')",
      kwargs: "{'password': 'hunter2', 'remember': True, 'apiToken': 'hunter2'}",
    })
    await bus.publish(topicOf('task-received'), { ...received, uuid: 'b', name: 'secret.keys', args: "('hunter2',)" })
    await bus.publish(topicOf('task-succeeded'), { ...received, type: 'task-succeeded', uuid: 'b', result: 'hunter2' })

    await until(() => collector.counts.taken === 3)
    expect(store.tasks.get('a')).toMatchObject({
      args: "('ada', 'postgres://ada:***@db/x')",
      kwargs: "{'password': '***', 'remember': True, 'apiToken': '***'}",
    })
    expect(JSON.stringify([store.tasks.get('b'), store.tasks.events('a'), store.tasks.events('b')])).not.toMatch(
      /hunter2/,
    )
    expect(store.query.count({ text: 'hunter2' })).toBe(0)
  })
})

/** Of a fleet that receives, starts and ends one task after the other. */
function event(number: number) {
  const type = ['task-received', 'task-started', 'task-succeeded'][number % 3] as string
  const task = Math.floor(number / 3)
  const base = { type, uuid: `task-${task}`, hostname: 'w1@h', clock: number + 1, timestamp: Date.now() / 1_000 }
  if (type === 'task-received') return { ...base, name: 'weigh', args: `(${task},)`, kwargs: '{}' }
  return type === 'task-started' ? base : { ...base, result: 'None', runtime: 0.01 }
}
