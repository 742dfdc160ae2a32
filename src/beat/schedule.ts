/**
 * When something is due. A schedule is data as long as it is stored or sent (`ScheduleSpec`), and an object that can be
 * asked once it is used (`Schedule`).
 */
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { oneOf, refuseUnknown } from '../options.ts'
import { type CronField, type CronText, looksLikeLine, readFields, splitLine } from './cron-fields.ts'
import { Crontab } from './crontab.ts'
import { describeCron, describeMs } from './describe.ts'
import { Solar, type SolarEvent, solarEvents } from './solar.ts'
import { TimeZone } from './time-zone.ts'

/** Anything that knows when it is due next. Implement it for times of your own. */
export interface Schedule {
  /** The first moment after `afterMs` that is due, or null when none will come. Both are epoch ms. */
  next(afterMs: number): number | null
  /** For people: `every 10 seconds`. */
  describe(): string
}

/** A schedule as it is stored. */
export type ScheduleSpec =
  | { readonly everyMs: number }
  | { readonly cron: string; readonly timezone: string }
  | { readonly crontab: CronText; readonly timezone: string }
  | { readonly solar: SolarPlace }
  | { readonly atMs: number }
  /** One of the user's own: only who has the code can tell when it is due. */
  | { readonly custom: string }

export interface SolarPlace {
  readonly event: SolarEvent
  /** Degrees north, −90 to 90. */
  readonly lat: number
  /** Degrees east, −180 to 180. */
  readonly lon: number
}

export interface CrontabOptions {
  /** @default '*' */
  readonly minute?: CronField
  /** @default '*' */
  readonly hour?: CronField
  /** @default '*' */
  readonly dayOfWeek?: CronField
  /** @default '*' */
  readonly dayOfMonth?: CronField
  /** @default '*' */
  readonly monthOfYear?: CronField
  /** IANA name. @default the app's */
  readonly timezone?: string
}

/**
 * What is taken for a schedule: seconds or a duration (`30`, `'10s'`), a cron expression (`'0 3 * * *'`), what `every`,
 * `crontab`, `solar` and `at` give, or a `Schedule` of your own.
 */
export type ScheduleInput = Duration | (string & {}) | ScheduleForm | Schedule

/** The forms that are data, as JSON has them. */
export type ScheduleForm =
  | { readonly every: Duration }
  | { readonly cron: string; readonly timezone?: string }
  | { readonly crontab: CrontabOptions; readonly timezone?: string }
  | { readonly solar: SolarPlace }
  | { readonly at: string | Date }

/** Again and again after so much time. @example every('10s') */
export function every(interval: Duration): ScheduleForm {
  return { every: interval }
}

/**
 * Celery's fields: day of week and day of month must both match. @example crontab({ minute: 0, hour: '8-18', dayOfWeek: 'mon-fri' })
 *
 * Or cron's line of five fields: of the two days either is enough where both are restricted. @example crontab('0 3 1,15 * fri')
 */
export function crontab(fields: CrontabOptions | string, options: { readonly timezone?: string } = {}): ScheduleForm {
  return typeof fields === 'string' ? { cron: fields, ...options } : { crontab: fields, ...options }
}

/** At what the sun does at a place. @example solar('sunset', 52.5, 13.4) */
export function solar(event: SolarEvent, lat: number, lon: number): ScheduleForm {
  return { solar: { event, lat, lon } }
}

/** Once. */
export function at(date: Date | string): ScheduleForm {
  return { at: date }
}

/** As data, checked. `timezone` is for schedules that name none. @throws CeleriacError `CONFIG_INVALID` */
export function toSpec(input: ScheduleInput, timezone: string): ScheduleSpec {
  if (typeof input === 'number') return everySpec(input)
  if (typeof input === 'string') return looksLikeLine(input) ? cronSpec(input, timezone) : everySpec(input as Duration)
  if (typeof input !== 'object' || input === null) throw notASchedule(input)
  if (isSchedule(input)) return { custom: input.describe() }
  if ('every' in input) return only(input, ['every'], everySpec(input.every))
  if ('cron' in input) return only(input, ['cron', 'timezone'], cronSpec(input.cron, input.timezone ?? timezone))
  if ('crontab' in input) {
    const zone = input.timezone ?? input.crontab.timezone ?? timezone
    return only(input, ['crontab', 'timezone'], crontabSpec(input.crontab, zone))
  }
  if ('solar' in input) return only(input, ['solar'], solarSpec(input.solar))
  if ('at' in input) return only(input, ['at'], atSpec(input.at))
  throw notASchedule(input)
}

/** Whether it is one of the user's own. */
export function isSchedule(value: unknown): value is Schedule {
  const candidate = value as Partial<Schedule> | null
  return typeof candidate === 'object' && typeof candidate?.next === 'function'
}

/** The object that can be asked; the same one for equal data. @throws CeleriacError `CONFIG_INVALID` */
export function toSchedule(spec: Exclude<ScheduleSpec, { custom: string }>): Schedule {
  if ('everyMs' in spec) return new Interval(spec.everyMs)
  if ('atMs' in spec) return new Once(spec.atMs)
  const key = JSON.stringify(spec)
  let schedule = known.get(key)
  if (schedule === undefined) {
    schedule = create(spec)
    if (known.size >= mostKnown) known.clear()
    known.set(key, schedule)
  }
  return schedule
}

