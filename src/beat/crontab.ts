/**
 * When a crontab is due.
 *
 * Where clocks change, two kinds of crontab differ, as for Vixie's cron. One whose hour is any goes by hours that really
 * pass: it runs in both hours of the same name, and not for one that is skipped. All others go by what the clock shows:
 * a local time that comes twice runs the first time, and one that is skipped runs at the moment the clocks are put
 * forward.
 */
import { CeleriacError } from '../errors.ts'
import type { CronFields } from './cron-fields.ts'
import type { Schedule } from './schedule.ts'
import type { TimeZone } from './time-zone.ts'

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs
/** The 29th of February comes on each day of the week within 28 years, but around a century without one. */
const longestSearchYears = 40
/** No clock was ever put back by more, but for those that crossed the date line. */
const longestRepeatMs = 3 * hourMs

export class Crontab implements Schedule {
  readonly #fields: CronFields
  readonly #zone: TimeZone
  readonly #describe: () => string
  readonly #isEveryHour: boolean

  /** @throws CeleriacError `CONFIG_INVALID` for fields that no date has, as the 31st of February */
  constructor(fields: CronFields, zone: TimeZone, describe: () => string) {
    this.#fields = fields
    this.#zone = zone
    this.#describe = describe
    this.#isEveryHour = fields.hours.length === 24
    if (firstMatch(fields, Date.UTC(2000, 0, 1)) === null) {
      throw new CeleriacError('CONFIG_INVALID', `no date ever fits this crontab: ${describe()}`)
    }
  }

  next(afterMs: number): number | null {
    return this.#isEveryHour ? this.#nextByHours(afterMs) : this.#nextByClock(afterMs)
  }

  describe(): string {
    return this.#describe()
  }

  /** Local times in their order; instants of theirs that are over have had their turn. */
  #nextByClock(afterMs: number): number | null {
    let localMs = afterMs + this.#zone.offset(afterMs)
    for (;;) {
      const match = firstMatch(this.#fields, followingMinute(localMs))
      if (match === null) return null
      const instantMs = this.#zone.instantOf(match)
      if (instantMs > afterMs) return instantMs
      localMs = match
    }
  }

  /** As long as the offset stays, local time is time; behind a change the search begins anew. */
  #nextByHours(afterMs: number): number | null {
    const zone = this.#zone
    let fromMs = afterMs
    let isIncluded = false
    for (;;) {
      const offset = zone.offset(fromMs)
      const localMs = fromMs + offset
      const match = firstMatch(this.#fields, isIncluded ? minuteFrom(localMs) : followingMinute(localMs))
      if (match === null) return null
      const instantMs = match - offset
      const changedMs = [Math.min(instantMs, fromMs + longestRepeatMs), instantMs].find(
        (ms) => zone.offset(ms) !== offset,
      )
      if (changedMs === undefined) return instantMs
      fromMs = zone.changeBetween(fromMs, changedMs)
      if (instantMs < fromMs) return instantMs
      isIncluded = true
    }
  }
}

function followingMinute(localMs: number): number {
  return (Math.floor(localMs / minuteMs) + 1) * minuteMs
}

function minuteFrom(localMs: number): number {
  return Math.ceil(localMs / minuteMs) * minuteMs
}

/** The first local time that fits, from `fromMs` on, a whole minute. Null where none does. */
function firstMatch(fields: CronFields, fromMs: number): number | null {
  const startOfDay = Math.floor(fromMs / dayMs) * dayMs
  if (isDay(fields, new Date(startOfDay))) {
    const time = firstTime(fields, fromMs - startOfDay)
    if (time !== null) return startOfDay + time
  }
  const day = nextDay(fields, new Date(startOfDay))
  return day === null ? null : day + (firstTime(fields, 0) as number)
}

/** Ms since midnight. Null where the day has none left. */
function firstTime({ hours, minutes }: CronFields, fromMs: number): number | null {
  const fromHour = Math.floor(fromMs / hourMs)
  const fromMinute = (fromMs % hourMs) / minuteMs
  for (const hour of hours) {
    if (hour < fromHour) continue
    const minute = hour > fromHour ? minutes[0] : minutes.find((candidate) => candidate >= fromMinute)
    if (minute !== undefined) return hour * hourMs + minute * minuteMs
  }
  return null
}

/** Midnight of the next day that fits; months that do not fit are passed over whole. */
function nextDay(fields: CronFields, date: Date): number | null {
  const lastYear = date.getUTCFullYear() + longestSearchYears
  const day = new Date(date)
  day.setUTCDate(day.getUTCDate() + 1)
  while (day.getUTCFullYear() <= lastYear) {
    if (!fields.months.has(day.getUTCMonth() + 1)) day.setUTCMonth(day.getUTCMonth() + 1, 1)
    else if (isDay(fields, day)) return day.getTime()
    else day.setUTCDate(day.getUTCDate() + 1)
  }
  return null
}

function isDay({ days, months, weekdays, dayRule }: CronFields, date: Date): boolean {
  if (!months.has(date.getUTCMonth() + 1)) return false
  const isDate = days.has(date.getUTCDate())
  const isWeekday = weekdays.has(date.getUTCDay())
  return dayRule === 'both' ? isDate && isWeekday : isDate || isWeekday
}
