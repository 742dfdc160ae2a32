/**
 * A pool of children: `processes` (Celery's prefork) and `threads`. Each child runs one task at a time.
 *
 *     execute → backlog → a child that is free → ended
 *                 ↑            │
 *                 └─ the child ended, and the job was not what ended it
 *
 * A child that ends with one job in its hands has lost that job. Where it had several in its pipeline, nobody can tell
 * which one ended it; each of them then runs again in a child of its own, where it can be told.
 */
import { type Clock, sleep, type Timer } from '../clock.ts'
import { CeleriacError, TimeLimitExceeded } from '../errors.ts'
import { decodeJson, encodeJson } from '../json.ts'
import type { Logger } from '../logger.ts'
import type { Optimization } from '../pool-kinds.ts'
import type { Child, StartChild } from './child.ts'
import {
  type FromChild,
  type Question,
  receiveEnd,
  receiveError,
  type SentCall,
  type SentEnd,
  type SentJob,
  sendError,
  sendReason,
} from './child-messages.ts'
import type { Execution, Job, Limits } from './job.ts'
import type { BatchOutcome, RunOutcome } from './outcome.ts'
import type { Pool, Recycled } from './pool.ts'
import { outcomeOfError } from './run.ts'
import type { Kept, StepStore } from './steps.ts'
import { outcomeOfStop } from './stop-reasons.ts'

export interface ChildPoolSettings {
  readonly kind: 'processes' | 'threads'
  readonly size: number
  readonly optimization: Optimization
  /** A child is replaced after so many tasks; Infinity = never. */
  readonly maxTasksPerChild: number
  /** A child that has grown so large is replaced after its task, in bytes; Infinity = never. */
  readonly maxMemoryPerChildBytes: number
}

export interface ChildPoolParts<J extends Job> extends StepStore<J> {
  readonly startChild: StartChild
  readonly clock: Clock
  readonly logger: Logger
  readonly worker: string
  readonly limitsOf: (job: J) => Limits
  readonly updateState: (job: J, state: string, meta: unknown) => Promise<void>
}

/** Jobs before one child with `throughput`, the running one included. */
const pipelineDepth = 64
/** A child that is to end may take so long for it, in ms. */
const stopGraceMs = 5_000
/** Pause before a child is started again that could not be, growing. In ms. */
const restartPauseMs = { first: 100, longest: 5_000 }

interface Member<J extends Job> {
  readonly child: Child
  /** In the order in which it runs them. */
  readonly jobs: Map<number, ChildExecution<J>>
  /** To be sent at the end of this turn. */
  readonly outgoing: ChildExecution<J>[]
  isReady: boolean
  /** Why it cannot run anything. */
  unfitBecause: Error | undefined
  /** If anything: then it takes no more jobs, and ends once it has none. */
  leavesBecause: keyof Recycled | 'shrunk' | undefined
  /** Jobs given to it so far. */
  given: number
  onReady: (failure: Error | undefined) => void
}

export class ChildPool<J extends Job> implements Pool<J> {
  readonly kind: 'processes' | 'threads'
  readonly #settings: ChildPoolSettings
  readonly #parts: ChildPoolParts<J>
  readonly #members = new Set<Member<J>>()
  readonly #backlog: ChildExecution<J>[] = []
  readonly #depth: number
  readonly #recycled = { tasks: 0, memory: 0, command: 0, killed: 0, lost: 0 }
  #size: number
  #lastJob = 0
  #startFailures = 0
  #isStopping = false
  #willFlush = false

  constructor(settings: ChildPoolSettings, parts: ChildPoolParts<J>) {
    this.kind = settings.kind
    this.#settings = settings
    this.#parts = parts
    this.#size = settings.size
    this.#depth = settings.optimization === 'throughput' ? pipelineDepth : 1
  }

  get size(): number {
    return this.#size
  }

  get capacity(): number {
    return this.#size * this.#depth
  }

