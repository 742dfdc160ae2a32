import { at, crontab, every } from 'celeriac'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import { MemoryScheduleStore } from '../../src/drivers/memory/index.ts'
import { CeleriacError } from '../../src/errors.ts'
import { gate } from '../flow/fixture.ts'
import { Site, startMs } from './site.ts'

let site: Site

beforeEach(() => {
  site = new Site()
})
afterEach(() => site.stop())

const second = 1_000
const minute = 60 * second
const hour = 60 * minute
const tick = { task: 'tick', schedule: every('10s') } as const

describe('sending', () => {
  it('happens when an entry is due, and not before', async () => {
    await site.start({ tick, daily: { task: 'daily', schedule: '5 0 * * *' } })

    await site.clock.advance(35 * second)
    expect(site.seconds()).toEqual([10, 20, 30])
    await site.clock.advance(10 * minute)

    expect(site.seconds('daily')).toEqual([300])
  })

  it('gives each due time an id of its own, which every beat would give it', async () => {
    await site.start({ tick })
    await site.clock.advance(20 * second)
    const ids = site.sent.map(({ id }) => id)
    const other = new Site()
    await other.start({ tick })
    await other.clock.advance(20 * second)

    expect(new Set(ids).size).toBe(2)
    expect(other.sent.map(({ id }) => id)).toEqual(ids)
    expect(ids[0]).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-5[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/)
    await other.stop()
  })

  it('happens once for a date', async () => {
    await site.start({ tick: { task: 'tick', schedule: at(new Date(startMs + 5 * second)) } })

    await site.clock.advance(minute)

    expect(site.seconds()).toEqual([5])
    expect((await site.schedules.get('tick')).nextAt).toBeNull()
  })

  it('happens between start and end, for an interval from the start on', async () => {
    const start = new Date(startMs + 15 * second)
    const end = new Date(startMs + 40 * second)
    await site.start({ tick: { ...tick, start, end } })

    await site.clock.advance(2 * minute)

    expect(site.seconds()).toEqual([15, 25, 35])
  })

  it('happens later by a jitter that every beat knows', async () => {
    const entries = { tick: { ...tick, jitter: '5s' } } as const
    await site.start(entries)
    await site.clock.advance(10 * minute)
    const other = new Site()
    await other.start(entries)
    await other.clock.advance(10 * minute)

    const late = site.seconds().map((seconds, index) => seconds - 10 * (index + 1))
    expect(late.every((seconds) => seconds >= 0 && seconds < 5)).toBe(true)
    expect(new Set(late).size).toBeGreaterThan(30)
    expect(other.seconds()).toEqual(site.seconds())
    await other.stop()
  })

  it('reckons the times of a call from its due time', async () => {
    await site.start({ tick: { ...tick, options: { expires: '1s' } } })

    await site.clock.advance(10 * second)

    expect(site.sent.map(({ expires }) => Date.parse(String(expires)))).toEqual([startMs + 11 * second])
  })

  it('asks a schedule of the user’s own', async () => {
    const primes = [2, 3, 5, 7, 11].map((n) => startMs + n * second)
    const own = { next: (afterMs: number) => primes.find((ms) => ms > afterMs) ?? null, describe: () => 'at primes' }
    await site.start({ tick: { task: 'tick', schedule: own } })

    await site.clock.advance(minute)

    expect(site.seconds()).toEqual([2, 3, 5, 7, 11])
    expect(await site.schedules.get('tick')).toMatchObject({ schedule: 'at primes', sent: 5, nextAt: null })
  })

  it('goes on with other entries when one cannot be sent, and tells which', async () => {
    const huge = { task: 'huge', schedule: every('10s'), args: ['x'.repeat(2_000_000)] }
    await site.start({ huge, tick })

    await site.clock.advance(25 * second)

    expect(site.seconds()).toEqual([10, 20])
    expect(await site.schedules.get('huge')).toMatchObject({
      sent: 0,
      missed: 2,
      lastError: expect.stringMatching(/takes 2000\d+ bytes/),
    })
  })
})

