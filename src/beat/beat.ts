/**
 * A beat: sends what is due. Any number of them may run; one leads, the others wait to take over.
 *
 *     waiting → leading → waiting …        stopped from anywhere
 *
 * A leader keeps of each entry its stored text and when it is due next, and looks at nothing but the first in a heap. It
 * advances what is due in groups: each group is one step of the store, which publishes with it. What the store refuses was
 * changed or advanced by somebody else, and is read again; so whatever happens between our look and our write, and
 * however many believe that they lead, no due time is sent for twice and none is lost.
 */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { OutgoingMessage } from '../broker/broker.ts'
import type { Bus, Subscription } from '../broker/bus.ts'
import type { ScheduleLead, ScheduleStore, StoredEntry } from '../broker/schedule-store.ts'
import { type Clock, sleep, type Timer } from '../clock.ts'
import { CeleriacError, LeaseLostError } from '../errors.ts'
import { Heap } from '../heap.ts'
import type { Logger } from '../logger.ts'
import type { ResultStore } from '../result/result-store.ts'
import { isReady } from '../result/states.ts'
import type { TaskCall } from '../send/message.ts'
import type { Producer } from '../send/producer.ts'
import { afterClockStep, nextDue, takeTurn, wakeAt } from './due.ts'
import { decodeEntry, type Entry, type EntryState, encodeEntry, firingId, scheduleOf } from './entry.ts'
import type { Schedule } from './schedule.ts'
import { scheduleTopic, wireOf } from './schedules.ts'

export interface BeatParts {
  readonly scope: string
  readonly store: ScheduleStore
  readonly bus: () => Promise<Bus>
  readonly producer: Producer
  readonly results: ResultStore | undefined
  /** Ends a call that is under way. */
  readonly revoke: (id: string) => Promise<unknown>
  /** Schedules that are code, by the name of their entry. */
  readonly own: ReadonlyMap<string, Schedule>
  readonly clock: Clock
  readonly logger: Logger
}

/** A leader that dies is missed after so long. In ms. */
const leaseMs = 5_000
const renewMs = 1_500
/** Those who wait ask so often, give or take a quarter. In ms. */
const askMs = 1_000
/** Beats are told of changes; so often they look for themselves. In ms. */
const lookMs = 2_000
/** After an error the next try comes so much later. In ms. */
const retryMs = 500
/** Entries advanced in one step, and such steps under way at once. */
const groupSize = 200
const groupsAtOnce = 10
/** What is due soon is made ready before, so that many at one moment are not late. In ms. */
const aheadMs = 400
/** Entries made ready; those behind them come as they come. */
const mostReady = 2_000
/** What was made ready is still right so long after its time, in ms. */
const readyForMs = 100
/** A clock that is put forward or back by more than this is worth a line in the log. In ms. */
const stepMs = 1_000

/** What a leader has at hand of an entry: little, since there may be very many. */
interface Known {
  readonly name: string
  revision: number
  value: string
  /** When it is to be sent for; Infinity for never. */
  atMs: number
  isGone: boolean
  /** What is to be done then, made ready before; null for what cannot be known before. */
  ready: Step | null | undefined
}

/** A place in the heap; it counts as long as its entry is due then. */
interface Place {
  readonly atMs: number
  readonly known: Known
}

/** One entry on its way through a group. */
interface Work {
  readonly known: Known
  readonly entry: Entry
  readonly dues: readonly number[]
  /** Of the calls for these. */
  readonly ids: readonly string[]
  readonly state: EntryState
}

/** What is sent for an entry, and how it is afterwards. */
interface Step {
  readonly known: Known
  readonly dues: readonly number[]
  readonly ids: readonly string[]
  readonly calls: readonly TaskCall[]
  readonly entry: Entry
  readonly value: string
  /** As it is without these calls, should they not be possible. */
  readonly work: Work
}

