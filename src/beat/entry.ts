/** One entry of the schedule: what is to be sent and when, and what has become of it so far. */
import { createHash } from 'node:crypto'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { toJsonValue } from '../json.ts'
import { oneOf, refuseUnknown } from '../options.ts'
import { type CallOptions, checkCallOptions } from '../task/call-options.ts'
import { isSchedule, type Schedule, type ScheduleInput, type ScheduleSpec, toSchedule, toSpec } from './schedule.ts'

/** What becomes of due times that passed while no beat could send. */
export type CatchUp = 'skip' | 'one' | 'all'
/** What happens when the last call has not ended by the time of the next. */
export type Overlap = 'allow' | 'skip' | 'cancelPrevious'

/** Of a call's options those that make sense again and again. */
export type BeatCallOptions = Omit<CallOptions, 'taskId' | 'kwargs' | 'eta' | 'expires'> & {
  /** A call that has not started so long after it was sent is not started any more. */
  readonly expires?: Duration
}

export interface BeatEntry {
  /** The task, or its name. */
  readonly task: string | { readonly name: string }
  readonly schedule: ScheduleInput
  /** JSON data. @default [] */
  readonly args?: readonly unknown[]
  /** Keyword arguments, or the input of a task with a schema, where that is an object. JSON data. @default {} */
  readonly kwargs?: Readonly<Record<string, unknown>>
  readonly options?: BeatCallOptions
  /**
   * Of the times that were missed: `one` sends once for the last of them, `all` for each, `skip` for none but the last if
   * it is no more than 30 seconds ago. @default 'one'
   */
  readonly catchUp?: CatchUp
  /** Times longer ago than this are not made up for. @default '30s' for `skip`, '1d' for `all`, else for ever */
  readonly catchUpWindow?: Duration
  /**
   * While the last call has not ended: `allow` sends all the same, `skip` leaves this time out, `cancelPrevious` revokes
   * the last one. `skip` needs results that are kept. @default 'allow'
   */
  readonly overlap?: Overlap
  /** Sends each time up to so much later; the same on every beat. @default 0 */
  readonly jitter?: Duration
  /** Not before. */
  readonly start?: Date | string
  /** Not after. */
  readonly end?: Date | string
}

/** An entry as it is stored. Times are epoch ms. */
export interface EntrySpec {
  readonly task: string
  readonly schedule: ScheduleSpec
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: BeatCallOptions
  readonly catchUp: CatchUp
  /** Null for ever. */
  readonly windowMs: number | null
  readonly overlap: Overlap
  readonly jitterMs: number
  readonly startMs: number | null
  readonly endMs: number | null
}

export interface EntryState {
  readonly isPaused: boolean
  /** Due times up to here are dealt with. */
  readonly cursorMs: number
  /** The first due time after it; null when none will come. */
  readonly dueMs: number | null
  /** Raised when a clock that was put back makes times come again. */
  readonly turn: number
  readonly lastDueMs: number | null
  readonly lastSentMs: number | null
  /** Of the last call. */
  readonly lastId: string | null
  readonly sent: number
  /** Due times for which nothing was sent, because they were found too late. */
  readonly missed: number
  /** Due times left out because the last call had not ended. */
  readonly skipped: number
  /** Why the last one could not be sent. */
  readonly lastError: string | null
}

export interface Entry {
  /** Declared by the application, or added at run time. */
  readonly source: 'code' | 'api'
  readonly spec: EntrySpec
  readonly state: EntryState
}

const knownOptions: readonly (keyof BeatEntry)[] = [
  ...(['task', 'schedule', 'args', 'kwargs', 'options', 'catchUp', 'catchUpWindow', 'overlap', 'jitter'] as const),
  ...(['start', 'end'] as const),
]
const catchUps: readonly CatchUp[] = ['skip', 'one', 'all']
const overlaps: readonly Overlap[] = ['allow', 'skip', 'cancelPrevious']
/** As long as another beat takes to lead, and some more, so that `skip` loses nothing by that. */
const graceMs = 30_000
const dayMs = 86_400_000

