/**
 * The fields of a crontab: which minutes, hours, days and months. Written as Celery's (`celery/schedules.py`,
 * `crontab_parser`) and as cron's (crontab(5)); the two differ in one point, what two restricted fields of days mean.
 */
import { CeleriacError } from '../errors.ts'

/** What a field takes: `5`, `'5'`, `'1,3-5'`, `'*'`, a step after a slash, `'mon-fri'`, or several of them in a list. */
export type CronField = number | string | readonly (number | string)[]

/** Both must match, as for Celery; or either, where both are restricted, as for cron. */
export type DayRule = 'both' | 'either'

export interface CronFields {
  readonly minutes: readonly number[]
  readonly hours: readonly number[]
  /** 1 to 31. */
  readonly days: ReadonlySet<number>
  /** 1 to 12. */
  readonly months: ReadonlySet<number>
  /** 0 is Sunday. */
  readonly weekdays: ReadonlySet<number>
  readonly dayRule: DayRule
}

interface FieldKind {
  readonly name: string
  readonly min: number
  readonly max: number
  readonly words: readonly string[]
}

const weekdayWords = ['sunday', 'monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday']
const monthWords = [
  ...['january', 'february', 'march', 'april', 'may', 'june', 'july', 'august', 'september', 'october'],
  ...['november', 'december'],
]

const kinds = {
  minute: { name: 'minute', min: 0, max: 59, words: [] },
  hour: { name: 'hour', min: 0, max: 23, words: [] },
  dayOfMonth: { name: 'dayOfMonth', min: 1, max: 31, words: [] },
  monthOfYear: { name: 'monthOfYear', min: 1, max: 12, words: monthWords },
  dayOfWeek: { name: 'dayOfWeek', min: 0, max: 6, words: weekdayWords },
} as const satisfies Record<string, FieldKind>

export interface CronText {
  readonly minute: CronField
  readonly hour: CronField
  readonly dayOfMonth: CronField
  readonly monthOfYear: CronField
  readonly dayOfWeek: CronField
}

/** crontab(5)'s words for whole expressions. */
const nicknames: Readonly<Record<string, string>> = {
  '@yearly': '0 0 1 1 *',
  '@annually': '0 0 1 1 *',
  '@monthly': '0 0 1 * *',
  '@weekly': '0 0 * * 0',
  '@daily': '0 0 * * *',
  '@midnight': '0 0 * * *',
  '@hourly': '0 * * * *',
}

/** @throws CeleriacError `CONFIG_INVALID` naming the field, what it takes and what came */
export function readFields(text: CronText, dayRule: DayRule): CronFields {
  const minutes = valuesOf(text.minute, kinds.minute)
  const hours = valuesOf(text.hour, kinds.hour)
  const isRestricted = dayRule === 'either' && !startsWithStar(text.dayOfMonth) && !startsWithStar(text.dayOfWeek)
  const fields: CronFields = {
    minutes: [...minutes].sort(ascending),
    hours: [...hours].sort(ascending),
    days: valuesOf(text.dayOfMonth, kinds.dayOfMonth),
    months: valuesOf(text.monthOfYear, kinds.monthOfYear),
    weekdays: valuesOf(text.dayOfWeek, kinds.dayOfWeek),
    dayRule: isRestricted ? 'either' : 'both',
  }
  return fields
}

/** The five fields of cron's line. @throws CeleriacError `CONFIG_INVALID` */
export function splitLine(line: string): CronText {
  const words = (nicknames[line.trim().toLowerCase()] ?? line).trim().split(/\s+/)
  if (words.length !== 5) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `a cron expression has five fields (minute, hour, day of month, month, day of week), got '${line}' with ${words.length}`,
    )
  }
  const [minute, hour, dayOfMonth, monthOfYear, dayOfWeek] = words as [string, string, string, string, string]
  return { minute, hour, dayOfMonth, monthOfYear, dayOfWeek }
}

/** Whether a text is meant as cron's line, not as a duration. */
export function looksLikeLine(text: string): boolean {
  return /\s/.test(text.trim()) || text.trim().startsWith('@')
}

function ascending(a: number, b: number): number {
  return a - b
}

/** cron asks for the star, not for what it covers: every second day does not count as restricted. */
function startsWithStar(field: CronField): boolean {
  return typeof field === 'string' && field.startsWith('*')
}

function valuesOf(field: CronField, kind: FieldKind): Set<number> {
  const parts = Array.isArray(field) ? field : [field]
  const values = new Set<number>()
  for (const part of parts as (number | string)[]) {
    for (const piece of String(part).split(',')) for (const value of pieceValues(piece.trim(), kind)) values.add(value)
  }
  if (values.size === 0) throw refusal(field, kind)
  return values
}

/** `*`, `n`, `a-b`, each with `/step`. A range that ends before it begins goes on over the end, as Celery's. */
function pieceValues(piece: string, kind: FieldKind): number[] {
  const match = /^(?:(\*)|(\w+)(?:-(\w+))?)(?:\/(\d+))?$/.exec(piece)
  if (match === null) throw refusal(piece, kind)
  const [, star, first, last, stepText] = match
  if (stepText !== undefined && (Number(stepText) === 0 || (star === undefined && last === undefined))) {
    throw refusal(piece, kind)
  }
  const step = Number(stepText ?? 1)
  const from = star === undefined ? numberOf(first as string, kind) : kind.min
  const to = star === undefined ? numberOf(last ?? (first as string), kind) : kind.max
  const all = to >= from ? span(from, to) : [...span(from, kind.max), ...span(kind.min, to)]
  const isSundayAtEnd = kind === kinds.dayOfWeek && last !== undefined && /^7$/.test(last)
  const days = isSundayAtEnd ? [...span(from, kind.max), 0] : all
  return days.filter((_, index) => index % step === 0)
}

/** A number, or the first three letters of a day or month. cron's 7 is Sunday. */
function numberOf(word: string, kind: FieldKind): number {
  if (/^\d+$/.test(word)) {
    const value = Number(word)
    if (kind === kinds.dayOfWeek && value === 7) return 0
    if (value >= kind.min && value <= kind.max) return value
    throw refusal(word, kind)
  }
  const lower = word.toLowerCase()
  const index = kind.words.findIndex((known) => known === lower || known.slice(0, 3) === lower)
  if (index < 0) throw refusal(word, kind)
  return index + kind.min
}

function span(from: number, to: number): number[] {
  return Array.from({ length: to - from + 1 }, (_, index) => from + index)
}

function refusal(value: unknown, { name, min, max, words }: FieldKind): CeleriacError {
  const named = words.length === 0 ? '' : `, words such as '${words[1]?.slice(0, 3)}'`
  return new CeleriacError(
    'CONFIG_INVALID',
    `the crontab field \`${name}\` takes numbers from ${min} to ${max}${named}, ranges 'a-b', '*', steps '*/n' and 'a-b/n', ` +
      `and lists of them, got ${JSON.stringify(value)}`,
  )
}