export class Beat {
  readonly #parts: BeatParts
  readonly #stopping = new AbortController()
  #running: Promise<void> | undefined
  #subscription: Subscription | undefined
  #isLeading = false
  #hasNews = false
  #wake: () => void = () => undefined

  constructor(parts: BeatParts) {
    this.#parts = parts
  }

  /** Whether this one sends at present. */
  get isLeading(): boolean {
    return this.#isLeading
  }

  /** Begins, and goes on until `stop`, whatever becomes of the broker meanwhile. */
  start(): void {
    this.#running ??= this.#run()
  }

  /** Ends what is under way and lets another lead. Harmless when stopped. */
  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#wake()
    await this.#running
  }

  async #run(): Promise<void> {
    const { store, clock, logger, scope } = this.#parts
    const { signal } = this.#stopping
    let isComplaining = false
    while (!signal.aborted) {
      await this.#listen()
      try {
        const lead = await store.lead(leaseMs)
        isComplaining = false
        // Whoever was told to stop while he waited for it has no use for it.
        if (lead !== null) await (signal.aborted ? lead.release() : this.#lead(lead))
      } catch (error) {
        if (isLost(error)) logger.info({ scope, error }, 'another beat leads')
        else if (!isComplaining) logger.error({ scope, error }, 'the beat cannot work; it tries again until it can')
        isComplaining = !isLost(error)
      }
      await sleep(clock, askMs * (0.75 + Math.random() / 2), signal)
    }
    await this.#subscription?.close().catch(() => undefined)
  }

  /** Deaf, it looks for changes by itself. */
  async #listen(): Promise<void> {
    if (this.#subscription !== undefined || this.#stopping.signal.aborted) return
    const { bus, scope, logger } = this.#parts
    try {
      this.#subscription = await (await bus()).subscribe([scheduleTopic], ({ payload }) => {
        if ((payload as { scope?: unknown } | null)?.scope !== scope) return
        this.#hasNews = true
        this.#wake()
      })
    } catch (error) {
      logger.debug({ error }, 'the beat cannot be told of changes yet; it looks for them')
    }
  }

  async #lead(lead: ScheduleLead): Promise<void> {
    const { scope, logger, clock } = this.#parts
    const renewal = this.#renewing(lead)
    this.#isLeading = true
    try {
      const book = new Book(this.#parts)
      const sinceMs = clock.monotonic()
      for await (const entries of this.#parts.store.list()) {
        book.put(entries)
        // Very many take longer than the lease, which is renewed between.
        await nextTurn()
      }
      logger.info({ scope, entries: book.size, tookMs: Math.round(clock.monotonic() - sinceMs) }, 'the beat leads')
      await this.#work(lead, book, renewal.signal)
      if (!this.#stopping.signal.aborted) logger.warn({ scope }, 'the beat has lost its lead; another one may have it')
    } finally {
      this.#isLeading = false
      renewal.stop()
      await lead.release().catch(() => undefined)
    }
  }

  /** Keeps the lease up. Its signal aborts when it is lost, or when we stop. */
  #renewing(lead: ScheduleLead): { readonly signal: AbortSignal; stop(): void } {
    const { clock, logger, scope } = this.#parts
    const lost = new AbortController()
    let heldAtMs = clock.monotonic()
    let timer: Timer
    const renew = async (): Promise<void> => {
      const askedAtMs = clock.monotonic()
      try {
        if (!(await lead.renew(leaseMs))) lose()
        else heldAtMs = askedAtMs
      } catch (error) {
        logger.warn({ scope, error }, 'the lead of the beat could not be renewed')
        if (clock.monotonic() - heldAtMs > leaseMs) lose()
      }
      if (!lost.signal.aborted) timer = clock.after(renewMs, () => void renew())
    }
    const lose = (): void => {
      lost.abort()
      this.#wake()
    }
    const onStop = (): void => lose()
    this.#stopping.signal.addEventListener('abort', onStop)
    timer = clock.after(renewMs, () => void renew())
    return {
      signal: lost.signal,
      stop: () => {
        lost.abort()
        timer.cancel()
        this.#stopping.signal.removeEventListener('abort', onStop)
      },
    }
  }

  async #work(lead: ScheduleLead, book: Book, signal: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    let lookedAtMs = clock.monotonic()
    const wallClock = new WallClock(this.#parts)
    while (!signal.aborted) {
      if (this.#hasNews || clock.monotonic() - lookedAtMs >= lookMs) {
        this.#hasNews = false
        lookedAtMs = clock.monotonic()
        await this.#readAgain(book, await lead.changes())
      }
      if (wallClock.wasPutBack()) book.rebuild()
      if (book.nextAtMs <= clock.now()) await this.#sendDue(lead, book, signal)
      else if (!this.#hasNews && !(await this.#makeReady(book))) {
        const untilDueMs = book.nextAtMs - clock.now()
        await this.#rest(Math.min(untilDueMs > aheadMs ? untilDueMs - aheadMs : untilDueMs, lookMs), signal)
      }
    }
  }

  async #rest(ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController()
    this.#wake = () => over.abort()
    // News or an end that came before there was somebody to wake.
    if (!this.#hasNews && !signal.aborted) await sleep(this.#parts.clock, Math.max(1, Math.ceil(ms)), over.signal)
    this.#wake = () => undefined
  }

  async #readAgain(book: Book, names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    const entries = await this.#parts.store.load(names)
    book.forget(names)
    book.put(entries)
  }

  /** Some of what is due soon. What depends on the last call is left for its time. @returns whether there was any */
  async #makeReady(book: Book): Promise<boolean> {
    const soon = book.dueSoon(this.#parts.clock.now() + aheadMs).slice(0, groupSize)
    for (const known of soon) {
      const [work] = book.turns([known], known.atMs)
      known.ready = work?.entry.spec.overlap === 'allow' ? await this.#compose(work, known.atMs) : null
    }
    return soon.length > 0
  }

  /** Group by group, the next one while the broker has the last one in hand. */
  async #sendDue(lead: ScheduleLead, book: Book, signal: AbortSignal): Promise<void> {
    const sending: Promise<unknown>[] = []
    while (sending.length < groupsAtOnce && !signal.aborted) {
      const due = book.takeDue(this.#parts.clock.now(), groupSize)
      if (due.length === 0) break
      sending.push(this.#send(lead, book, due, signal).catch((lost) => lost))
      // What was written leaves before the next one is.
      await nextTurn()
    }
    const lost = (await Promise.all(sending)).find((error) => error !== undefined)
    if (lost !== undefined) throw lost
  }

  /** Sends for entries that are due. Those it could not advance stay due. */
  async #send(lead: ScheduleLead, book: Book, due: readonly Known[], signal: AbortSignal): Promise<void> {
    const { clock, logger, scope } = this.#parts
    const nowMs = clock.now()
    try {
      const steps: Step[] = []
      const others: Known[] = []
      for (const known of due) {
        const step = stillReady(known, nowMs)
        if (step === undefined) others.push(known)
        else steps.push(step)
      }
      const works = await this.#withoutOverlap(book.turns(others, nowMs))
      steps.push(...(await Promise.all(works.map((work) => this.#compose(work, nowMs)))))
      if (steps.length > 0) await this.#advance(lead, book, steps)
    } catch (error) {
      book.put(due)
      if (isLost(error)) throw error
      logger.error({ scope, entries: due.length, error }, 'what is due could not be sent; trying again')
      await sleep(clock, retryMs, signal)
    }
  }

  /** The calls of an entry, as if it were now. */
  async #compose(work: Work, nowMs: number): Promise<Step> {
    const { producer, scope, logger } = this.#parts
    const { known, dues, ids } = work
    const { spec } = work.entry
    try {
      const calls = await Promise.all(
        ids.map((taskId) => producer.complete(spec.task, wireOf(spec), { ...spec.options, taskId }, nowMs)),
      )
      const sent = work.state.sent + dues.length
      const last = { lastDueMs: dues.at(-1) ?? null, lastSentMs: nowMs, lastId: ids.at(-1) ?? null }
      return stepOf(work, calls, dues.length > 0 ? { ...work.state, ...last, sent, lastError: null } : work.state)
    } catch (error) {
      // Of this entry alone, and again each time: what it says is wrong.
      logger.error({ scope, entry: known.name, task: spec.task, error }, 'an entry of the schedule cannot be sent')
      return stepOf(work, [], unsent(work, error))
    }
  }

  async #advance(lead: ScheduleLead, book: Book, steps: readonly Step[]): Promise<void> {
    const { producer, scope, logger } = this.#parts
    let stale: readonly string[] | undefined
    const publish = async (messages: readonly OutgoingMessage[]): Promise<void> => {
      const byId = new Map(messages.map((message) => [message.properties.correlationId, message]))
      const own = ({ ids }: Step): OutgoingMessage[] => ids.flatMap((id) => byId.get(id) ?? [])
      stale = await lead.advance(
        steps.map((step) => ({
          name: step.known.name,
          revision: step.known.revision,
          value: step.value,
          publish: own(step),
        })),
      )
    }
    try {
      await producer.sendWith(
        steps.flatMap(({ calls }) => calls),
        publish,
      )
      if (stale === undefined) await publish([])
    } catch (error) {
      if (!isOfOneCall(error) || steps.length === 1) throw error
      // One of them is too large, say: the others are not to suffer for it.
      for (const step of steps) await this.#advanceAlone(lead, book, step)
      return
    }
    const refused = new Set(stale)
    for (const { known, value, entry, dues } of steps) {
      if (refused.has(known.name)) continue
      book.advanced(known, value, entry)
      logger.debug({ scope, entry: known.name, task: entry.spec.task, due: dues }, 'sent what was due')
    }
    if (refused.size > 0) await this.#readAgain(book, [...refused])
  }

  async #advanceAlone(lead: ScheduleLead, book: Book, step: Step): Promise<void> {
    try {
      await this.#advance(lead, book, [step])
    } catch (error) {
      if (!isOfOneCall(error)) throw error
      const { scope, logger } = this.#parts
      logger.error({ scope, entry: step.known.name, error }, 'an entry of the schedule cannot be sent')
      await this.#advance(lead, book, [stepOf(step.work, [], unsent(step.work, error))])
    }
  }

  /** Leaves out, or ends, what would overlap. */
  async #withoutOverlap(works: readonly Work[]): Promise<Work[]> {
    const { results, revoke, logger, scope } = this.#parts
    const overlapping = works.filter(({ entry, dues }) => entry.spec.overlap !== 'allow' && dues.length > 0)
    if (overlapping.length === 0) return [...works]
    const ids = overlapping.map(({ entry }) => entry.state.lastId)
    const known = ids.filter((id) => id !== null)
    const records = results === undefined || known.length === 0 ? [] : await results.load(known)
    const running = new Set(
      records.flatMap((record) => (record === undefined || isReady(record.status) ? [] : record.taskId)),
    )
    for (const work of overlapping) {
      const { lastId } = work.entry.state
      const isRunning = lastId !== null && (results === undefined || running.has(lastId))
      if (work.entry.spec.overlap === 'skip' && isRunning && results !== undefined) {
        logger.info({ scope, entry: work.known.name, id: lastId }, 'left out: its last call has not ended')
      } else if (work.entry.spec.overlap === 'cancelPrevious' && isRunning) {
        await revoke(lastId).catch((error) => {
          logger.error({ scope, entry: work.known.name, id: lastId, error }, 'the last call could not be revoked')
        })
      }
    }
    return works.map((work) => {
      const { overlap } = work.entry.spec
      const { lastId } = work.entry.state
      if (overlap === 'allow' || work.dues.length === 0) return work
      const isLeftOut = overlap === 'skip' && lastId !== null && running.has(lastId)
      // Several at once would overlap each other.
      const dues = isLeftOut ? [] : work.dues.slice(-1)
      const skipped = work.state.skipped + work.dues.length - dues.length
      return { ...work, dues, ids: work.ids.slice(work.dues.length - dues.length), state: { ...work.state, skipped } }
    })
  }
}

