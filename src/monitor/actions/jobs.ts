/**
 * Actions on all tasks, or all dead letters, that fit a filter. They go through them a part at a time and note how far
 * they have come: a monitor that is ended goes on with them when it is started again. What a crash repeats is the one
 * task that was under way, which is sent again under the same new id.
 */
import { createHash, randomUUID } from 'node:crypto'
import type { Celeriac } from '../../app.ts'
import type { Clock } from '../../clock.ts'
import { sleep } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { DeadLetter } from '../../send/dead-letters.ts'
import type { Job, JobStore } from '../store/job-store.ts'
import type { MonitorStore } from '../store/store.ts'
import type { TaskFilter } from '../store/task-query.ts'
import { fingerprintOf } from './fingerprint.ts'
import type { TaskActions } from './tasks.ts'

/** Which dead letters. All of it must fit. */
export interface LetterFilter {
  readonly queue?: string | undefined
  readonly ids?: readonly string[] | undefined
  readonly task?: string | undefined
  /** Of a group, see `fingerprintOf`. */
  readonly fingerprint?: string | undefined
}

export type Work =
  | {
      readonly action: 'retry' | 'revoke' | 'terminate'
      readonly filter: TaskFilter
      readonly perSecond: number | null
    }
  | {
      readonly action: 'redrive'
      readonly letters: LetterFilter
      readonly edit: Edit | null
      readonly perSecond: number | null
    }
  | { readonly action: 'discard'; readonly letters: LetterFilter; readonly perSecond: null }

export interface Edit {
  readonly args?: readonly unknown[] | undefined
  readonly kwargs?: Readonly<Record<string, unknown>> | undefined
}

export interface JobsParts {
  readonly app: Celeriac
  readonly store: MonitorStore
  readonly jobs: JobStore
  readonly actions: TaskActions
  readonly clock: Clock
  /** Whenever one has come further. */
  readonly onChange: (job: Job<Work>) => void
}

/** Of one control message, and of one look at the store. */
const revokedAtOnce = 200
const retriedAtOnce = 50
/** Dead letters in one go through their queue. */
const lettersAtOnce = 500
/** Looks again for dead letters that should be there, and the time in between. */
const maxMisses = 10
const missedForMs = 200
const keptErrors = 20
/** Running at the same time: each has the broker to itself for a moment. */
const maxRunning = 5
export const maxListedLetters = 10_000

export class Jobs {
  readonly #parts: JobsParts
  readonly #running = new Map<string, { readonly stop: AbortController; readonly ended: Promise<void> }>()

  constructor(parts: JobsParts) {
    this.#parts = parts
  }

  /** Goes on with what was under way when the monitor ended. */
  resume(): void {
    for (const job of this.all()) if (job.state === 'running') this.#run(job)
  }

  all(): Job<Work>[] {
    return this.#parts.jobs.all() as Job<Work>[]
  }

  get(id: string): Job<Work> | undefined {
    return this.#parts.jobs.get(id) as Job<Work> | undefined
  }