describe('several beats', () => {
  it('send once', async () => {
    const beats = [await site.start({ tick }), await site.start(), await site.start()]

    await site.clock.advance(minute)

    expect(site.seconds()).toEqual([10, 20, 30, 40, 50, 60])
    expect(beats.map(({ isLeading }) => isLeading)).toEqual([true, false, false])
  })

  it('take over at once when the leader stops', async () => {
    const leader = await site.start({ tick })
    const other = await site.start()

    const stopping = leader.stop()
    await site.clock.advance(1.3 * second)
    await stopping

    expect(other.isLeading).toBe(true)
  })

  it('end when they are told to while they are about to lead, and let another one', async () => {
    const store = site.newStore()
    const lead = store.lead.bind(store)
    const asked = gate()
    const answered = gate()
    store.lead = async (leaseMs) => {
      asked.open()
      await answered.opened
      return lead(leaseMs)
    }
    const late = await site.start({ tick }, { store })
    await asked.opened

    const stopping = late.stop()
    answered.open()
    await stopping

    expect(late.isLeading).toBe(false)
    expect((await site.start()).isLeading).toBe(true)
  })

  it('take over within ten seconds when the leader is gone, and make up for what it missed', async () => {
    const store = site.newStore()
    await site.schedules.declare({ tick: { ...tick, schedule: every('1s'), catchUp: 'all' } })
    await store.lead(5_000) // and is never heard of again
    const beat = await site.start()

    await site.clock.advance(9.9 * second)

    expect(beat.isLeading).toBe(true)
    expect(site.sent).toHaveLength(9)
  })

  it('do not send twice where two believe that they lead', async () => {
    await site.start({ tick })
    const table = site.store.locks
    table.release('celeriac.beat:app', 1)
    await site.start()

    await site.clock.advance(31 * second)

    expect(site.seconds()).toEqual([10, 20, 30])
  })
})

describe('times that were missed', () => {
  async function downFor(ms: number, catchUp: 'skip' | 'one' | 'all', more: object = {}): Promise<number[]> {
    const entries = { tick: { ...tick, catchUp, ...more } } as const
    const beat = await site.start(entries)
    const stopping = beat.stop()
    await site.clock.advance(ms)
    await stopping
    await site.start(entries)
    await site.clock.advance(second)
    return site.seconds()
  }

  it('are made up for once', async () => {
    expect(await downFor(65 * second, 'one')).toEqual([65])
    expect(await site.schedules.get('tick')).toMatchObject({
      sent: 1,
      missed: 5,
      lastDueAt: new Date(startMs + 60 * second),
      nextAt: new Date(startMs + 70 * second),
    })
  })

  it('are each made up for', async () => {
    expect(await downFor(65 * second, 'all')).toEqual([65, 65, 65, 65, 65, 65])
    expect(new Set(site.sent.map(({ id }) => id)).size).toBe(6)
  })

  it('are made up for within the window', async () => {
    expect(await downFor(65 * second, 'all', { catchUpWindow: '30s' })).toEqual([65, 65, 65])
    expect(await site.schedules.get('tick')).toMatchObject({ sent: 3, missed: 3 })
  })

  it('are left out, unless the last was a moment ago', async () => {
    expect(await downFor(25 * second, 'skip', { schedule: every('20s') })).toEqual([25])
    site = new Site()
    expect(await downFor(hour, 'skip', { schedule: '30 * * * *' })).toEqual([])
    expect((await site.schedules.get('tick')).missed).toBe(1)
  })

  it('may be very many', async () => {
    expect(await downFor(30 * 24 * hour, 'all', { schedule: every('1s') })).toHaveLength(1_000 + 1)
    expect((await site.schedules.get('tick')).nextAt?.getTime()).toBeGreaterThan(startMs + 30 * 24 * hour)
  })
})

describe('overlap', () => {
  const end = (id: string, status: 'SUCCESS' | 'STARTED') =>
    site.results
      .load([id])
      .then(([record]) => site.results.save([{ ...(record as NonNullable<typeof record>), status, fence: 1 }]))

  it('is allowed', async () => {
    await site.start({ tick })
    await site.clock.advance(30 * second)
    expect(site.seconds()).toEqual([10, 20, 30])
  })

  it('is avoided: nothing is sent while the last call has not ended', async () => {
    await site.start({ tick: { ...tick, overlap: 'skip' } })
    await site.clock.advance(25 * second)
    await end(site.sent[0]?.id as string, 'STARTED')
    await site.clock.advance(10 * second)
    expect(site.seconds()).toEqual([10])

    await end(site.sent[0]?.id as string, 'SUCCESS')
    await site.clock.advance(10 * second)

    expect(site.seconds()).toEqual([10, 40])
    expect((await site.schedules.get('tick')).skipped).toBe(2)
  })

  it('is ended: the last call is revoked before the next is sent', async () => {
    await site.start({ tick: { ...tick, overlap: 'cancelPrevious' } })

    await site.clock.advance(25 * second)

    expect(site.seconds()).toEqual([10, 20])
    expect(site.revoked).toEqual([site.sent[0]?.id])
  })
})

