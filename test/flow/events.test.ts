import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Bus } from '../../src/broker/bus.ts'
import { taskEventsTopic, topicOf } from '../../src/events/event.ts'
import { LamportClock } from '../../src/events/lamport-clock.ts'
import { eventsIn, type ReceivedEvent } from '../../src/events/received-event.ts'
import { type ReceiveOptions, receiveEvents } from '../../src/events/receiver.ts'
import { brokers, newApp, until } from './fixture.ts'

interface Listening {
  readonly bus: Bus
  /** Types, in the order in which they came. */
  readonly types: string[]
}

const last = { type: 'worker-last', hostname: 'w1@h1' }

async function listen(options: ReceiveOptions = {}, broker?: string): Promise<Listening> {
  const bus = await newApp(broker === undefined ? {} : { broker }).bus()
  const types: string[] = []
  await receiveEvents(bus, ({ type }) => types.push(type), options)
  return { bus, types }
}

describe.each(brokers)('events on $broker', ({ url }) => {
  it('come one by one, though workers send them several at once', async () => {
    const { bus, types } = await listen({}, url())

    await bus.publish(topicOf('worker-online'), { type: 'worker-online', hostname: 'w1@h1' })
    await bus.publish(taskEventsTopic, [{ type: 'task-received' }, { type: 'task-started' }])

    await until(() => types.length === 3)
    expect(types).toEqual(['worker-online', 'task-received', 'task-started'])
  })

  it('come without what is no event', async () => {
    const { bus, types } = await listen({}, url())

    for (const garbage of [null, 7, 'task-started', {}, [], { type: 7 }, { type: '' }, [[{ type: 'nested' }], null]]) {
      await bus.publish('celeryev.task.multi', garbage)
    }
    await bus.publish(topicOf(last.type), last)

    await until(() => types.length > 0)
    expect(types).toEqual([last.type])
  })

  it('of some types come alone, single or in lists', async () => {
    const { bus, types } = await listen({ types: ['task-failed', 'worker-*'] }, url())

    await bus.publish(topicOf('task-failed'), { type: 'task-failed' })
    await bus.publish(taskEventsTopic, [{ type: 'task-started' }, { type: 'task-failed' }])
    await bus.publish(topicOf('task-sent'), { type: 'task-sent' })
    await bus.publish(topicOf(last.type), last)

    await until(() => types.includes(last.type))
    expect(types).toEqual(['task-failed', 'task-failed', last.type])
  })
})

describe('a received event', () => {
  it('moves the logical clock past the time it says', async () => {
    const lamport = new LamportClock()
    const { bus, types } = await listen({ lamport })

    await bus.publish(topicOf('worker-heartbeat'), { type: 'worker-heartbeat', clock: 41 })
    await bus.publish(topicOf('worker-heartbeat'), { type: 'worker-heartbeat', clock: 'soon' })

    await until(() => types.length === 2)
    expect(lamport.value).toBe(42)
  })

  it('lacks fields whose values cannot be meant, and keeps all others', () => {
    const event = { type: 'task-own', hostname: 7, timestamp: '12:00', clock: 1.5, uuid: {}, pid: 3, mine: [1] }

    expect(eventsIn(event)).toEqual([{ type: 'task-own', pid: 3, mine: [1] }])
  })

  it('may be anything, and is never an error', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (payload) => {
        const events: ReceivedEvent[] = eventsIn(payload)
        expect(events.every(({ type }) => typeof type === 'string')).toBe(true)
      }),
    )
  })

  it("of Python's workers comes as it was sent", () => {
    const captured = JSON.parse(
      readFileSync(new URL('../fixtures/celery-events.json', import.meta.url), 'utf8'),
    ) as Record<string, unknown[]>

    for (const message of Object.values(captured).flat()) expect(eventsIn(message)).toEqual([message].flat())
  })
})