  /** How many it would be done to. */
  async count(work: Work): Promise<number> {
    if ('filter' in work) return this.#parts.store.query.count(work.filter)
    return (await this.#letters(work.letters, this.#parts.clock.now())).length
  }

  /** @throws CeleriacError `BROKER_BUSY` while too many are running */
  async start(work: Work, user: string): Promise<Job<Work>> {
    if (this.#running.size >= maxRunning) {
      throw new CeleriacError('BROKER_BUSY', `${maxRunning} such actions are running; wait for one, or cancel one`)
    }
    const job: Job<Work> = {
      id: randomUUID(),
      at: this.#parts.clock.now(),
      user,
      state: 'running',
      work,
      total: await this.count(work),
      done: 0,
      failed: 0,
      errors: [],
      cursor: null,
    }
    this.#save(job)
    this.#run(job)
    return job
  }

  /** Ends it where it is. @returns undefined where there is none */
  async cancel(id: string): Promise<Job<Work> | undefined> {
    const running = this.#running.get(id)
    running?.stop.abort('cancelled')
    await running?.ended
    return this.get(id)
  }

  /** Interrupts all of them; they go on when the monitor is started again. */
  async stop(): Promise<void> {
    for (const { stop } of this.#running.values()) stop.abort('stopped')
    await Promise.all([...this.#running.values()].map(({ ended }) => ended))
  }

  #run(job: Job<Work>): void {
    const stop = new AbortController()
    const ended = this.#work(job, stop.signal)
      .catch((error: unknown) => this.#end(job.id, 'failed', messageOf(error)))
      .finally(() => this.#running.delete(job.id))
    this.#running.set(job.id, { stop, ended })
  }

  async #work(job: Job<Work>, signal: AbortSignal): Promise<void> {
    const { work } = job
    if ('filter' in work) {
      if (work.action === 'retry') await this.#retry(job, work.filter, work.perSecond, signal)
      else await this.#revoke(job, work.filter, work.action === 'terminate', signal)
    } else await this.#settleLetters(job, work, signal)
    if (!signal.aborted) this.#end(job.id, 'done')
    else if (signal.reason === 'cancelled') this.#end(job.id, 'cancelled')
  }

  async #retry(job: Job<Work>, filter: TaskFilter, perSecond: number | null, signal: AbortSignal): Promise<void> {
    const { store, actions, clock } = this.#parts
    const frozen = { ...filter, to: Math.min(filter.to ?? Number.POSITIVE_INFINITY, job.at) }
    for (let { cursor } = job; !signal.aborted; ) {
      const { tasks, next } = store.query.page(frozen, retriedAtOnce, cursor)
      for (const task of tasks) {
        if (signal.aborted) return
        try {
          await actions.retry(task, { newId: idFor(job.id, task.uuid) })
          this.#note(job.id, { done: 1, cursor: task.no })
        } catch (error) {
          this.#note(job.id, { failed: 1, cursor: task.no, error: `${task.uuid}: ${messageOf(error)}` })
        }
        if (perSecond !== null) await sleep(clock, 1_000 / perSecond, signal)
      }
      if (next === null) return
      cursor = next
    }
  }

  async #revoke(job: Job<Work>, filter: TaskFilter, terminate: boolean, signal: AbortSignal): Promise<void> {
    const { store, actions } = this.#parts
    for (let { cursor } = job; !signal.aborted; ) {
      const { tasks, next } = store.query.page(filter, revokedAtOnce, cursor)
      if (tasks.length > 0)
        await actions.revoke(
          tasks.map(({ uuid }) => uuid),
          { terminate },
        )
      this.#note(job.id, { done: tasks.length, cursor: next })
      if (next === null) return
      cursor = next
    }
  }

  /** Those that died before the job began: one that dies again is not met again. */
  async #settleLetters(
    job: Job<Work>,
    work: Extract<Work, { letters: LetterFilter }>,
    signal: AbortSignal,
  ): Promise<void> {
    const { app, clock } = this.#parts
    const { perSecond } = work
    // A cancelled one ends within some seconds.
    const most = perSecond === null ? lettersAtOnce : Math.max(1, Math.min(lettersAtOnce, Math.round(perSecond * 5)))
    for (let misses = 0; !signal.aborted; ) {
      let chosen = 0
      const filter = (letter: DeadLetter): boolean => {
        if (chosen >= most || signal.aborted || !fits(letter, work.letters, job.at)) return false
        chosen += 1
        return true
      }
      const choice = { filter, ...(work.letters.queue !== undefined && { queue: work.letters.queue }) }
      const edit = work.action === 'redrive' && work.edit !== null ? { edit: () => definedOf(work.edit as Edit) } : {}
      const rate = perSecond === null ? {} : { perSecond }
      const done =
        work.action === 'discard'
          ? await app.deadLetters.drop(choice)
          : await app.deadLetters.redrive({ ...choice, ...rate, ...edit })
      this.#note(job.id, { done })
      if (done === most) continue
      // Where a look takes messages away for a moment, somebody who looks hides some from us.
      const isSure = app.broker.capabilities.silentPeek || (this.get(job.id)?.done ?? 0) >= job.total
      misses += 1
      if (isSure || misses > maxMisses) return
      await sleep(clock, missedForMs, signal)
    }
  }

  async #letters(filter: LetterFilter, atMs: number): Promise<DeadLetter[]> {
    const { queue } = filter
    const letters = await this.#parts.app.deadLetters.list({
      limit: maxListedLetters,
      ...(queue !== undefined && { queue }),
    })
    return letters.filter((letter) => fits(letter, filter, atMs))
  }

  #note(
    id: string,
    { done = 0, failed = 0, cursor, error }: { done?: number; failed?: number; cursor?: number | null; error?: string },
  ): void {
    const job = this.get(id)
    if (job === undefined) return
    this.#save({
      ...job,
      done: job.done + done,
      failed: job.failed + failed,
      errors: error === undefined ? job.errors : [...job.errors, error].slice(0, keptErrors),
      ...(cursor !== undefined && { cursor }),
    })
  }

  #end(id: string, state: Job['state'], error?: string): void {
    const job = this.get(id)
    if (job === undefined) return
    this.#save({ ...job, state, errors: error === undefined ? job.errors : [...job.errors, error] })
  }

  #save(job: Job<Work>): void {
    this.#parts.jobs.save(job)
    this.#parts.onChange(job)
  }
}

function fits(letter: DeadLetter, { queue, ids, task, fingerprint }: LetterFilter, atMs: number): boolean {
  const diedAtMs = Date.parse(letter.at)
  if (diedAtMs > atMs) return false
  return (
    (queue === undefined || letter.queue === queue) &&
    (ids === undefined || ids.includes(letter.id)) &&
    (task === undefined || letter.task === task) &&
    (fingerprint === undefined || fingerprintOf(letter).fingerprint === fingerprint)
  )
}

function definedOf({ args, kwargs }: Edit): { args?: readonly unknown[]; kwargs?: Readonly<Record<string, unknown>> } {
  return { ...(args !== undefined && { args }), ...(kwargs !== undefined && { kwargs }) }
}

/** The same whenever it is asked for: a retry that a crash repeats has the same id. */
function idFor(job: string, task: string): string {
  const hex = createHash('sha256').update(`${job} ${task}`).digest('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