/** @throws CeleriacError `CONFIG_INVALID` naming the entry and what is wrong with it */
export function toEntrySpec(name: string, entry: BeatEntry, timezone: string): EntrySpec {
  try {
    return specOf(entry, timezone)
  } catch (error) {
    if (!(error instanceof CeleriacError)) throw error
    throw new CeleriacError(error.code, `schedule entry '${name}': ${error.message}`, { cause: error })
  }
}

function specOf(entry: BeatEntry, timezone: string): EntrySpec {
  if (typeof entry !== 'object' || entry === null) {
    throw new CeleriacError('CONFIG_INVALID', `it must be an object, got ${JSON.stringify(entry)}`)
  }
  refuseUnknown(entry, knownOptions, 'the entry')
  const task = typeof entry.task === 'string' ? entry.task : entry.task?.name
  if (typeof task !== 'string' || task === '') {
    throw new CeleriacError('CONFIG_INVALID', `\`task\` must be a task or its name, got ${JSON.stringify(entry.task)}`)
  }
  const { args = [], kwargs = {}, options = {}, catchUp = 'one', overlap = 'allow' } = entry
  if (!Array.isArray(args)) {
    throw new CeleriacError('CONFIG_INVALID', `\`args\` must be a list, got ${JSON.stringify(args)}`)
  }
  if (typeof kwargs !== 'object' || kwargs === null || Array.isArray(kwargs)) {
    throw new CeleriacError('CONFIG_INVALID', `\`kwargs\` must be an object, got ${JSON.stringify(kwargs)}`)
  }
  const startMs = dateMs(entry.start, 'start')
  const endMs = dateMs(entry.end, 'end')
  if (startMs !== null && endMs !== null && endMs < startMs) {
    throw new CeleriacError('CONFIG_INVALID', '`end` must not be before `start`')
  }
  oneOf(catchUp, 'catchUp', catchUps)
  return {
    task,
    schedule: toSpec(entry.schedule, timezone),
    args: toJsonValue(args) as readonly unknown[],
    kwargs: toJsonValue(kwargs) as EntrySpec['kwargs'],
    options: checkOptions(options),
    catchUp,
    windowMs: entry.catchUpWindow === undefined ? defaultWindowMs[catchUp] : toMs(entry.catchUpWindow, 'catchUpWindow'),
    overlap: oneOf(overlap, 'overlap', overlaps),
    jitterMs: toMs(entry.jitter ?? 0, 'jitter'),
    startMs,
    endMs,
  }
}

const defaultWindowMs: Readonly<Record<CatchUp, number | null>> = { skip: graceMs, one: null, all: dayMs }

function checkOptions(options: BeatCallOptions): BeatCallOptions {
  for (const name of ['taskId', 'eta', 'kwargs'] as const) {
    if (!(name in options)) continue
    const advice = name === 'kwargs' ? 'give `kwargs` beside `options`' : 'each time has its own'
    throw new CeleriacError('CONFIG_INVALID', `\`options.${name}\` cannot be said for every time; ${advice}`)
  }
  if ((options.expires as unknown) instanceof Date) {
    throw new CeleriacError('CONFIG_INVALID', '`options.expires` must be a duration; for a date there is `end`')
  }
  checkCallOptions(options)
  for (const name of ['countdown', 'expires', 'softTimeLimit', 'timeLimit'] as const) {
    if (options[name] !== undefined) toMs(options[name], `options.${name}`)
  }
  return toJsonValue(options) as BeatCallOptions
}

function dateMs(date: Date | string | undefined, name: string): number | null {
  if (date === undefined) return null
  const ms = new Date(date).getTime()
  if (!Number.isNaN(ms)) return ms
  throw new CeleriacError('CONFIG_INVALID', `\`${name}\` must be a date, got ${JSON.stringify(date)}`)
}

/** The object of an entry's schedule: the user's own for one that is no data. */
export function scheduleOf({ schedule }: EntrySpec, own: Schedule | undefined): Schedule | undefined {
  return 'custom' in schedule ? own : toSchedule(schedule)
}

/** The user's own schedule, where an entry has one. */
export function ownSchedule({ schedule }: BeatEntry): Schedule | undefined {
  return isSchedule(schedule) ? schedule : undefined
}