describe('changes while a beat leads', () => {
  it('count at once', async () => {
    await site.start({})

    await site.schedules.add('tick', tick)
    await site.clock.advance(20 * second)
    await site.schedules.pause('tick')
    await site.clock.advance(25 * second)
    await site.schedules.resume('tick')
    await site.clock.advance(20 * second)
    await site.schedules.add('tick', { ...tick, schedule: every('3s') })
    await site.clock.advance(5 * second)
    await site.schedules.remove('tick')
    await site.clock.advance(20 * second)

    // Resumed at 45; at 65 both that interval was over, and the new one begins.
    expect(site.seconds()).toEqual([10, 20, 55, 65, 68])
  })

  it('are found by themselves where nobody tells of them', async () => {
    const deaf = async () => Promise.reject(new CeleriacError('BROKER_UNAVAILABLE', 'no bus'))
    await site.start({}, { bus: deaf })

    await site.schedules.add('tick', tick)
    await site.clock.advance(10.1 * second)

    expect(site.seconds()).toEqual([10])
  })

  it('count for a call that is ready to be sent', async () => {
    const deaf = async () => Promise.reject(new CeleriacError('BROKER_UNAVAILABLE', 'no bus'))
    await site.start({ tick, other: { ...tick, task: 'other' } }, { bus: deaf })

    await site.clock.advance(9.95 * second)
    await site.schedules.pause('tick')
    await site.clock.advance(second)

    expect(site.seconds('other')).toEqual([10])
    expect(site.seconds()).toEqual([])
  })

  it('send an entry now, and leave its times as they are', async () => {
    await site.start({ tick: { ...tick, args: [1] } })

    const result = await site.schedules.run('tick')
    await site.clock.advance(20 * second)

    expect(await site.schedules.get('tick')).toMatchObject({ sent: 3 })
    expect((await site.results.load([result.id]))[0]?.status).toBe('PENDING')
    expect(site.seconds()).toEqual([10, 20])
  })

  it('name an entry that there is', async () => {
    await site.schedules.add('tick tock', tick)

    for (const change of ['pause', 'resume', 'remove', 'run', 'get'] as const) {
      await expect(site.schedules[change]('tick tok')).rejects.toThrow(/no schedule entry.*did you mean 'tick tock'/)
    }
  })

  it('do not take an entry whose time is over', async () => {
    await expect(site.schedules.add('late', { task: 'tick', schedule: at(new Date(0)) })).rejects.toThrow(
      /its time is over/,
    )
    expect(await site.schedules.list()).toEqual([])
  })
})

