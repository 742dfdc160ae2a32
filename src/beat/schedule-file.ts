/**
 * Entries as JSON or YAML: our own form, and Celery's `beat_schedule`, which is the same but for names with underscores.
 * Celery's is Python, where schedules are objects; in a file they are written as `schedule.ts` takes them.
 */
import { readFile } from 'node:fs/promises'
import { extname } from 'node:path'
import { CeleriacError } from '../errors.ts'
import { refuseUnknown } from '../options.ts'
import type { BeatEntry } from './entry.ts'
import type { ScheduleInput } from './schedule.ts'

/** Celery's names of options (`apply_async`) that have others here. */
const optionNames: Readonly<Record<string, string>> = {
  ignore_result: 'ignoreResult',
  time_limit: 'timeLimit',
  soft_time_limit: 'softTimeLimit',
}

/** Options of Celery's that have no meaning here, and what to do instead. */
const refusedOptions: Readonly<Record<string, string>> = {
  exchange: 'name the queue in `queue`',
  routing_key: 'name the queue in `queue`',
  exchange_type: 'name the queue in `queue`',
  task_id: 'each time has an id of its own',
  eta: 'each time is its own',
  link: 'let the task send what follows it',
  link_error: 'let the task send what follows it',
  retry: 'a beat tries until it has sent',
  retry_policy: 'a beat tries until it has sent',
}

const entryNames = [
  ...['task', 'schedule', 'args', 'kwargs', 'options', 'relative', 'timezone', 'catchUp', 'catchUpWindow', 'overlap'],
  ...['jitter', 'start', 'end'],
]

/** @throws CeleriacError `CONFIG_INVALID` naming the file, the entry, and what cannot be taken of it */
export async function readScheduleFile(path: string): Promise<Record<string, BeatEntry>> {
  let data: unknown
  try {
    const text = await readFile(path, 'utf8')
    data = /^\.ya?ml$/i.test(extname(path)) ? (await import('yaml')).parse(text) : JSON.parse(text)
  } catch (cause) {
    const message = `the schedule ${path} cannot be read: ${(cause as Error).message}`
    throw new CeleriacError('CONFIG_INVALID', message, { cause })
  }
  return readEntries(data, path)
}

/**
 * Entries by name, or settings of Celery's with `beat_schedule` and, for all crontabs in it, `timezone`.
 * `where` names the source for messages.
 * @throws CeleriacError `CONFIG_INVALID`
 */
export function readEntries(data: unknown, where: string): Record<string, BeatEntry> {
  const settings = objectOf(data, where)
  const isSettings = 'beat_schedule' in settings
  const entries = isSettings ? objectOf(settings.beat_schedule, `\`beat_schedule\` of ${where}`) : settings
  const timezone = isSettings && typeof settings.timezone === 'string' ? settings.timezone : undefined
  return Object.fromEntries(
    Object.entries(entries).map(([name, entry]) => [name, readEntry(entry, `entry '${name}' of ${where}`, timezone)]),
  )
}

function readEntry(data: unknown, where: string, timezone: string | undefined): BeatEntry {
  const { relative, schedule, options, timezone: own, ...rest } = objectOf(data, where)
  refuseUnknown({ ...rest }, entryNames, where)
  if (relative === true) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `${where} has \`relative\`, which rounds an interval's times; give it a crontab, whose times are round`,
    )
  }
  const zone = typeof own === 'string' ? own : timezone
  return {
    ...(rest as Pick<BeatEntry, 'task'>),
    schedule: readSchedule(schedule, where, zone),
    ...(options !== undefined && options !== null && { options: readOptions(options, where) }),
  }
}

function readSchedule(schedule: unknown, where: string, timezone: string | undefined): ScheduleInput {
  if (typeof schedule === 'string' && /^<.*>$/.test(schedule)) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `${where} has the Python object ${schedule} as its schedule; write seconds, ` +
        '{ "crontab": { "minute": 0, … } } or { "solar": { "event": …, "lat": …, "lon": … } }',
    )
  }
  if (timezone === undefined) return schedule as ScheduleInput
  if (typeof schedule === 'string' && /\s|^@/.test(schedule.trim())) return { cron: schedule, timezone }
  const form = schedule as Record<string, unknown> | null
  const isTimed = typeof form === 'object' && form !== null && ('crontab' in form || 'cron' in form)
  return (isTimed ? { timezone, ...form } : schedule) as ScheduleInput
}

function readOptions(data: unknown, where: string): NonNullable<BeatEntry['options']> {
  const options: Record<string, unknown> = {}
  for (const [name, value] of Object.entries(objectOf(data, `\`options\` of ${where}`))) {
    const advice = refusedOptions[name]
    if (advice !== undefined) {
      throw new CeleriacError(
        'CONFIG_INVALID',
        `${where} has the option \`${name}\`, which is not taken here: ${advice}`,
      )
    }
    options[optionNames[name] ?? name] = value
  }
  return options
}

function objectOf(data: unknown, where: string): Record<string, unknown> {
  if (typeof data === 'object' && data !== null && !Array.isArray(data)) return data as Record<string, unknown>
  throw new CeleriacError('CONFIG_INVALID', `${where} must be an object, got ${JSON.stringify(data)}`)
}