/** Many entries have the same crontab. */
const known = new Map<string, Schedule>()
const mostKnown = 10_000

function create(spec: Exclude<ScheduleSpec, { custom: string } | { everyMs: number } | { atMs: number }>): Schedule {
  if ('solar' in spec) return new Solar(spec.solar)
  const zone = TimeZone.of(spec.timezone)
  const text = 'cron' in spec ? splitLine(spec.cron) : spec.crontab
  const fields = readFields(text, 'cron' in spec ? 'either' : 'both')
  return new Crontab(fields, zone, () => describeCron(fields, text, spec.timezone))
}

class Interval implements Schedule {
  readonly #everyMs: number

  constructor(everyMs: number) {
    this.#everyMs = everyMs
  }

  next(afterMs: number): number {
    return afterMs + this.#everyMs
  }

  describe(): string {
    return `every ${describeMs(this.#everyMs)}`
  }
}

class Once implements Schedule {
  readonly #atMs: number

  constructor(atMs: number) {
    this.#atMs = atMs
  }

  next(afterMs: number): number | null {
    return this.#atMs > afterMs ? this.#atMs : null
  }

  describe(): string {
    return `once at ${new Date(this.#atMs).toISOString()}`
  }
}

function everySpec(interval: Duration): ScheduleSpec {
  const everyMs = Math.round(toMs(interval, 'schedule'))
  if (everyMs >= 1) return { everyMs }
  throw new CeleriacError('CONFIG_INVALID', `an interval must be at least a millisecond, got ${String(interval)}`)
}

function cronSpec(cron: string, timezone: string): ScheduleSpec {
  if (typeof cron !== 'string') throw new CeleriacError('CONFIG_INVALID', `\`cron\` must be a text, got ${show(cron)}`)
  const spec = { cron: cron.trim().replace(/\s+/g, ' '), timezone: checkZone(timezone) }
  toSchedule(spec)
  return spec
}

/** Celery's names of the fields, for those that have others here. */
const celeryFields: Readonly<Record<string, keyof CronText>> = {
  day_of_week: 'dayOfWeek',
  day_of_month: 'dayOfMonth',
  month_of_year: 'monthOfYear',
}

function crontabSpec(options: CrontabOptions, timezone: string): ScheduleSpec {
  if (typeof options !== 'object' || options === null) {
    throw new CeleriacError('CONFIG_INVALID', `\`crontab\` must be an object of its fields, got ${show(options)}`)
  }
  const { timezone: _, ...named } = Object.fromEntries(
    Object.entries(options).map(([name, value]) => [celeryFields[name] ?? name, value]),
  )
  refuseUnknown(named, ['minute', 'hour', 'dayOfWeek', 'dayOfMonth', 'monthOfYear'], 'a crontab')
  const text: CronText = { minute: '*', hour: '*', dayOfMonth: '*', monthOfYear: '*', dayOfWeek: '*', ...named }
  const spec = { crontab: text, timezone: checkZone(timezone) }
  toSchedule(spec)
  return spec
}

function solarSpec(place: SolarPlace): ScheduleSpec {
  refuseUnknown(place, ['event', 'lat', 'lon'], 'a solar schedule')
  oneOf(place.event, 'solar.event', solarEvents)
  const { event, lat, lon } = place
  if (!(Math.abs(lat) <= 90)) throw new CeleriacError('CONFIG_INVALID', `\`lat\` goes from -90 to 90, got ${show(lat)}`)
  if (!(Math.abs(lon) <= 180)) {
    throw new CeleriacError('CONFIG_INVALID', `\`lon\` goes from -180 to 180, got ${show(lon)}`)
  }
  return { solar: { event, lat, lon } }
}

function atSpec(date: string | Date): ScheduleSpec {
  const hasZone = typeof date !== 'string' || /(?:Z|[+-]\d\d:?\d\d)$/i.test(date.trim())
  const atMs = new Date(date).getTime()
  if (!Number.isNaN(atMs) && hasZone) return { atMs }
  throw new CeleriacError(
    'CONFIG_INVALID',
    `\`at\` must be a date, or a text with its offset such as '2030-01-31T08:00:00+01:00', got ${show(date)}`,
  )
}

function checkZone(timezone: string): string {
  if (typeof timezone !== 'string') {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`timezone\` must be a name such as 'Europe/Berlin', got ${show(timezone)}`,
    )
  }
  return TimeZone.of(timezone).name
}

function only(form: object, keys: readonly string[], spec: ScheduleSpec): ScheduleSpec {
  refuseUnknown(form, keys, 'a schedule')
  return spec
}

function notASchedule(input: unknown): CeleriacError {
  return new CeleriacError(
    'CONFIG_INVALID',
    "`schedule` must be seconds, a duration such as '10s', a cron expression such as '0 3 * * *', one of { every }, " +
      `{ cron }, { crontab }, { solar } and { at }, or an object with a function \`next\`, got ${show(input)}`,
  )
}

function show(value: unknown): string {
  return value instanceof Date ? String(value) : (JSON.stringify(value) ?? String(value))
}
