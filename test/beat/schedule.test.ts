import { describe, expect, it } from 'vitest'
import { at, crontab, every, type ScheduleInput, solar, toSchedule, toSpec } from '../../src/beat/schedule.ts'

function scheduleOf(input: ScheduleInput, timezone = 'UTC') {
  return toSchedule(toSpec(input, timezone) as Parameters<typeof toSchedule>[0])
}

describe('an interval', () => {
  it('is due so long after the last time, whatever became late', () => {
    expect(scheduleOf(every('10s')).next(1_000)).toBe(11_000)
    expect(scheduleOf(30).next(0)).toBe(30_000)
    expect(scheduleOf('1d').next(0)).toBe(86_400_000)
  })

  it('is at least a millisecond', () => {
    expect(() => toSpec(0, 'UTC')).toThrow(/at least a millisecond, got 0/)
  })
})

describe('a date', () => {
  it('is due once', () => {
    const schedule = scheduleOf(at('2030-01-31T08:00:00+01:00'))

    const dueMs = schedule.next(0)

    expect(new Date(dueMs as number).toISOString()).toBe('2030-01-31T07:00:00.000Z')
    expect(schedule.next(dueMs as number)).toBeNull()
  })

  it('says where it is meant', () => {
    expect(() => toSpec(at('2030-01-31T08:00:00'), 'UTC')).toThrow(/with its offset such as/)
  })
})

describe('the sun', () => {
  // The U.S. Naval Observatory's times for Berlin (52.52 N, 13.41 E) on the 21st of June 2025, in UTC.
  it.each([
    ['sunrise', '02:43'],
    ['solar_noon', '11:08'],
    ['sunset', '19:33'],
    ['dawn_civil', '01:53'],
    ['dusk_civil', '20:23'],
  ] as const)('is at %s in Berlin at %s', (event, time) => {
    const dueMs = scheduleOf(solar(event, 52.52, 13.41)).next(Date.parse('2025-06-21T00:00Z')) as number

    expect(Math.abs(dueMs - Date.parse(`2025-06-21T${time}Z`))).toBeLessThanOrEqual(90_000)
  })

  it('is due each day once', () => {
    const schedule = scheduleOf(solar('sunset', -33.87, 151.21))
    let dueMs = Date.parse('2025-01-01T00:00Z')
    for (let day = 0; day < 400; day++) {
      const nextMs = schedule.next(dueMs) as number
      if (day > 0) expect(Math.abs(nextMs - dueMs - 86_400_000)).toBeLessThan(180_000)
      dueMs = nextMs
    }
  })

  it('comes back after a polar night', () => {
    const dueMs = scheduleOf(solar('sunrise', 78.22, 15.63)).next(Date.parse('2025-12-01T00:00Z')) as number

    expect(new Date(dueMs).toISOString()).toMatch(/^2026-02-/)
  })

  it('refuses what the sun does not do', () => {
    expect(() => toSpec({ solar: { event: 'sunrize' as 'sunrise', lat: 0, lon: 0 } }, 'UTC')).toThrow(
      /did you mean 'sunrise'/,
    )
    expect(() => toSpec(solar('sunset', 91, 0), 'UTC')).toThrow(/`lat` goes from -90 to 90, got 91/)
  })
})

describe('in words', () => {
  it.each<[ScheduleInput, string]>([
    ['10s', 'every 10 seconds'],
    [every('1h'), 'every hour'],
    [5400, 'every 90 minutes'],
    ['* * * * *', 'every minute, UTC'],
    ['*/15 * * * *', 'every 15 minutes, UTC'],
    ['*/7 * * * *', 'at minute 0, 7, 14, 21, 28, 35, 42, 49 and 56 every hour, UTC'],
    ['0 * * * *', 'at minute 0 every hour, UTC'],
    ['0 3 * * *', 'at 03:00, UTC'],
    ['30 8,18 * * mon-fri', 'at 08:30 and 18:30, on Monday to Friday, UTC'],
    ['0 0 1,15 * fri', 'at 00:00, on day 1 and 15 or on Friday, UTC'],
    [crontab({ minute: 0, hour: 0, dayOfMonth: 13, dayOfWeek: 5 }), 'at 00:00, on day 13 if it falls on Friday, UTC'],
    [crontab({ minute: '*/10', hour: '8-18' }), 'every 10 minutes of the hours 8 to 18, UTC'],
    [crontab('@yearly', { timezone: 'Asia/Tokyo' }), 'at 00:00, on day 1, in January, Asia/Tokyo'],
    [solar('dusk_civil', 52.5, -13.4), 'at dusk civil, 52.5°N 13.4°W'],
    [at(new Date(0)), 'once at 1970-01-01T00:00:00.000Z'],
  ])('says %j as "%s"', (input, words) => {
    expect(scheduleOf(input).describe()).toBe(words)
  })
})

describe('as data', () => {
  it('takes Celery’s names of the fields', () => {
    const ours = toSpec(crontab({ minute: 0, dayOfWeek: 'mon', monthOfYear: 3 }), 'UTC')
    const celerys = toSpec({ crontab: { minute: 0, day_of_week: 'mon', month_of_year: 3 } as object }, 'UTC')

    expect(celerys).toEqual(ours)
  })

  it('uses the zone of the app, unless it names one', () => {
    expect(toSpec('0 3 * * *', 'Europe/Berlin')).toEqual({ cron: '0 3 * * *', timezone: 'Europe/Berlin' })
    expect(toSpec(crontab({ timezone: 'Asia/Tokyo' }), 'Europe/Berlin')).toMatchObject({ timezone: 'Asia/Tokyo' })
  })

  it('keeps of a schedule of your own what it says of itself', () => {
    expect(toSpec({ next: () => null, describe: () => 'at high tide' }, 'UTC')).toEqual({ custom: 'at high tide' })
  })

  it.each([[{ evry: '10s' }], [null], [{ every: '10s', timezone: 'UTC' }], ['10 parsecs']])('refuses %j', (input) => {
    expect(() => toSpec(input as never, 'UTC')).toThrow(expect.objectContaining({ code: 'CONFIG_INVALID' }))
  })
})
