/** Schedules in words: `every 10 seconds`, `at 08:00 and 18:00, Monday to Friday, Europe/Berlin`. */
import type { CronFields, CronText } from './cron-fields.ts'

const units: readonly (readonly [ms: number, name: string])[] = [
  [86_400_000, 'day'],
  [3_600_000, 'hour'],
  [60_000, 'minute'],
  [1_000, 'second'],
  [1, 'millisecond'],
]

/** `10 seconds`, `minute`, `90 minutes`: in the largest unit that it is a whole number of. */
export function describeMs(ms: number): string {
  const [unitMs, name] = units.find(([unitMs]) => ms % unitMs === 0) ?? [1, 'millisecond']
  const count = ms / unitMs
  return count === 1 ? name : `${count} ${name}s`
}

const weekdays = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const months = [
  ...['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October'],
  ...['November', 'December'],
]

/** More times of a day than these are told as minutes and hours. */
const mostTimes = 4

export function describeCron(fields: CronFields, text: CronText, timezone: string): string {
  const days = describeDays(fields)
  return [describeTimes(fields, text), ...(days === '' ? [] : [days]), timezone].join(', ')
}

function describeTimes({ minutes, hours }: CronFields, { minute, hour }: CronText): string {
  const minuteStep = stepOf(minute, 60)
  const hourStep = stepOf(hour, 24)
  if (minutes.length === 60 && hours.length === 24) return 'every minute'
  if (hours.length === 24) {
    return minuteStep === undefined ? `${minutesPast(minutes)} every hour` : `every ${minuteStep} minutes`
  }
  if (minutes.length * hours.length <= mostTimes) {
    return `at ${listed(hours.flatMap((one) => minutes.map((other) => `${two(one)}:${two(other)}`)))}`
  }
  const inHours =
    hourStep === undefined ? `of the hours ${ranges(hours, String)}` : `of every ${ordinal(hourStep)} hour`
  if (minutes.length === 60) return `every minute ${inHours}`
  return `${minuteStep === undefined ? minutesPast(minutes) : `every ${minuteStep} minutes`} ${inHours}`
}

function minutesPast(minutes: readonly number[]): string {
  return minutes.length === 1 && minutes[0] === 0 ? 'at minute 0' : `at minute ${ranges(minutes, String)}`
}

function describeDays(fields: CronFields): string {
  const onDays = fields.days.size === 31 ? undefined : `on day ${ranges([...fields.days].sort(ascending), String)}`
  const onWeekdays =
    fields.weekdays.size === 7
      ? undefined
      : `on ${ranges([...fields.weekdays].sort(mondayFirst), (day) => weekdays[day] as string, mondayFirst)}`
  const inMonths =
    fields.months.size === 12
      ? undefined
      : `in ${ranges([...fields.months].sort(ascending), (month) => months[month - 1] as string)}`
  const days =
    onDays !== undefined && onWeekdays !== undefined
      ? `${onDays} ${fields.dayRule === 'either' ? 'or' : 'if it falls'} ${onWeekdays}`
      : (onDays ?? onWeekdays)
  return [days, inMonths].filter((part) => part !== undefined).join(', ')
}

/** `3` of a field that is a star with this step, where the step goes up in the whole: with 7 the last is a short one. */
function stepOf(field: unknown, whole: number): string | undefined {
  const step = typeof field === 'string' ? /^\*\/(\d+)$/.exec(field)?.[1] : undefined
  return step !== undefined && step !== '1' && whole % Number(step) === 0 ? step : undefined
}

/** `1, 3 to 5 and 9`. Three in a row are a range. */
function ranges(
  values: readonly number[],
  name: (value: number) => string,
  order: (a: number, b: number) => number = ascending,
): string {
  const runs: number[][] = []
  for (const value of values) {
    const run = runs[runs.length - 1]
    if (run !== undefined && order(value, run[run.length - 1] as number) === 1) run.push(value)
    else runs.push([value])
  }
  return listed(
    runs.flatMap((run) =>
      run.length > 2 ? [`${name(run[0] as number)} to ${name(run[run.length - 1] as number)}`] : run.map(name),
    ),
  )
}

function listed(words: readonly string[]): string {
  return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words[words.length - 1]}`
}

function ordinal(number: string): string {
  const ending = /1\d$/.test(number) ? 'th' : ({ 1: 'st', 2: 'nd', 3: 'rd' }[number.slice(-1)] ?? 'th')
  return `${number}${ending}`
}

function two(number: number): string {
  return String(number).padStart(2, '0')
}

function ascending(a: number, b: number): number {
  return a - b
}

function mondayFirst(a: number, b: number): number {
  return ((a + 6) % 7) - ((b + 6) % 7)
}
