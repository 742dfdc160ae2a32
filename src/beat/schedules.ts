/** The schedule as users see and change it: by name, with the words of the API. Every change is told to the beats. */
import type { Bus } from '../broker/bus.ts'
import type { ScheduleStore, StoredEntry } from '../broker/schedule-store.ts'
import type { Clock } from '../clock.ts'
import { CeleriacError } from '../errors.ts'
import { fromJsonValue } from '../json.ts'
import type { Logger } from '../logger.ts'
import { nearest } from '../nearest.ts'
import type { AsyncResult } from '../result/async-result.ts'
import type { WireArguments } from '../task/input.ts'
import { newState, underSchedule } from './due.ts'
import {
  type BeatCallOptions,
  type BeatEntry,
  type CatchUp,
  decodeEntry,
  type Entry,
  type EntrySpec,
  encodeEntry,
  isOfCode,
  type Overlap,
  ownSchedule,
  scheduleOf,
  toEntrySpec,
} from './entry.ts'
import type { Schedule } from './schedule.ts'

/** Beats hear on it that entries of a scope have changed. The payload is `{ scope }`. */
export const scheduleTopic = 'celeriac.schedule'

/** An entry as it is shown. Dates are null where there is none. */
export interface ScheduleInfo {
  readonly name: string
  readonly task: string
  /** In words, as `every 10 seconds`. */
  readonly schedule: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: BeatCallOptions
  /** Declared by the application, or added at run time. */
  readonly source: 'code' | 'api'
  readonly isPaused: boolean
  /** Null while it is paused, and once it is over. */
  readonly nextAt: Date | null
  /** The due time that was last sent for, and when that was. */
  readonly lastDueAt: Date | null
  readonly lastSentAt: Date | null
  /** Of the call that was last sent. */
  readonly lastId: string | null
  readonly sent: number
  /** Due times that were found too late. */
  readonly missed: number
  /** Due times left out because the last call had not ended. */
  readonly skipped: number
  /** Why the last one could not be sent. */
  readonly lastError: string | null
  readonly catchUp: CatchUp
  readonly overlap: Overlap
  readonly jitterMs: number
  readonly start: Date | null
  readonly end: Date | null
}

export interface SchedulesParts {
  /** The application's name: whose schedule it is. */
  readonly scope: string
  /** For schedules that name none. */
  readonly timezone: string
  readonly store: () => Promise<ScheduleStore>
  readonly bus: () => Promise<Bus>
  /** Whether results are kept where everybody finds them. */
  readonly keepsResults: () => Promise<boolean>
  readonly send: (task: string, wire: WireArguments, options: BeatCallOptions) => Promise<AsyncResult>
  readonly clock: Clock
  readonly logger: Logger
}

/** Somebody else may change an entry between our look and our write; nobody does so again and again. */
const mostTries = 20
const groupSize = 250

export class Schedules {
  readonly #parts: SchedulesParts

  constructor(parts: SchedulesParts) {
    this.#parts = parts
  }