  get recycled(): Recycled {
    return { ...this.#recycled }
  }

  async start(): Promise<void> {
    const ready = Array.from({ length: this.#size }, () => this.#add())
    try {
      await Promise.all(ready)
    } catch (error) {
      await this.stop()
      throw error
    }
  }

  execute(job: J): Execution {
    this.#lastJob += 1
    return new ChildExecution(this.#lastJob, job, this)
  }

  resize(size: number): void {
    this.#size = size
    const staying = this.#staying()
    // Idle ones first: they can go at once.
    staying.sort((a, b) => a.jobs.size - b.jobs.size)
    for (const member of staying.slice(0, Math.max(0, staying.length - size))) this.#dismiss(member, 'shrunk')
    this.#fill()
  }

  recycle(): void {
    for (const member of this.#staying()) this.#dismiss(member, 'command')
  }

  pids(): number[] {
    return this.kind === 'threads' ? [] : [...this.#members].map(({ child }) => child.pid)
  }

  async stop(): Promise<void> {
    this.#isStopping = true
    for (const member of this.#members) this.#dismiss(member, 'shrunk')
    const { clock } = this.#parts
    const deadline = clock.monotonic() + stopGraceMs
    while (this.#members.size > 0 && clock.monotonic() < deadline) await this.#memberLeft(deadline - clock.monotonic())
    for (const { child } of this.#members) child.kill()
    while (this.#members.size > 0) await this.#memberLeft(stopGraceMs)
  }

  /** Takes a job in. */
  submit(execution: ChildExecution<J>): void {
    this.#backlog.push(execution)
    this.#dispatch()
  }

  abort(execution: ChildExecution<J>, reason: CeleriacError): void {
    if (execution.member !== undefined) {
      execution.member.child.send({ kind: 'abort', job: execution.id, reason: sendReason(reason) })
    } else {
      this.#withdraw(execution, outcomeOfStop(reason))
    }
  }

  kill(execution: ChildExecution<J>, outcome: RunOutcome): void {
    const { member } = execution
    if (member === undefined) return this.#withdraw(execution, outcome)
    member.jobs.delete(execution.id)
    execution.end(outcome)
    // What else was in its pipeline is not to blame.
    this.#takeBack(member)
    member.leavesBecause ??= 'killed'
    member.isReady = false
    member.child.kill()
  }

  limitsOf(job: J): Limits {
    return this.#parts.limitsOf(job)
  }

  after(ms: number, callback: () => void): Timer {
    return this.#parts.clock.after(ms, callback)
  }

  #withdraw(execution: ChildExecution<J>, outcome: RunOutcome | undefined): void {
    const at = this.#backlog.indexOf(execution)
    if (at < 0 || outcome === undefined) return
    this.#backlog.splice(at, 1)
    execution.end(outcome)
  }

  #dispatch(): void {
    while (this.#backlog.length > 0) {
      const next = this.#backlog[0] as ChildExecution<J>
      const member = this.#memberFor(next)
      if (member === undefined) return
      this.#backlog.shift()
      next.member = member
      member.jobs.set(next.id, next)
      member.outgoing.push(next)
      member.given += 1
      this.#flushSoon()
    }
  }

  /** The one with the least to do. */
  #memberFor({ isAlone }: ChildExecution<J>): Member<J> | undefined {
    const depth = isAlone ? 1 : this.#depth
    let best: Member<J> | undefined
    for (const member of this.#members) {
      const { jobs } = member
      if (
        !member.isReady ||
        member.leavesBecause !== undefined ||
        jobs.size >= depth ||
        member.given >= this.#settings.maxTasksPerChild
      ) {
        continue
      }
      if (jobs.size > 0 && isAloneIn(member)) continue
      if (jobs.size === 0) return member
      if (best === undefined || jobs.size < best.jobs.size) best = member
    }
    return best
  }

  /** Jobs given in one turn leave together. */
  #flushSoon(): void {
    if (this.#willFlush) return
    this.#willFlush = true
    queueMicrotask(() => {
      this.#willFlush = false
      for (const member of this.#members) this.#flush(member)
    })
  }

  #flush({ child, outgoing }: Member<J>): void {
    if (outgoing.length === 0) return
    const executions = outgoing.splice(0)
    for (const execution of executions) execution.sent()
    child.send({ kind: 'run', jobs: executions.map((execution) => execution.wire) })
  }

  /** Starts another child; resolves when it is ready. @throws what keeps it from being that */
  #add(): Promise<void> {
    return new Promise((resolve, reject) => {
      const child = this.#parts.startChild({
        onMessage: (message) => this.#heard(member, message),
        onEnd: (how) => this.#ended(member, how),
      })
      const member: Member<J> = {
        child,
        jobs: new Map(),
        outgoing: [],
        isReady: false,
        unfitBecause: undefined,
        leavesBecause: undefined,
        given: 0,
        onReady: (failure) => (failure === undefined ? resolve() : reject(failure)),
      }
      this.#members.add(member)
    })
  }

  #heard(member: Member<J>, message: FromChild): void {
    switch (message.kind) {
      case 'ready':
        member.isReady = true
        this.#startFailures = 0
        member.onReady(undefined)
        if (member.leavesBecause !== undefined) this.#sendOff(member)
        return this.#dispatch()
      case 'unfit':
        member.unfitBecause = receiveError(message.error)
        return member.onReady(member.unfitBecause)
      case 'ended':
        for (const end of message.ends) this.#jobEnded(member, end)
        if ((message.memoryBytes ?? 0) > this.#settings.maxMemoryPerChildBytes) this.#dismiss(member, 'memory')
        this.#retire(member)
        return this.#dispatch()
      case 'ask':
        return void this.#answer(member, message)
      case 'log':
        this.#parts.logger[message.level](JSON.parse(message.fields) as object, message.message)
    }
  }

  #jobEnded(member: Member<J>, { job, outcome, children, steps }: SentEnd): void {
    const execution = member.jobs.get(job)
    // One that was killed meanwhile has its outcome.
    if (execution === undefined) return
    member.jobs.delete(job)
    execution.job.children.push(...children)
    execution.job.steps?.push(...steps)
    execution.end(receiveEnd(outcome))
  }

  async #answer(member: Member<J>, { job: id, request, question }: FromChild & { kind: 'ask' }): Promise<void> {
    const job = member.jobs.get(id)?.job
    let answer: string | undefined
    let error: unknown
    try {
      if (job !== undefined) answer = await this.#ask(job, question)
    } catch (failure) {
      error = failure
    }
    member.child.send({ kind: 'answer', request, answer, error: error === undefined ? undefined : sendError(error) })
  }

  async #ask(job: J, question: Question): Promise<string | undefined> {
    const { updateState, loadStep, keepStep } = this.#parts
    switch (question.what) {
      case 'updateState':
        await updateState(job, question.state, JSON.parse(question.meta))
        return undefined
      case 'keepStep':
        await keepStep(job, question.name, decodeJson(question.kept) as Kept)
        return undefined
      case 'loadStep': {
        const kept = await loadStep(job, question.name)
        return kept === undefined ? undefined : encodeJson(kept)
      }
    }
  }

  /** Lets a child go that has run its share. */
  #retire(member: Member<J>): void {
    if (member.given >= this.#settings.maxTasksPerChild) member.leavesBecause ??= 'tasks'
    if (member.leavesBecause !== undefined && member.jobs.size === 0) this.#sendOff(member)
  }

  #dismiss(member: Member<J>, reason: keyof Recycled | 'shrunk'): void {
    member.leavesBecause ??= reason
    if (member.jobs.size === 0) this.#sendOff(member)
  }