describe('what the application declares', () => {
  it('replaces what it declared before, and keeps what was added at run time', async () => {
    await site.schedules.declare({ old: tick, same: tick })
    await site.schedules.add('added', tick)

    await site.schedules.declare({ same: tick, new: tick })

    expect((await site.schedules.list()).map(({ name, source }) => `${name} ${source}`)).toEqual([
      'added api',
      'new code',
      'same code',
    ])
  })

  it('is written although a beat advances its entries at the same moment', async () => {
    await site.schedules.declare({ changed: tick, removed: tick })
    const { write } = MemoryScheduleStore.prototype
    const advanced = new Set<string>()
    vi.spyOn(MemoryScheduleStore.prototype, 'write').mockImplementation(async function (
      this: MemoryScheduleStore,
      changes,
    ) {
      const names = changes.map(({ name }) => name).filter((name) => !advanced.has(name))
      for (const name of names) advanced.add(name)
      await write.call(this, await this.load(names))
      return write.call(this, changes)
    })
    onTestFinished(() => void vi.restoreAllMocks())

    await site.schedules.declare({ changed: { ...tick, args: [2] } })

    expect([...advanced].sort()).toEqual(['changed', 'removed'])
    expect(await site.schedules.list()).toMatchObject([{ name: 'changed', args: [2] }])
  })

  it('keeps what has become of an entry when that changes', async () => {
    const beat = await site.start({ tick })
    await site.clock.advance(12 * second)
    const stopping = beat.stop()
    await site.clock.advance(second)
    await stopping

    await site.schedules.declare({ tick: { ...tick, schedule: every('60s'), args: [1] } })

    expect(await site.schedules.get('tick')).toMatchObject({
      sent: 1,
      args: [1],
      lastDueAt: new Date(startMs + 10 * second),
      nextAt: new Date(startMs + 70 * second),
    })
  })

  it('does not make an entry late by giving it an earlier time of the day', async () => {
    await site.schedules.declare({ tick: { task: 'tick', schedule: '0 3 * * *' } })
    await site.clock.advance(12 * hour)

    await site.schedules.declare({ tick: { task: 'tick', schedule: crontab({ minute: 0, hour: 9 }) } })

    expect((await site.schedules.get('tick')).nextAt).toEqual(new Date(startMs + 33 * hour))
  })

  it('leaves a pause as it is', async () => {
    await site.schedules.declare({ tick })
    await site.schedules.pause('tick')

    await site.schedules.declare({ tick: { ...tick, args: [2] } })

    expect(await site.schedules.get('tick')).toMatchObject({ isPaused: true, args: [2], nextAt: null })
  })
})

describe('a broker that is away', () => {
  it('gets what became due meanwhile, by policy', async () => {
    await site.start({ tick: { ...tick, catchUp: 'all' }, one: { ...tick, task: 'one' } })
    await site.clock.advance(5 * second)
    site.failure = new CeleriacError('BROKER_UNAVAILABLE', 'away')
    await site.clock.advance(30 * second)
    expect(site.sent).toEqual([])

    site.failure = undefined
    await site.clock.advance(second)

    expect(site.sent.filter(({ task }) => task === 'tick')).toHaveLength(3)
    expect(site.sent.filter(({ task }) => task === 'one')).toHaveLength(1)
    expect(site.lines).toContain('error: what is due could not be sent; trying again')
  })
})

describe('clocks', () => {
  it('that are put forward cause no storm', async () => {
    await site.start({ tick, cron: { task: 'cron', schedule: '* * * * *' } })
    await site.clock.advance(15 * second)

    site.clock.set(48 * hour)
    await site.clock.advance(4 * second)

    expect(site.seconds('tick').filter((seconds) => seconds > 15)).toHaveLength(1)
    expect(site.seconds('cron')).toHaveLength(1)
  })

  it('that are put back cause no silence, and send nothing of a day twice', async () => {
    await site.start({
      tick,
      cron: { task: 'cron', schedule: '*/5 * * * *' },
      daily: { task: 'daily', schedule: '0 2 * * *' },
    })
    await site.clock.advance(2 * hour + 5 * second)
    expect(site.seconds('daily')).toEqual([7_200])

    site.clock.set(-hour)
    const before = site.sent.length
    await site.clock.advance(10 * minute)

    const since = site.sent.slice(before)
    expect(since.filter(({ task }) => task === 'tick').length).toBeGreaterThanOrEqual(59)
    expect(since.filter(({ task }) => task === 'cron')).toHaveLength(2)
    await site.clock.advance(2 * hour)
    expect(site.seconds('daily')).toEqual([7_200])
    expect(new Set(site.sent.map(({ id }) => id)).size).toBe(site.sent.length)
  })

  it('that differ a little between beats do not make a time come again', async () => {
    const beat = await site.start({ tick: { ...tick, schedule: every('1s') } })
    await site.clock.advance(10 * second)
    const stopping = beat.stop()
    await site.clock.advance(second)
    await stopping
    site.clock.set(-3 * second)
    site.sent.length = 0

    await site.start()
    await site.clock.advance(2 * second)

    expect(site.sent).toEqual([])
  })

  it('may be far from the next time: more than a timer can wait', async () => {
    await site.start({ tick: { task: 'tick', schedule: at(new Date(startMs + 40 * 24 * hour)) } })
    await site.clock.advance(minute)
    expect(site.sent).toEqual([])

    site.clock.set(40 * 24 * hour - 2 * minute)
    await site.clock.advance(minute + second)

    expect(site.seconds().map(Math.floor)).toEqual([120])
  })
})