  /** All entries, by name. */
  async list(): Promise<ScheduleInfo[]> {
    const infos = new Map<string, ScheduleInfo>()
    for await (const page of (await this.#parts.store()).list()) {
      for (const info of page.flatMap((entry) => infoOf(entry) ?? [])) infos.set(info.name, info)
    }
    return [...infos.values()].sort((one, other) => (one.name < other.name ? -1 : 1))
  }

  /** @throws CeleriacError `SCHEDULE_UNKNOWN` */
  async get(name: string): Promise<ScheduleInfo> {
    const [stored] = await (await this.#parts.store()).load([name])
    const info = stored === undefined ? undefined : infoOf(stored)
    if (info === undefined) throw await this.#unknown(name)
    return info
  }

  /**
   * Adds an entry, or changes the one of that name, which keeps what has become of it so far.
   *
   * Its schedule must be data: only a beat that has the code could ask one of your own, so those are declared with
   * `app.beat`.
   *
   * @throws CeleriacError `CONFIG_INVALID`
   */
  async add(name: string, entry: BeatEntry): Promise<ScheduleInfo> {
    checkName(name)
    if (ownSchedule(entry) !== undefined) {
      throw new CeleriacError(
        'CONFIG_INVALID',
        `schedule entry '${name}': a schedule of your own is code, and cannot be stored; declare the entry with app.beat()`,
      )
    }
    const spec = toEntrySpec(name, entry, this.#parts.timezone)
    await this.#refuseUnknowable([[name, spec]])
    const added = await this.#change(name, (old) => changed(old, 'api', spec, scheduleOf(spec, undefined), this.#now))
    if (added?.state.dueMs === null && added.state.sent === 0) {
      await this.remove(name)
      throw new CeleriacError('CONFIG_INVALID', `schedule entry '${name}': its time is over, it would never be sent`)
    }
    return this.get(name)
  }

  /** @throws CeleriacError `SCHEDULE_UNKNOWN` */
  async remove(name: string): Promise<void> {
    await this.#changeKnown(name, () => null)
  }

  /** Nothing is sent for it until `resume`. @throws CeleriacError `SCHEDULE_UNKNOWN` */
  async pause(name: string): Promise<void> {
    await this.#changeKnown(name, (entry) => ({ ...entry, state: { ...entry.state, isPaused: true } }))
  }

  /** Goes on with the next due time; those of the pause are not made up for. @throws CeleriacError `SCHEDULE_UNKNOWN` */
  async resume(name: string): Promise<void> {
    await this.#changeKnown(name, (entry) => {
      if (!entry.state.isPaused) return entry
      const state = { ...entry.state, isPaused: false }
      const schedule = scheduleOf(entry.spec, undefined)
      // Of a schedule of the user's own, the beat that has it finds the next time.
      if (schedule === undefined) return { ...entry, state: { ...state, cursorMs: this.#now, dueMs: null } }
      return { ...entry, state: { ...state, ...afterPause(entry.spec, state, schedule, this.#now) } }
    })
  }

  /**
   * Sends its call now, once more; when it is due next stays as it is. Paused entries may be run as well.
   * @throws CeleriacError `SCHEDULE_UNKNOWN`, and what sending throws
   */
  async run(name: string): Promise<AsyncResult> {
    const [stored] = await (await this.#parts.store()).load([name])
    const entry = stored === undefined ? undefined : decodeEntry(stored.value)
    if (entry === undefined) throw await this.#unknown(name)
    const { spec } = entry
    const result = await this.#parts.send(spec.task, wireOf(spec), spec.options)
    await this.#change(name, (now) => {
      if (now === undefined) return undefined
      const state = { ...now.state, lastId: result.id, lastSentMs: this.#now, sent: now.state.sent + 1 }
      return { ...now, state }
    })
    return result
  }

  /**
   * Makes the entries that the application declares those that there are: new ones are added, others changed, and what
   * it declared once and no longer does is removed. What was added at run time stays, unless it has the name of one.
   *
   * @throws CeleriacError `CONFIG_INVALID`
   */
  async declare(entries: Readonly<Record<string, BeatEntry>>): Promise<void> {
    // There may be very many: they are checked, and then written, without ever being all in memory a second time.
    for (const name of Object.keys(entries)) await this.#refuseUnknowable([[name, this.#declared(name, entries).spec]])
    const store = await this.#parts.store()
    let hasChanged = false
    for (const names of inGroups(Object.keys(entries))) {
      if (await this.#declareSome(store, names, entries)) hasChanged = true
    }
    const isGone = ({ name, value }: StoredEntry): boolean => !Object.hasOwn(entries, name) && isOfCode(value)
    for await (const page of store.list()) {
      if (await this.#removeSome(store, page.filter(isGone), isGone)) hasChanged = true
    }
    if (hasChanged) await this.#tell()
  }

  /** @returns whether anything was written */
  async #declareSome(
    store: ScheduleStore,
    names: readonly string[],
    entries: Readonly<Record<string, BeatEntry>>,
  ): Promise<boolean> {
    for (let tries = 0; tries < mostTries; tries++) {
      const stored = new Map((await store.load(names)).map((entry) => [entry.name, entry]))
      const changes = names.flatMap((name) => {
        const { spec, own } = this.#declared(name, entries)
        const found = stored.get(name)
        const old = found === undefined ? undefined : decodeEntry(found.value)
        const entry = changed(old, 'code', spec, scheduleOf(spec, own), this.#now)
        return entry === old ? [] : { name, revision: found?.revision ?? 0, value: encodeEntry(entry) }
      })
      if (changes.length === 0) return tries > 0
      if ((await store.write(changes)).length === 0) return true
    }
    throw busy('the schedule')
  }

  /** @returns whether there were any */
  async #removeSome(
    store: ScheduleStore,
    found: readonly StoredEntry[],
    isGone: (entry: StoredEntry) => boolean,
  ): Promise<boolean> {
    let gone = found
    for (let tries = 0; tries < mostTries; tries++) {
      if (gone.length === 0) return found.length > 0
      const refused = await store.write(gone.map(({ name, revision }) => ({ name, revision, value: null })))
      gone = refused.length === 0 ? [] : (await store.load(refused)).filter(isGone)
    }
    throw busy('the schedule')
  }

  #declared(
    name: string,
    entries: Readonly<Record<string, BeatEntry>>,
  ): { spec: EntrySpec; own: Schedule | undefined } {
    checkName(name)
    const entry = entries[name] as BeatEntry
    return { spec: toEntrySpec(name, entry, this.#parts.timezone), own: ownSchedule(entry) }
  }

  /** Whether a call has ended is told by its result alone. */
  async #refuseUnknowable(specs: readonly (readonly [name: string, spec: EntrySpec])[]): Promise<void> {
    const skipping = specs.find(([, { overlap }]) => overlap === 'skip')
    if (skipping === undefined || (await this.#parts.keepsResults())) return
    throw new CeleriacError(
      'CONFIG_INVALID',
      `schedule entry '${skipping[0]}': \`overlap: 'skip'\` needs results that are kept, to tell whether the last call has ` +
        "ended; give the app `results`, on RabbitMQ with the URL of another store, or use 'allow' or 'cancelPrevious'",
    )
  }

  get #now(): number {
    return this.#parts.clock.now()
  }

  async #changeKnown(name: string, change: (entry: Entry) => Entry | null): Promise<void> {
    let isKnown = false
    await this.#change(name, (entry) => {
      isKnown = entry !== undefined
      return entry === undefined ? undefined : change(entry)
    })
    if (!isKnown) throw await this.#unknown(name)
  }

  /** Writes what becomes of an entry, however often others come between. Undefined leaves it as it is, null removes it. */
  async #change(
    name: string,
    change: (entry: Entry | undefined) => Entry | null | undefined,
  ): Promise<Entry | null | undefined> {
    const store = await this.#parts.store()
    for (let tries = 0; tries < mostTries; tries++) {
      const [stored] = await store.load([name])
      const old = stored === undefined ? undefined : decodeEntry(stored.value)
      const entry = change(old)
      if (entry === undefined || entry === old) return entry
      const value = entry === null ? null : encodeEntry(entry)
      const refused = await store.write([{ name, revision: stored?.revision ?? 0, value }])
      if (refused.length > 0) continue
      await this.#tell()
      return entry
    }
    throw busy(`schedule entry '${name}'`)
  }

  /** Beats look for themselves as well, only later. */
  async #tell(): Promise<void> {
    const { bus, scope, logger } = this.#parts
    try {
      await (await bus()).publish(scheduleTopic, { scope })
    } catch (error) {
      logger.debug({ error }, 'beats were not told that the schedule has changed; they look by themselves')
    }
  }

  async #unknown(name: string): Promise<CeleriacError> {
    const names = (await this.list()).map((entry) => entry.name)
    const guess = nearest(name, names)
    const advice =
      guess === undefined
        ? `${names.length === 0 ? 'there are none' : `there are ${names.length}`} for the app '${this.#parts.scope}'`
        : `did you mean '${guess}'?`
    return new CeleriacError('SCHEDULE_UNKNOWN', `no schedule entry is called '${name}'; ${advice}`)
  }
}

/** The arguments of a call for an entry, as a task's sender has them. */
export function wireOf({ args, kwargs }: EntrySpec): WireArguments {
  return { args: fromJsonValue(args) as unknown[], kwargs: fromJsonValue(kwargs) as WireArguments['kwargs'] }
}

/** The very same object where nothing has changed. */
function changed(
  old: Entry | undefined,
  source: Entry['source'],
  spec: EntrySpec,
  schedule: Schedule | undefined,
  nowMs: number,
): Entry {
  if (old === undefined) return { source, spec, state: newState(spec, schedule, nowMs) }
  if (old.source === source && equal(old.spec, spec)) return old
  const { startMs, endMs } = old.spec
  const isOtherTime = !equal([old.spec.schedule, startMs, endMs], [spec.schedule, spec.startMs, spec.endMs])
  const state = isOtherTime && schedule !== undefined ? underSchedule(spec, old.state, schedule, nowMs) : old.state
  return { source, spec, state }
}

function afterPause(
  spec: EntrySpec,
  state: Entry['state'],
  schedule: Schedule,
  nowMs: number,
): Partial<Entry['state']> {
  const { cursorMs } = state
  // An interval whose time is not over yet is not to begin anew.
  if (state.dueMs !== null && state.dueMs > nowMs) return { cursorMs }
  const { dueMs } = newState(spec, schedule, nowMs)
  return { cursorMs: nowMs, dueMs }
}

function equal(one: unknown, other: unknown): boolean {
  return JSON.stringify(one) === JSON.stringify(other)
}

function* inGroups(names: readonly string[]): Iterable<string[]> {
  for (let at = 0; at < names.length; at += groupSize) yield names.slice(at, at + groupSize)
}

function checkName(name: string): void {
  if (typeof name === 'string' && name !== '' && name.length <= 250) return
  throw new CeleriacError(
    'CONFIG_INVALID',
    `the name of a schedule entry must be a text of 1 to 250 characters, got ${JSON.stringify(name)}`,
  )
}

function busy(what: string): CeleriacError {
  return new CeleriacError('BROKER_BUSY', `${what} is being changed by others again and again; nothing was changed`)
}

function infoOf({ name, value }: StoredEntry): ScheduleInfo | undefined {
  const entry = decodeEntry(value)
  if (entry === undefined) return undefined
  const { source, spec, state } = entry
  const { task, args, kwargs, options, catchUp, overlap, jitterMs } = spec
  const { isPaused, lastId, sent, missed, skipped, lastError } = state
  return {
    name,
    task,
    schedule: 'custom' in spec.schedule ? spec.schedule.custom : (scheduleOf(spec, undefined)?.describe() ?? ''),
    args,
    kwargs,
    options,
    source,
    isPaused,
    nextAt: isPaused ? null : dateOf(state.dueMs),
    lastDueAt: dateOf(state.lastDueMs),
    lastSentAt: dateOf(state.lastSentMs),
    lastId,
    sent,
    missed,
    skipped,
    lastError,
    catchUp,
    overlap,
    jitterMs,
    start: dateOf(spec.startMs),
    end: dateOf(spec.endMs),
  }
}

function dateOf(ms: number | null): Date | null {
  return ms === null ? null : new Date(ms)
}
