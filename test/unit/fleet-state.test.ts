import { readFileSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { stateAfter } from '../../src/events/fleet-task.ts'
import { eventsIn, type ReceivedEvent } from '../../src/events/received-event.ts'
import { FleetState } from '../../src/events/state.ts'
import { ManualClock } from '../../src/testing/manual-clock.ts'

/** What Python's workers sent in some scenarios (Celery 5.6.3): messages in order, each an event or a list. */
const captured = JSON.parse(
  readFileSync(new URL('../fixtures/celery-events.json', import.meta.url), 'utf8'),
) as Readonly<Record<string, readonly unknown[]>>

const capturedEvents = (name: string): ReceivedEvent[] => (captured[name] ?? []).flatMap(eventsIn)

/** Events of one worker, sent in this order, a second apart, from 1000 s on. */
function sent(types: readonly string[], fields: Partial<ReceivedEvent> = {}): ReceivedEvent[] {
  return types.map((type, index) => ({
    type,
    hostname: 'w1@h1',
    pid: 7,
    clock: 50 + index,
    timestamp: 1_000 + index,
    ...(type.startsWith('task-') && { uuid: 'a' }),
    ...fields,
  }))
}

function fleetOf(events: readonly ReceivedEvent[], options = {}): FleetState {
  const fleet = new FleetState({ clock: new ManualClock(), ...options })
  for (const event of events) fleet.apply(event)
  return fleet
}

const stateOf = (events: readonly ReceivedEvent[]): string | undefined => fleetOf(events).task('a')?.state

describe('a task', () => {
  it.each([
    ['success', 'SUCCESS'],
    ['failure', 'FAILURE'],
    ['retry', 'FAILURE'],
    ['revoke-eta', 'REVOKED'],
    ['revoke-terminate', 'REVOKED'],
    ['expired', 'REVOKED'],
    ['extended-tracked-sent', 'SUCCESS'],
    ['unregistered', 'FAILURE'],
  ])("of Python's capture '%s' ends in %s", (name, state) => {
    expect(fleetOf(capturedEvents(name)).tasks()).toMatchObject([{ state }])
  })

  it('has its name, arguments, result and times from its events', () => {
    const [task] = fleetOf(capturedEvents('extended-tracked-sent')).tasks()

    expect(task).toMatchObject({ name: 'lab.add', state: 'SUCCESS', worker: 'w2@h1', queue: 'celery', retries: 0 })
    expect(task?.client).toMatch(/^gen\d+@/)
    expect(task?.runtimeMs).toBeGreaterThan(0)
    expect(task?.sentAt).toBeLessThan(task?.receivedAt ?? 0)
    expect(task?.receivedAt).toBeLessThan(task?.startedAt ?? 0)
    expect(task?.startedAt).toBeLessThan(task?.endedAt ?? 0)
  })

  it.each([
    [['task-sent'], 'PENDING'],
    [['task-received', 'task-started', 'task-succeeded', 'task-started'], 'SUCCESS'],
    [['task-received', 'task-started', 'task-retried'], 'RETRY'],
    [['task-started', 'task-retried', 'task-received'], 'RECEIVED'],
    [['task-started', 'task-retried', 'task-received', 'task-started'], 'STARTED'],
    [['task-received', 'task-started', 'task-progress'], 'PROGRESS'],
    [['task-started', 'task-progress', 'task-succeeded'], 'SUCCESS'],
    [['task-started', 'task-failed', 'task-received'], 'RECEIVED'],
    [['task-started', 'task-cancelled', 'task-received', 'task-started'], 'STARTED'],
    [['task-started', 'task-succeeded', 'task-retried'], 'SUCCESS'],
  ])('after %j is %s', (types, state) => {
    expect(stateOf(sent(types))).toBe(state)
  })

  it('never goes back within an attempt', () => {
    const order = ['PENDING', 'RECEIVED', 'STARTED', 'PROGRESS', 'REVOKED', 'FAILURE', 'SUCCESS']
    const state = fc.constantFrom(...order.filter((name) => name !== 'RECEIVED'))

    fc.assert(
      fc.property(fc.array(state), (states) => {
        const ranks = states.map((_, index) => order.indexOf(states.slice(0, index + 1).reduce(stateAfter, 'PENDING')))
        expect(ranks).toEqual([...ranks].sort((a, b) => a - b))
      }),
    )
  })

  it('is the same in whatever order its events come, and however often', () => {
    const story = fc.array(
      fc.record({
        type: fc.constantFrom(
          ...[
            'sent',
            'received',
            'started',
            'succeeded',
            'failed',
            'retried',
            'revoked',
            'rejected',
            'own',
            'other',
          ].map((name) => `task-${name}`),
        ),
        uuid: fc.constantFrom('a', 'b'),
        hostname: fc.constantFrom('w1@h1', 'w2@h1'),
        timestamp: fc.integer({ min: 1, max: 6 }),
        name: fc.constantFrom('pick', undefined),
        exception: fc.constantFrom("ValueError('x')", undefined),
      }),
      { minLength: 1, maxLength: 12 },
    )
    // A worker's own clock never stands still, so every event has a moment of its own.
    const events = story.map((all) => all.map((event, clock) => ({ ...event, clock }) as ReceivedEvent))
    const shuffled = events.chain((all) =>
      fc.tuple(
        fc.constant(all),
        fc.shuffledSubarray([...all, ...all, ...all], { minLength: 3 * all.length, maxLength: 3 * all.length }),
      ),
    )

    fc.assert(
      fc.property(shuffled, ([all, repeated]) => {
        const byId = (fleet: FleetState) => fleet.tasks().sort((a, b) => (a.uuid < b.uuid ? -1 : 1))
        const once = fleetOf(all)
        const often = fleetOf(repeated)
        expect(byId(often)).toEqual(byId(once))
        expect(often.totals).toEqual(once.totals)
      }),
    )
  })

  it('does not show the error of an earlier attempt once it has succeeded', () => {
    const failing = sent(['task-received', 'task-started', 'task-retried'], { exception: "KeyError('k')" })
    const good = sent(['task-received', 'task-started', 'task-succeeded'], { timestamp: 2_000 })

    expect(fleetOf(failing).task('a')?.exception).toBe("KeyError('k')")
    expect(fleetOf([...failing, ...good]).task('a')?.exception).toBeNull()
  })

  it('keeps its time, whatever the offset of the host', () => {
    const [event] = sent(['task-started'], { utcoffset: -9 })

    expect(fleetOf([event as ReceivedEvent]).task('a')?.startedAt).toBe(1_000_000)
  })

  it('is forgotten when too many others were heard of since', () => {
    const fleet = new FleetState({ maxTasks: 2 })
    for (const uuid of ['a', 'b', 'a', 'c']) fleet.apply({ type: 'task-started', uuid })

    expect(fleet.tasks().map(({ uuid }) => uuid)).toEqual(['c', 'a'])
    expect(fleet.tasks(1).map(({ uuid }) => uuid)).toEqual(['c'])
  })

  it('that was asked for counts as nothing that happened', () => {
    const fleet = fleetOf([])

    fleet.learn({ type: 'task-started', uuid: 'a', hostname: 'w1@h1', name: 'pick', timestamp: 5 })

    expect(fleet.task('a')).toMatchObject({ state: 'STARTED', name: 'pick', worker: 'w1@h1', startedAt: 5_000 })
    expect(fleet.rates.received + fleet.totals.received).toBe(0)
  })
})

describe('a worker', () => {
  const heartbeat = {
    freq: 2,
    active: 3,
    processed: 40,
    loadavg: [0.5, 0.4, 0.3],
    sw_ident: 'py-celery',
    sw_ver: '5.6.3',
  }

  it('says what it does and what it is', () => {
    const fleet = fleetOf(sent(['worker-heartbeat'], { ...heartbeat, sw_sys: 'Linux' }))

    expect(fleet.workers()).toMatchObject([
      {
        hostname: 'w1@h1',
        isAlive: true,
        pid: 7,
        active: 3,
        processed: 40,
        loadavg: [0.5, 0.4, 0.3],
        software: 'py-celery 5.6.3',
        system: 'Linux',
      },
    ])
  })

  it('is alive until two heartbeats are missing, by our time', async () => {
    const clock = new ManualClock()
    const fleet = new FleetState({ clock })
    const isAlive = (): boolean | undefined => fleet.worker('w1@h1')?.isAlive
    fleet.apply({ type: 'worker-heartbeat', hostname: 'w1@h1', freq: 2, timestamp: 5, clock: 1 })

    await clock.advance(3_999)
    expect(isAlive()).toBe(true)
    await clock.advance(1)
    expect(isAlive()).toBe(false)

    fleet.apply({ type: 'worker-heartbeat', hostname: 'w1@h1', freq: 2, timestamp: 9, clock: 2 })
    expect(isAlive()).toBe(true)
  })

  it('that said it goes is gone, also if an older heartbeat comes after that', () => {
    const [older, offline] = sent(['worker-heartbeat', 'worker-offline'], heartbeat)

    const fleet = fleetOf([offline as ReceivedEvent, older as ReceivedEvent])

    expect(fleet.worker('w1@h1')).toMatchObject({ isAlive: false, heardAt: null })
  })

  it('that was started again is back, though its logical clock began anew', () => {
    const gone = sent(['worker-heartbeat', 'worker-offline'], heartbeat)
    const back: ReceivedEvent = {
      type: 'worker-online',
      hostname: 'w1@h1',
      pid: 8,
      clock: 1,
      timestamp: 1_010,
      freq: 2,
    }

    expect(fleetOf([...gone, back]).worker('w1@h1')).toMatchObject({ isAlive: true, pid: 8 })
  })

  it('has the events of its tasks counted, each once', () => {
    const tasks = sent(['task-received', 'task-started', 'task-failed'])

    const fleet = fleetOf([...sent(['worker-online'], heartbeat), ...tasks, ...tasks])

    const counts = { received: 1, failed: 1, succeeded: 0, retried: 0, revoked: 0 }
    expect(fleet.worker('w1@h1')?.counts).toEqual(counts)
    expect(fleet.totals).toEqual(counts)
  })

  it('is told by heartbeats alone: tasks make none', () => {
    expect(fleetOf(sent(['task-started'])).workers()).toEqual([])
  })

  it('without anything but a name is alive for a while, and repeats itself', () => {
    const fleet = fleetOf([])
    const bare = { type: 'worker-heartbeat', hostname: 'w1@h1' }

    expect([fleet.apply(bare), fleet.apply(bare)]).toEqual([true, true])
    expect(fleet.worker('w1@h1')).toMatchObject({ isAlive: true, freq: 60, active: null, software: null, loadavg: [] })
  })
})

describe('rates', () => {
  it('are per second over the last ten', async () => {
    const clock = new ManualClock()
    const fleet = new FleetState({ clock })
    await clock.advance(60_000)
    for (let n = 0; n < 20; n++) fleet.apply({ type: 'task-succeeded', uuid: `${n}`, clock: n })

    const now = fleet.rates
    await clock.advance(11_000)

    expect(now).toMatchObject({ succeeded: 2, failed: 0 })
    expect(fleet.rates.succeeded).toBe(0)
  })

  it('are no flood right after the beginning', () => {
    expect(fleetOf(sent(['task-received'])).rates.received).toBe(1)
  })
})