  #sendOff(member: Member<J>): void {
    if (!member.isReady) return
    member.isReady = false
    member.child.send({ kind: 'stop' })
    const timer = setTimeout(() => member.child.kill(), stopGraceMs)
    timer.unref()
  }

  #ended(member: Member<J>, how: string): void {
    this.#members.delete(member)
    const { leavesBecause = 'lost' } = member
    const wasStarting = !member.isReady && member.leavesBecause === undefined
    if (!wasStarting && leavesBecause !== 'shrunk') this.#recycled[leavesBecause] += 1
    member.onReady(new CeleriacError('WORKER_LOST', `a child of the worker ${how} before it was ready`))
    const [first, ...others] = member.jobs.values()
    if (first !== undefined && others.length === 0) {
      member.jobs.clear()
      this.#parts.logger.error(
        { worker: this.#parts.worker, pid: member.child.pid, taskId: first.job.message.id },
        `a child ${how}`,
      )
      first.end({
        kind: 'lost',
        error: new CeleriacError('WORKER_LOST', `the child that ran it ${how}`),
      })
    } else {
      for (const execution of member.jobs.values()) execution.isAlone = true
      this.#takeBack(member)
    }
    this.#onMemberLeft()
    if (wasStarting) void this.#fillLater(member.unfitBecause, how)
    else this.#fill()
    this.#dispatch()
  }

  /** Its jobs go before all others, in their order. */
  #takeBack(member: Member<J>): void {
    const executions = [...member.jobs.values()]
    member.jobs.clear()
    member.outgoing.length = 0
    for (const execution of executions) execution.member = undefined
    this.#backlog.unshift(...executions)
  }

  #staying(): Member<J>[] {
    return [...this.#members].filter(({ leavesBecause }) => leavesBecause === undefined)
  }

  /**
   * Starts as many as are missing. One that is still leaving counts until it is gone, so that two generations never
   * take the memory of both.
   */
  #fill(): void {
    while (!this.#isStopping && this.#members.size < this.#size) {
      // A failure to start is told by its end.
      this.#add().catch(() => undefined)
    }
  }

  async #fillLater(error: Error | undefined, how: string): Promise<void> {
    if (this.#isStopping) return
    this.#startFailures += 1
    const pauseMs = Math.min(restartPauseMs.longest, restartPauseMs.first * 2 ** this.#startFailures)
    const { logger, worker } = this.#parts
    logger.error({ worker, pauseMs, error }, `a child ${how} before it was ready; starting another`)
    await sleep(this.#parts.clock, pauseMs)
    this.#fill()
  }

  #onMemberLeft: () => void = () => undefined

  #memberLeft(timeoutMs: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onMemberLeft = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }
}

function isAloneIn<J extends Job>({ jobs }: Member<J>): boolean {
  for (const { isAlone } of jobs.values()) return isAlone
  return false
}

function callOf({ wire: message, queue, deliveryCount }: Job): SentCall {
  return { message, queue, deliveryCount }
}

/** A job in a pool of children. */
class ChildExecution<J extends Job> implements Execution {
  readonly id: number
  readonly job: J
  member: Member<J> | undefined
  /** Shares its child with no other: it can be ended by force, or is suspected. */
  isAlone: boolean
  readonly #pool: ChildPool<J>
  readonly #limits: Limits
  #resolve: (outcome: RunOutcome | BatchOutcome) => void = () => undefined
  #timer: Timer | undefined

  constructor(id: number, job: J, pool: ChildPool<J>) {
    this.id = id
    this.job = job
    this.#pool = pool
    this.#limits = pool.limitsOf(job)
    this.isAlone = this.#limits.hardMs !== undefined
  }

  get pid(): number | null {
    return this.member?.child.pid ?? null
  }

  get wire(): SentJob {
    return { ...callOf(this.job), id: this.id, softMs: this.#limits.softMs, batch: this.job.batch?.map(callOf) }
  }

  outcome(): Promise<RunOutcome | BatchOutcome> {
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#pool.submit(this)
    })
  }

  /** Its time begins. */
  sent(): void {
    const { hardMs } = this.#limits
    if (hardMs === undefined) return
    this.#timer = this.#pool.after(hardMs, () => {
      this.#pool.kill(this, outcomeOfError(new TimeLimitExceeded(hardMs), this.job))
    })
  }

  end(outcome: RunOutcome | BatchOutcome): void {
    this.#timer?.cancel()
    this.#resolve(outcome)
  }

  abort(reason: CeleriacError): void {
    this.#pool.abort(this, reason)
  }

  kill(reason: CeleriacError): boolean {
    const outcome = outcomeOfStop(reason)
    if (outcome !== undefined) this.#pool.kill(this, outcome)
    return outcome !== undefined
  }
}
