import { Cron } from 'croner'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type ScheduleInput, toSchedule, toSpec } from '../../src/beat/schedule.ts'

type Zone = 'UTC' | 'Europe/Berlin' | 'America/New_York' | 'Australia/Lord_Howe' | 'America/Sao_Paulo' | 'Pacific/Apia'

const zones: readonly Zone[] = [
  ...(['UTC', 'Europe/Berlin', 'America/New_York', 'Australia/Lord_Howe'] as const),
  ...(['America/Sao_Paulo', 'Pacific/Apia'] as const),
]

function scheduleOf(input: ScheduleInput, timezone = 'UTC') {
  return toSchedule(toSpec(input, timezone) as Parameters<typeof toSchedule>[0])
}

/** So many moments after `after`, as UTC to the second. */
function firings(input: ScheduleInput, timezone: string, after: string, count: number): (string | null)[] {
  const schedule = scheduleOf(input, timezone)
  const found: (string | null)[] = []
  let ms: number | null = Date.parse(after)
  while (found.length < count) {
    ms = schedule.next(ms)
    found.push(ms === null ? null : new Date(ms).toISOString().slice(0, 19))
    if (ms === null) break
  }
  return found
}

describe('when clocks change', () => {
  it('runs once at a local time that comes twice', () => {
    expect(firings('30 2 * * *', 'Europe/Berlin', '2025-10-25T12:00Z', 2)).toEqual([
      '2025-10-26T00:30:00', // 02:30 in summer time; an hour later it is 02:30 again
      '2025-10-27T01:30:00',
    ])
    expect(firings('30 1 * * *', 'America/New_York', '2025-11-01T12:00Z', 2)).toEqual([
      '2025-11-02T05:30:00',
      '2025-11-03T06:30:00',
    ])
  })

  it('does not run in the second of two equal hours, also when it is asked in the midst of them', () => {
    expect(firings('*/20 2 * * *', 'Europe/Berlin', '2025-10-26T00:30Z', 2)).toEqual([
      '2025-10-26T00:40:00',
      '2025-10-27T01:00:00',
    ])
    expect(firings('*/20 2 * * *', 'Europe/Berlin', '2025-10-26T01:10Z', 1)).toEqual(['2025-10-27T01:00:00'])
  })

  it('runs at the moment clocks are put forward over its local time, once for all that are skipped', () => {
    expect(firings('30 2 * * *', 'Europe/Berlin', '2025-03-29T12:00Z', 2)).toEqual([
      '2025-03-30T01:00:00', // 02:00 is 03:00
      '2025-03-31T00:30:00',
    ])
    expect(firings('*/10 2 * * *', 'America/New_York', '2025-03-08T12:00Z', 2)).toEqual([
      '2025-03-09T07:00:00',
      '2025-03-10T06:00:00',
    ])
    expect(firings('0,30 2,3 * * *', 'Europe/Berlin', '2025-03-30T00:00Z', 2)).toEqual([
      '2025-03-30T01:00:00', // what was skipped, and 03:00
      '2025-03-30T01:30:00',
    ])
  })

  it('knows of changes by half an hour', () => {
    // From 02:00 back to 01:30, from 02:00 forward to 02:30.
    expect(firings('45 1 * * *', 'Australia/Lord_Howe', '2025-04-05T12:00Z', 2)).toEqual([
      '2025-04-05T14:45:00',
      '2025-04-06T15:15:00',
    ])
    expect(firings('15 2 * * *', 'Australia/Lord_Howe', '2025-10-04T12:00Z', 2)).toEqual([
      '2025-10-04T15:30:00',
      '2025-10-05T15:15:00',
    ])
  })

  it('knows of changes at midnight', () => {
    // 2018-11-04 began at 01:00, and 2018-02-17 had its last hour twice.
    expect(firings('0 0 * * *', 'America/Sao_Paulo', '2018-11-03T12:00Z', 2)).toEqual([
      '2018-11-04T03:00:00',
      '2018-11-05T02:00:00',
    ])
    expect(firings('30 23 * * *', 'America/Sao_Paulo', '2018-02-17T12:00Z', 2)).toEqual([
      '2018-02-18T01:30:00',
      '2018-02-19T02:30:00',
    ])
  })

  it('knows of a day that did not take place', () => {
    // Samoa went from the 29th of December 2011 to the 31st.
    expect(firings('0 12 * * *', 'Pacific/Apia', '2011-12-29T00:00Z', 3)).toEqual([
      '2011-12-29T22:00:00', // the 29th
      '2011-12-30T10:00:00', // the 30th is skipped: the moment it would have begun
      '2011-12-30T22:00:00', // the 31st
    ])
  })

  it('goes by real hours where every hour is meant', () => {
    expect(firings('30 * * * *', 'Europe/Berlin', '2025-10-25T23:45Z', 3)).toEqual([
      '2025-10-26T00:30:00',
      '2025-10-26T01:30:00', // 02:30 a second time
      '2025-10-26T02:30:00',
    ])
    expect(firings('30 * * * *', 'Europe/Berlin', '2025-03-30T00:00Z', 2)).toEqual([
      '2025-03-30T00:30:00',
      '2025-03-30T01:30:00', // 03:30; nothing for 02:30
    ])
    expect(firings('10 * 17 2 *', 'America/Sao_Paulo', '2018-02-18T01:20Z', 2)).toEqual([
      '2018-02-18T02:10:00', // 23:10 of the 17th a second time
      '2019-02-17T03:10:00',
    ])
  })
})