/** The entries of a leader, and which of them is due first. */
class Book {
  readonly #parts: BeatParts
  readonly #entries = new Map<string, Known>()
  readonly #warned = new Set<string>()
  #heap = newHeap()

  constructor(parts: BeatParts) {
    this.#parts = parts
  }

  get size(): number {
    return this.#entries.size
  }

  /** Infinity when nothing is due any more. */
  get nextAtMs(): number {
    this.#dropOutdated()
    return this.#heap.top?.atMs ?? Number.POSITIVE_INFINITY
  }

  /** Takes entries in, or takes them back as they are. */
  put(entries: readonly StoredEntry[]): void {
    for (const { name, revision, value } of entries) {
      const entry = decodeEntry(value)
      if (entry === undefined) {
        this.#warn(name, 'an entry of the schedule was written by another version, and is left alone')
        continue
      }
      const old = this.#entries.get(name)
      if (old !== undefined) old.isGone = true
      const known = { name, revision, value, atMs: Number.POSITIVE_INFINITY, isGone: false, ready: undefined }
      this.#entries.set(name, known)
      this.#place(known, entry)
    }
    if (this.#heap.size > 2 * this.#entries.size + groupSize) this.#clean()
  }

  forget(names: readonly string[]): void {
    for (const name of names) {
      const known = this.#entries.get(name)
      if (known !== undefined) known.isGone = true
      this.#entries.delete(name)
    }
  }

  advanced(known: Known, value: string, entry: Entry): void {
    known.revision += 1
    known.value = value
    known.ready = undefined
    this.#place(known, entry)
  }

  takeDue(nowMs: number, max: number): Known[] {
    const due: Known[] = []
    while (due.length < max) {
      this.#dropOutdated()
      const top = this.#heap.top
      if (top === undefined || top.atMs > nowMs) break
      this.#heap.pop()
      due.push(top.known)
    }
    return due
  }

  /** Those due until then that were not made ready yet. */
  dueSoon(untilMs: number): Known[] {
    const soon = this.takeDue(untilMs, mostReady)
    for (const known of soon) this.#heap.push({ atMs: known.atMs, known })
    return soon.filter(({ ready }) => ready === undefined)
  }

  /** What is to be done for entries that are due. */
  turns(due: readonly Known[], nowMs: number): Work[] {
    return due.flatMap((known) => {
      const entry = decodeEntry(known.value)
      const schedule = entry === undefined ? undefined : this.#scheduleOf(known.name, entry)
      if (entry === undefined || schedule === undefined) return []
      try {
        const { dues, missed, state } = takeTurn(known.name, entry.spec, entry.state, schedule, nowMs)
        if (missed > 0) this.#parts.logger.warn({ entry: known.name, missed }, 'times of an entry were missed')
        const { turn } = entry.state
        const ids = dues.map((dueMs) => firingId(this.#parts.scope, known.name, turn, dueMs))
        return [{ known, entry, dues, ids, state }]
      } catch (error) {
        this.#warn(known.name, 'a schedule of your own threw; its entry is left alone', error)
        return []
      }
    })
  }

  /** After the clock was put back: each entry is placed anew. */
  rebuild(): void {
    this.#heap = newHeap()
    this.put([...this.#entries.values()])
  }

  #place(known: Known, entry: Entry): void {
    const schedule = this.#scheduleOf(known.name, entry)
    if (schedule === undefined) return
    const { spec } = entry
    let { state } = entry
    try {
      // The code may have changed since it was asked.
      if ('custom' in spec.schedule) {
        state = { ...state, dueMs: nextDue(spec, schedule, state.cursorMs) }
      }
      state = afterClockStep(spec, state, schedule, this.#parts.clock.now())
    } catch (error) {
      this.#warn(known.name, 'a schedule of your own threw; its entry is left alone', error)
      return
    }
    if (state !== entry.state) known.value = encodeEntry({ ...entry, state })
    known.atMs = wakeAt(known.name, spec, state)
    if (known.atMs < Number.POSITIVE_INFINITY) this.#heap.push({ atMs: known.atMs, known })
  }

  #scheduleOf(name: string, { spec }: Entry): Schedule | undefined {
    const schedule = scheduleOf(spec, this.#parts.own.get(name))
    if (schedule === undefined)
      this.#warn(name, 'the schedule of an entry is code that is not here; it waits for a beat that has it')
    return schedule
  }

  #dropOutdated(): void {
    for (let top = this.#heap.top; top !== undefined; top = this.#heap.top) {
      if (!top.known.isGone && top.known.atMs === top.atMs) return
      this.#heap.pop()
    }
  }

  #clean(): void {
    const places = [...this.#heap.values()].filter(({ atMs, known }) => !known.isGone && known.atMs === atMs)
    this.#heap = newHeap()
    for (const place of places) this.#heap.push(place)
  }

  /** Once for each entry. */
  #warn(name: string, message: string, error?: unknown): void {
    if (this.#warned.has(name)) return
    this.#warned.add(name)
    this.#parts.logger.warn({ scope: this.#parts.scope, entry: name, ...(error !== undefined && { error }) }, message)
  }
}

/** Notices when the time of day does not pass as time does. */
class WallClock {
  readonly #parts: BeatParts
  #nowMs: number
  #monotonicMs: number

  constructor(parts: BeatParts) {
    this.#parts = parts
    this.#nowMs = parts.clock.now()
    this.#monotonicMs = parts.clock.monotonic()
  }

  wasPutBack(): boolean {
    const { clock, logger } = this.#parts
    const nowMs = clock.now()
    const monotonicMs = clock.monotonic()
    const byMs = Math.round(nowMs - this.#nowMs - (monotonicMs - this.#monotonicMs))
    this.#nowMs = nowMs
    this.#monotonicMs = monotonicMs
    if (Math.abs(byMs) >= stepMs) logger.warn({ byMs }, 'the clock was put forward or back, or the machine slept')
    return byMs <= -stepMs
  }
}

function newHeap(): Heap<Place> {
  return new Heap((one, other) => one.atMs < other.atMs)
}

function isLost(error: unknown): boolean {
  return error instanceof LeaseLostError
}

/** What is wrong with one call, and not with the broker. */
function isOfOneCall(error: unknown): boolean {
  const codes: readonly string[] = ['PAYLOAD_TOO_LARGE', 'PAYLOAD_INVALID', 'CONFIG_INVALID', 'INPUT_INVALID']
  return error instanceof CeleriacError && codes.includes(error.code)
}

/** What was made ready, unless another due time has come meanwhile, or it is too late for this one. */
function stillReady({ ready, name, atMs }: Known, nowMs: number): Step | undefined {
  if (!ready || nowMs < atMs) return undefined
  const { spec, state } = ready.entry
  const lastsMs = Math.min(readyForMs, spec.windowMs ?? readyForMs)
  return nowMs <= atMs + lastsMs && nowMs < wakeAt(name, spec, state) ? ready : undefined
}

function stepOf(work: Work, calls: readonly TaskCall[], state: EntryState): Step {
  const { known, dues, ids } = work
  const entry = { ...work.entry, state }
  return { known, dues, ids: calls.length > 0 ? ids : [], calls, entry, value: encodeEntry(entry), work }
}

/** The due times are dealt with, and nothing was sent for them. */
function unsent({ entry, state, dues }: Work, error: unknown): EntryState {
  const { lastDueMs, lastSentMs, lastId, sent } = entry.state
  const lastError = (error as Error).message
  return { ...state, lastDueMs, lastSentMs, lastId, sent, missed: state.missed + dues.length, lastError }
}
