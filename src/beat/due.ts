/**
 * What is to be done about an entry at a moment: which of its due times are sent for, which were missed, and when it is
 * due next. Takes data, returns data.
 */
import type { EntrySpec, EntryState } from './entry.ts'
import type { Schedule } from './schedule.ts'

export interface Turn {
  /** Due times to send for, the earliest first. */
  readonly dues: readonly number[]
  /** How many others have passed. */
  readonly missed: number
  /** The state once they are dealt with, but for what becomes of the calls. */
  readonly state: EntryState
}

/** So many calls at most make up for the time without a beat. */
const mostDues = 1_000
/** So many due times are gone through one by one; before these, they are passed over. */
const mostSteps = 10_000
/** Clocks of two beats may differ by so much without one believing that it is to begin anew. In ms. */
const skewMs = 60_000

/** The state of an entry that has none yet. */
export function newState(spec: EntrySpec, schedule: Schedule | undefined, nowMs: number): EntryState {
  return {
    isPaused: false,
    cursorMs: nowMs,
    dueMs: schedule === undefined ? null : nextDue(spec, schedule, nowMs),
    turn: 0,
    lastDueMs: null,
    lastSentMs: null,
    lastId: null,
    sent: 0,
    missed: 0,
    skipped: 0,
    lastError: null,
  }
}

/** The first due time after a moment, between the entry's start and end. */
export function nextDue(spec: EntrySpec, schedule: Schedule, afterMs: number): number | null {
  const { startMs, endMs } = spec
  const isEarly = startMs !== null && afterMs < startMs
  // An interval begins with its start; all else has its own times.
  const isInterval = 'everyMs' in spec.schedule
  const dueMs = isEarly && isInterval ? startMs : schedule.next(isEarly ? startMs - 1 : afterMs)
  if (dueMs === null || (endMs !== null && dueMs > endMs)) return null
  // A schedule of the user's own must not keep us here for ever.
  return dueMs > afterMs ? dueMs : null
}

/** When an entry is to be sent for: its due time and its jitter. Infinity for never. */
export function wakeAt(name: string, spec: EntrySpec, { isPaused, dueMs }: EntryState): number {
  return isPaused || dueMs === null ? Number.POSITIVE_INFINITY : dueMs + jitter(name, spec, dueMs)
}

export function takeTurn(name: string, spec: EntrySpec, state: EntryState, schedule: Schedule, nowMs: number): Turn {
  const recent: number[] = []
  let passed = 0
  let dueMs = state.dueMs
  while (dueMs !== null && dueMs + jitter(name, spec, dueMs) <= nowMs) {
    recent.push(dueMs)
    if (recent.length > mostDues) recent.shift()
    passed += 1
    dueMs = passed === mostSteps ? lateDue(spec, schedule, dueMs, nowMs) : nextDue(spec, schedule, dueMs)
  }
  const lastMs = recent[recent.length - 1]
  if (lastMs === undefined) return { dues: [], missed: 0, state }
  const earliestMs = spec.windowMs === null ? Number.NEGATIVE_INFINITY : nowMs - spec.jitterMs - spec.windowMs
  const wanted = spec.catchUp === 'all' ? recent : [lastMs]
  const dues = wanted.filter((ms) => ms >= earliestMs)
  const missed = passed - dues.length
  return { dues, missed, state: { ...state, cursorMs: lastMs, dueMs, missed: state.missed + missed } }
}

/**
 * Where a clock was put back, due times behind the present were dealt with already. One of them that comes again is not
 * sent for twice; an entry that would be silent for more than one of its times begins anew.
 */
export function afterClockStep(spec: EntrySpec, state: EntryState, schedule: Schedule, nowMs: number): EntryState {
  if (state.cursorMs <= nowMs + skewMs) return state
  const first = schedule.next(nowMs)
  const second = first === null ? null : schedule.next(first)
  if (second === null || second > state.cursorMs) return state
  return { ...state, cursorMs: nowMs, dueMs: nextDue(spec, schedule, nowMs), turn: state.turn + 1 }
}

/**
 * The state under another schedule. An interval counts on from its last time; of a crontab, or whatever names its times,
 * those count that come from now on: changed at noon from three o'clock to nine, it is not late by three hours.
 */
export function underSchedule(spec: EntrySpec, state: EntryState, schedule: Schedule, nowMs: number): EntryState {
  const cursorMs = 'everyMs' in spec.schedule ? state.cursorMs : nowMs
  return { ...state, cursorMs, dueMs: nextDue(spec, schedule, cursorMs) }
}

/** A due time from which on as many have passed as can be made up for: found by looking back farther and farther. */
function lateDue(spec: EntrySpec, schedule: Schedule, afterMs: number, nowMs: number): number | null {
  for (let backMs = 1_000; nowMs - backMs > afterMs; backMs *= 2) {
    const firstMs = nextDue(spec, schedule, nowMs - backMs)
    let count = 0
    for (let ms = firstMs; ms !== null && ms <= nowMs && count < mostDues; count++) ms = nextDue(spec, schedule, ms)
    if (count === mostDues) return firstMs
  }
  return nextDue(spec, schedule, afterMs)
}

/** The same for the same due time on every beat. */
function jitter(name: string, spec: EntrySpec, dueMs: number): number {
  if (spec.jitterMs === 0) return 0
  return Math.floor(fraction(`${name}/${dueMs}`) * spec.jitterMs)
}

/** FNV-1a of a text (http://www.isthe.com/chongo/tech/comp/fnv/), mixed as by MurmurHash3 and brought between 0 and 1. */
function fraction(text: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