/** What most entries have is not written: a beat may have a hundred thousand of them at hand. */
const usualSpec: Omit<EntrySpec, 'task' | 'schedule'> = {
  args: [],
  kwargs: {},
  options: {},
  catchUp: 'one',
  windowMs: null,
  overlap: 'allow',
  jitterMs: 0,
  startMs: null,
  endMs: null,
}
const usualState: Omit<EntryState, 'cursorMs'> = {
  isPaused: false,
  dueMs: null,
  turn: 0,
  lastDueMs: null,
  lastSentMs: null,
  lastId: null,
  sent: 0,
  missed: 0,
  skipped: 0,
  lastError: null,
}

export function encodeEntry({ source, spec, state }: Entry): string {
  return JSON.stringify({ source, spec: without(usualSpec, spec), state: without(usualState, state) })
}

/** Undefined for what was not written by a version that this one knows. */
export function decodeEntry(value: string): Entry | undefined {
  try {
    const { source, spec, state } = JSON.parse(value) as Entry
    const isEntry = typeof spec.task === 'string' && typeof state.cursorMs === 'number'
    if (!isEntry || typeof spec.schedule !== 'object' || spec.schedule === null) return undefined
    return { source, spec: wholeSpec(spec), state: wholeState(state) }
  } catch {
    return undefined
  }
}

/** Whether the application declared it, and not somebody at run time. Reads no more of it than that. */
export function isOfCode(value: string): boolean {
  return value.startsWith('{"source":"code"')
}

/** Written out: spread twice, V8 makes the copies in several steps, whose remains fill the heap where there are many. */
function wholeSpec(spec: Partial<EntrySpec> & Pick<EntrySpec, 'task' | 'schedule'>): EntrySpec {
  return {
    task: spec.task,
    schedule: spec.schedule,
    args: spec.args ?? usualSpec.args,
    kwargs: spec.kwargs ?? usualSpec.kwargs,
    options: spec.options ?? usualSpec.options,
    catchUp: spec.catchUp ?? usualSpec.catchUp,
    windowMs: spec.windowMs ?? usualSpec.windowMs,
    overlap: spec.overlap ?? usualSpec.overlap,
    jitterMs: spec.jitterMs ?? usualSpec.jitterMs,
    startMs: spec.startMs ?? usualSpec.startMs,
    endMs: spec.endMs ?? usualSpec.endMs,
  }
}

function wholeState(state: Partial<EntryState> & Pick<EntryState, 'cursorMs'>): EntryState {
  return {
    isPaused: state.isPaused ?? usualState.isPaused,
    cursorMs: state.cursorMs,
    dueMs: state.dueMs ?? usualState.dueMs,
    turn: state.turn ?? usualState.turn,
    lastDueMs: state.lastDueMs ?? usualState.lastDueMs,
    lastSentMs: state.lastSentMs ?? usualState.lastSentMs,
    lastId: state.lastId ?? usualState.lastId,
    sent: state.sent ?? usualState.sent,
    missed: state.missed ?? usualState.missed,
    skipped: state.skipped ?? usualState.skipped,
    lastError: state.lastError ?? usualState.lastError,
  }
}

function without(usual: object, object: object): Record<string, unknown> {
  const rest: Record<string, unknown> = {}
  for (const [key, value] of Object.entries(object)) {
    if (value !== (usual as Record<string, unknown>)[key] && !isEmpty(value)) rest[key] = value
  }
  return rest
}

function isEmpty(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return false
  for (const _key in value) return false
  return true
}

/** Of the ids of periodic calls (RFC 9562, version 5). */
const namespace = Buffer.from('c1e7ba8a5d5e4c0fa3b1be47c0de5eed', 'hex')

/** The id of the call for one due time: the same on every beat. A UUID of version 5, since ids of tasks are UUIDs. */
export function firingId(scope: string, name: string, turn: number, dueMs: number): string {
  const bytes = createHash('sha1')
    .update(namespace)
    .update(JSON.stringify([scope, name, turn, dueMs]))
    .digest()
  bytes.writeUInt8((bytes.readUInt8(6) & 0x0f) | 0x50, 6)
  bytes.writeUInt8((bytes.readUInt8(8) & 0x3f) | 0x80, 8)
  const hex = bytes.toString('hex')
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20, 32)].join('-')
}