describe('days', () => {
  it('needs day of month and day of week to match in fields, as Celery', () => {
    const fridays13 = { crontab: { minute: 0, hour: 0, dayOfMonth: 13, dayOfWeek: 'fri' } }

    expect(firings(fridays13, 'UTC', '2025-01-01T00:00Z', 2)).toEqual(['2025-06-13T00:00:00', '2026-02-13T00:00:00'])
  })

  it('takes either of them in a line of five fields, as cron', () => {
    expect(firings('0 0 13 * fri', 'UTC', '2025-01-04T00:00Z', 3)).toEqual([
      '2025-01-10T00:00:00',
      '2025-01-13T00:00:00',
      '2025-01-17T00:00:00',
    ])
  })

  it('takes both in a line where one begins with a star, as cron', () => {
    expect(firings('0 0 */2 * mon', 'UTC', '2025-01-01T00:00Z', 2)).toEqual([
      '2025-01-13T00:00:00',
      '2025-01-27T00:00:00',
    ])
  })

  it('finds the 29th of February on a Monday', () => {
    const leapMonday = { crontab: { minute: 0, hour: 0, dayOfMonth: 29, monthOfYear: 2, dayOfWeek: 1 } }

    expect(firings(leapMonday, 'UTC', '2025-01-01T00:00Z', 1)).toEqual(['2044-02-29T00:00:00'])
  })

  it('refuses a date that never comes', () => {
    expect(() => toSpec('0 0 31 2 *', 'UTC')).toThrow(/no date ever fits/)
  })
})

describe('fields', () => {
  it.each([
    ['*/15', [0, 15, 30, 45]],
    ['1,3-5', [1, 3, 4, 5]],
    ['10-30/10', [10, 20, 30]],
    ['58-1', [0, 1, 58, 59]],
    [
      [5, '7-8'],
      [5, 7, 8],
    ],
  ])('reads %j', (minute, minutes) => {
    const found = firings({ crontab: { minute } }, 'UTC', '2025-01-01T00:59:59Z', minutes.length)

    expect(found.map((time) => Number(time?.slice(14, 16)))).toEqual(minutes)
  })

  it.each([
    ['61 * * * *', /`minute` takes numbers from 0 to 59/],
    ['5/10 * * * *', /`minute`.*got "5\/10"/],
    ['* * L * *', /`dayOfMonth`/],
    ['* * * * 5#3', /`dayOfWeek`/],
    ['* * *', /five fields.*got '\* \* \*' with 3/],
    ['*/0 * * * *', /`minute`/],
  ])('refuses %s, naming the field', (line, message) => {
    expect(() => toSpec(line, 'UTC')).toThrow(message)
  })

  it('refuses a zone that nobody knows', () => {
    expect(() => toSpec('@daily', 'Mars/Olympus')).toThrow(/`timezone` must be a name such as 'Europe\/Berlin'/)
  })
})

const numberIn = (min: number, max: number) => fc.integer({ min, max })
const fieldIn = (min: number, max: number) =>
  fc.oneof(
    { weight: 3, arbitrary: fc.constant('*') },
    { weight: 3, arbitrary: numberIn(min, max).map(String) },
    { weight: 1, arbitrary: numberIn(2, max).map((step) => `*/${step}`) },
    {
      weight: 1,
      arbitrary: fc.tuple(numberIn(min, max), numberIn(min, max)).map((two) => two.sort((a, b) => a - b).join('-')),
    },
  )
const line = fc
  .tuple(fieldIn(0, 59), fieldIn(0, 23), fieldIn(1, 28), fieldIn(1, 12), fieldIn(0, 6))
  .map((fields) => fields.join(' '))
const moment = numberIn(Date.UTC(2011, 0, 1) / 60_000, Date.UTC(2030, 0, 1) / 60_000).map((minutes) => minutes * 60_000)
const isLong = process.env.CELERIAC_TEST_LONG !== undefined
const numRuns = isLong ? 20_000 : 1_500

describe('for any crontab', () => {
  it('is due when croner says so, where clocks do not change', () => {
    fc.assert(
      fc.property(line, moment, (text, afterMs) => {
        // croner counts a star with a step as restricted, which cron does not.
        fc.pre(!/ \*\/\d+ \S+ (?!\*$)|\*\/\d+$/.test(text))
        const cron = new Cron(text, { timezone: 'UTC' })

        expect(scheduleOf(text).next(afterMs)).toBe(cron.nextRun(new Date(afterMs))?.getTime() ?? null)
      }),
      { numRuns },
    )
  })

  it('is due at local times that fit its fields, or when clocks are put forward', () => {
    fc.assert(
      fc.property(line, moment, fc.constantFrom(...zones), (text, afterMs, zone) => {
        const dueMs = scheduleOf(text, zone).next(afterMs) as number

        expect(fits(text, zone, dueMs) || isPutForward(zone, dueMs)).toBe(true)
      }),
      { numRuns: numRuns / 3 },
    )
  })

  it('leaves out none of the next minutes that fit, but for those that come a second time', () => {
    const busy = fc
      .tuple(fieldIn(0, 59), fc.constantFrom('*', '*/2', '1-3', '0,2,23'), fc.constant('* * *'))
      .map((fields) => fields.join(' '))
    fc.assert(
      fc.property(busy, fc.constantFrom(...changes), numberIn(-240, 60), (text, { zone, at }, minutes) => {
        const schedule = scheduleOf(text, zone)
        const startMs = Date.parse(at) + minutes * 60_000
        const endMs = startMs + 5 * 3_600_000
        const found = new Set<number>()
        for (let ms = schedule.next(startMs); ms !== null && ms <= endMs; ms = schedule.next(ms)) found.add(ms)

        const isEveryHour = text.split(' ')[1] === '*'
        for (let ms = startMs + 60_000; ms <= endMs; ms += 60_000) {
          const isExpected = fits(text, zone, ms) && (isEveryHour || !comesAgain(zone, ms))
          if (isExpected) expect(found.has(ms), new Date(ms).toISOString()).toBe(true)
          else if (found.has(ms)) expect(isPutForward(zone, ms), new Date(ms).toISOString()).toBe(true)
        }
      }),
      { numRuns: isLong ? 2_000 : 120 },
    )
  })
})

/** Moments at which an offset ends. */
const changes: readonly { readonly zone: Zone; readonly at: string }[] = [
  { zone: 'Europe/Berlin', at: '2025-03-30T01:00Z' },
  { zone: 'Europe/Berlin', at: '2025-10-26T01:00Z' },
  { zone: 'America/New_York', at: '2025-03-09T07:00Z' },
  { zone: 'America/New_York', at: '2025-11-02T06:00Z' },
  { zone: 'Australia/Lord_Howe', at: '2025-04-05T15:00Z' },
  { zone: 'Australia/Lord_Howe', at: '2025-10-04T15:30Z' },
  { zone: 'America/Sao_Paulo', at: '2018-11-04T03:00Z' },
  { zone: 'America/Sao_Paulo', at: '2018-02-18T02:00Z' },
  { zone: 'Pacific/Apia', at: '2011-12-30T10:00Z' },
]

const formats = new Map<string, Intl.DateTimeFormat>()

/** Minute, hour, day, month, weekday and all of it as a text, by `Intl` alone. */
function localTime(zone: string, ms: number) {
  const format =
    formats.get(zone) ??
    new Intl.DateTimeFormat('en-GB', { timeZone: zone, dateStyle: 'short', timeStyle: 'short', hourCycle: 'h23' })
  formats.set(zone, format)
  const text = format.format(ms)
  const [day = 0, month = 0, year = 0, hour = 0, minute = 0] = (text.match(/\d+/g) ?? []).map(Number)
  const localMs = Date.UTC(year, month - 1, day, hour, minute)
  return { minute, hour, day, month, weekday: new Date(localMs).getUTCDay(), localMs, text }
}

function fits(text: string, zone: string, ms: number): boolean {
  const [minute, hour, day, month, weekday] = text.split(' ') as [string, string, string, string, string]
  const time = localTime(zone, ms)
  const isDate = covers(day, time.day, 1)
  const isWeekday = covers(weekday, time.weekday, 0)
  const isDay = day.startsWith('*') || weekday.startsWith('*') ? isDate && isWeekday : isDate || isWeekday
  return covers(minute, time.minute, 0) && covers(hour, time.hour, 0) && covers(month, time.month, 1) && isDay
}

function covers(field: string, value: number, min: number): boolean {
  return field.split(',').some((part) => {
    if (part === '*') return true
    if (part.startsWith('*/')) return (value - min) % Number(part.slice(2)) === 0
    const [from, to = from] = part.split('-').map(Number) as [number, number?]
    return value >= from && value <= to
  })
}

/** Whether the same local time was shown a short while before. */
function comesAgain(zone: string, ms: number): boolean {
  const { text } = localTime(zone, ms)
  return [30, 60].some((minutes) => localTime(zone, ms - minutes * 60_000).text === text)
}

function isPutForward(zone: string, ms: number): boolean {
  return localTime(zone, ms).localMs - localTime(zone, ms - 60_000).localMs > 60_000
}
