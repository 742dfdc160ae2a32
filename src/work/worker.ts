/**
 * A worker: fetches what its slots can start, lets each delivery pass the gate, has a pool run it, settles it.
 *
 *     fetch → lane → gate → run → settle
 *
 * It stops in three stages. `stop()`: fetches no more, hands back what has not started, lets the running tasks end.
 * Past the shutdown timeout, or on `interrupt()`: their signals abort, and what they throw puts them back in the queue.
 * Past a last grace: the rest is released without them; their late outcomes are refused by the lease.
 * None of this costs a task a retry or a delivery.
 */
import type { Broker, Consumer, Delivery } from '../broker/broker.ts'
import type { Limiter } from '../broker/limiter.ts'
import { type Clock, sleep } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { type Execution, type Limits, limitsOf } from '../pool/job.ts'
import type { BatchOutcome } from '../pool/outcome.ts'
import { outcomeOfError } from '../pool/run.ts'
import { outcomeOfStop, Revocation, WorkerShutdown } from '../pool/stop-reasons.ts'
import type { PoolKind } from '../pool-kinds.ts'
import { decodeTask } from '../send/decode-task.ts'
import type { ResolvedCircuitBreaker, ResolvedRateLimit } from '../task/limits.ts'
import { type Attempt, callsOf, lossesOf } from './attempt.ts'
import { Autoscaler } from './autoscaler.ts'
import { CircuitBreakers } from './circuit-breakers.ts'
import { type Admission, ClusterLimits } from './cluster-limits.ts'
import { acknowledged } from './early-ack.ts'
import { type GateParts, passGate } from './gate.ts'
import { Lane } from './lane.ts'
import { heldUpMs, LoopWatch } from './loop-watch.ts'
import type { WorkerObserver } from './observer.ts'
import type { Outcome } from './outcome.ts'
import { pauseMs } from './pause.ts'
import { createPool, type PoolSettings } from './pools.ts'
import { RateLimits } from './rate-limits.ts'
import type { Revoked } from './revoked.ts'
import type { Settled, SettleParts } from './settle.ts'
import { Settling } from './settling.ts'
import { keepStep, loadStep, type StepRecordParts } from './step-records.ts'

export interface WorkerSettings extends PoolSettings {
  readonly name: string
  readonly queues: readonly string[]
  /** Where tasks run that do not say otherwise. */
  readonly pool: PoolKind
  /** Messages at hand, running ones included; undefined adapts. */
  readonly prefetch: number | undefined
  /** Bounds of its pool's size; undefined = it is fixed. */
  readonly autoscale: { readonly max: number; readonly min: number } | undefined
  readonly leaseMs: number
  readonly shutdownTimeoutMs: number
}

export interface WorkerParts extends GateParts, SettleParts {
  readonly broker: Broker
  readonly clock: Clock
  readonly logger: Logger
  /** For tasks that are limited in all workers together; there is one where a task asks for that. */
  readonly limiter: Limiter | undefined
}

export interface WorkerHealth {
  /** Whether a fetch was completed lately, or all slots are taken. A worker that cannot hear is not healthy. */
  readonly ok: boolean
  /** Since the last completed fetch, in ms. */
  readonly fetchedMsAgo: number
  readonly running: number
  readonly processed: number
}

/** A fetch ends after this time with or without messages, so that a deaf connection shows. */
const fetchWaitMs = 5_000
const unhealthyAfterMs = 3 * fetchWaitMs
/** Messages that wait this long for a slot go back for others to take. */
const stallMs = 500
/** After the signals were aborted, tasks have so long to give up. */
const interruptGraceMs = 5_000
/** And a store that does not take outcomes has so long to come back before the worker ends without it. */
const settleGraceMs = 10_000
const trialPauseMs = 1_000
/** Tasks that may have held up the event loop and are named. */
const suspectsShown = 5
/** Where the limits of a task cannot be asked, it is tried again after so long, in ms. */
const limitPauseMs = 2_000
/** What came for a pool that has more than it can use stays in the broker for so long, in ms. */
const parkMs = { least: 50, most: 1_000 }
/** After such messages came, the next fetch waits, so that a queue full of them is not turned over and over. In ms. */
const parkPauseMs = 250

export class Worker {
  readonly name: string
  readonly settings: WorkerSettings
  readonly startedAt: number
  readonly #parts: WorkerParts
  readonly #lane: Lane
  readonly #lanes = new Map<PoolKind, Lane>()
  readonly #settling: Settling
  readonly #queues: Set<string>
  readonly #observers = new Set<WorkerObserver>()
  readonly #stopping = new AbortController()
  readonly #limits = new Map<string, Limits>()
  readonly #rates: RateLimits
  readonly #breakers: CircuitBreakers
  readonly #loopWatch: LoopWatch
  readonly #clusterLimits: ClusterLimits | undefined
  readonly #autoscaler: Autoscaler | undefined
  /** Runs by task. */
  readonly #totals = new Map<string, number>()
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined
  #stallCheck: NodeJS.Timeout | undefined
  #stopped: Promise<void> | undefined
  #onRoom: () => void = () => undefined
  #isCutShort = false
  /**
   * The one run whose next loss of this worker would be its last. Several at once would be condemned together with the
   * one that kills; so the others wait their turn in the broker. Runs in processes of their own need no such care.
   */
  #onTrial: Execution | undefined
  #hasParked = false
  /** Revoked by force, in a batch whose other calls go on. */
  readonly #revokedInBatch = new Map<Attempt, Outcome>()
  #fetchedAt = 0
  #processed = 0

  constructor(settings: WorkerSettings, parts: WorkerParts) {
    this.name = settings.name
    this.settings = settings
    this.startedAt = parts.clock.now()
    this.#parts = parts
    this.#queues = new Set(settings.queues)
    this.#settling = new Settling(parts)
    this.#lane = this.#addLane(settings.pool)
    this.#rates = new RateLimits(parts.clock)
    for (const name of parts.registry.names())
      this.#rates.set(name, ratePerSecond(parts.registry.get(name)?.options.rateLimit))
    this.#breakers = new CircuitBreakers(parts.clock)
    const { limiter, clock, logger } = parts
    if (limiter !== undefined) {
      this.#clusterLimits = new ClusterLimits({ limiter, clock, logger, leaseMs: settings.leaseMs })
    }
    this.#loopWatch = new LoopWatch(clock, (lagMs) => {
      const suspects = this.active().filter(({ pid }) => pid === null)
      if (suspects.length > 0)
        this.#heldUp(
          lagMs,
          suspects.map(({ attempt }) => attempt),
        )
    })
    const lane = this.#lane
    const scaled = {
      get size() {
        return lane.pool.size
      },
      get demand() {
        return lane.running.size + lane.waiting.length
      },
      resize: (size: number) => this.resize(size),
    }
    if (settings.autoscale !== undefined) this.#autoscaler = new Autoscaler(scaled, settings.autoscale, parts.clock)
  }

  /** Starts its children, if it has some, and begins to consume. @throws CeleriacError why they cannot run the application */
  async start(): Promise<void> {
    const { queues, leaseMs, name } = this.settings
    await this.#lane.pool.start()
    this.#consumer = await this.#parts.broker.consume(queues, { leaseMs, name })
    this.#fetchedAt = this.#parts.clock.monotonic()
    // Kept referenced: a worker that waits for messages is alive.
    this.#stallCheck = setInterval(() => this.#handBackStalled(), stallMs)
    this.#autoscaler?.start()
    this.#loopWatch.start()
    this.#loop = this.#consume(this.#consumer)
  }

  /** Tells everything from now on to the observer, until the function that is returned is called. */
  observe(observer: WorkerObserver): () => void {
    this.#observers.add(observer)
    return () => this.#observers.delete(observer)
  }

  health(): WorkerHealth {
    const fetchedMsAgo = this.#parts.clock.monotonic() - this.#fetchedAt
    return {
      ok: this.#stopped === undefined && (this.#room() === 0 || fetchedMsAgo < unhealthyAfterMs),
      fetchedMsAgo,
      running: this.#runCount(),
      processed: this.#processed,
    }
  }

  /** Queues it consumes. */
  get queues(): string[] {
    return [...this.#queues]
  }

  /** Its pools, that of its own kind first. */
  get pools(): Lane['pool'][] {
    return [...this.#lanes.values()].map(({ pool }) => pool)
  }

  /** What runs now, with where it does. */
  active(): { readonly attempt: Attempt; readonly pid: number | null }[] {
    return [...this.#lanes.values()].flatMap(({ running }) =>
      Array.from(running, ([{ pid }, attempt]) => callsOf(attempt).map((call) => ({ attempt: call, pid }))).flat(),
    )
  }

  /** What was fetched and waits for a slot. */
  reserved(): readonly Delivery[] {
    return [...this.#lanes.values()].flatMap(({ waiting, gathering }) => [
      ...gathering.attempts().map(({ delivery }) => delivery),
      ...waiting,
    ])
  }

  /** Runs since the start, by task. */
  totals(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#totals)
  }

  /** Consumes one more queue. */
  async addQueue(queue: string): Promise<void> {
    await this.#consumer?.add(queue)
    this.#queues.add(queue)
  }

  async cancelQueue(queue: string): Promise<void> {
    this.#queues.delete(queue)
    await this.#consumer?.cancel(queue)
  }

  /** Limits of a task from now on, instead of its own; those that its messages bring stay above. */
  limit(task: string, limits: Limits): void {
    this.#limits.set(task, limits)
  }

  /** How often a task may start here. @param perSecond undefined = no limit */
  limitRate(task: string, perSecond: number | undefined): void {
    this.#rates.set(task, perSecond)
  }

  /** How late the event loop was when it was last looked at, in ms. */
  get loopLagMs(): number {
    return this.#loopWatch.lagMs
  }

  /** Undefined where its size is fixed. */
  get autoscaler(): Autoscaler | undefined {
    return this.#autoscaler
  }

  /** Aborts when it begins to stop. */
  get stopping(): AbortSignal {
    return this.#stopping.signal
  }

  /** Changes the size of its pool. @param size at least 1 */
  resize(size: number): void {
    this.#lane.pool.resize(size)
    this.#startWaiting(this.#lane)
    this.#onRoom()
  }

  /** What must not start here. */
  get revoked(): Revoked {
    return this.#parts.revoked
  }

  /**
   * Stops what runs of the revoked tasks: its signal aborts, and with `terminate` it is ended by force. Tells which of
   * them were running.
   */
  stopRevoked(terminate: boolean, signum: string | number | null): string[] {
    const found: string[] = []
    for (const lane of this.#lanes.values()) {
      for (const [execution, attempt] of lane.running) {
        const calls = callsOf(attempt)
        const covered = calls.filter(({ message }) => this.revoked.covers(message))
        if (covered.length === 0) continue
        found.push(...covered.map(({ message }) => message.id))
        const reason = new Revocation(terminate, signum)
        if (covered.length < calls.length) {
          if (terminate) for (const call of covered) this.#revokedInBatch.set(call, outcomeOfStop(reason) as Outcome)
        } else if (!terminate) execution.abort(reason)
        else if (!execution.kill(reason)) this.#endedByForce(lane, execution, attempt, outcomeOfStop(reason) as Outcome)
      }
    }
    return found
  }

  /** The three stages of the shutdown; resolves when all is settled or given back. A second call joins the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  /** Aborts the signals of what is running. A stop that is under way then waits no longer than the last grace. */
  interrupt(): void {
    this.#isCutShort = this.#stopped !== undefined
    for (const { running } of this.#lanes.values()) {
      for (const execution of running.keys()) execution.abort(new WorkerShutdown())
    }
    this.#onRoom()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  get #stepParts(): StepRecordParts {
    const { clock, results } = this.#parts
    return { clock, results, worker: this.name }
  }

  #addLane(kind: PoolKind): Lane {
    const { clock, logger } = this.#parts
    const pool = createPool<Attempt>(kind, this.settings, {
      clock,
      logger,
      worker: this.name,
      limitsOf: (attempt) => this.#limitsOf(attempt),
      updateState: async (attempt, state, meta) => {
        await Promise.all(callsOf(attempt).map((call) => this.#settling.saveState(call, state, meta)))
      },
      loadStep: (attempt, name) => loadStep(attempt, name, this.#stepParts),
      keepStep: (attempt, name, kept) => keepStep(attempt, name, kept, this.#stepParts),
    })
    const lane = new Lane(pool, this.settings.prefetch)
    this.#lanes.set(kind, lane)
    return lane
  }

  #limitsOf(attempt: Attempt): Limits {
    const own = limitsOf(attempt)
    const { softTimeLimitS, timeLimitS } = attempt.message
    const here = this.#limits.get(attempt.message.task)
    if (here === undefined) return own
    return {
      softMs: softTimeLimitS === null ? here.softMs : own.softMs,
      hardMs: timeLimitS === null ? here.hardMs : own.hardMs,
    }
  }

  async #consume(consumer: Consumer): Promise<void> {
    const { clock, logger } = this.#parts
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      const room = this.#room()
      if (room === 0) {
        await new Promise<void>((resolve) => {
          this.#onRoom = resolve
        })
        continue
      }
      try {
        const deliveries = await consumer.fetch(room, { waitMs: fetchWaitMs, signal })
        this.#fetchedAt = clock.monotonic()
        failures = 0
        for (const delivery of deliveries) this.#laneOf(delivery).waiting.push(delivery)
        for (const lane of this.#lanes.values()) this.#startWaiting(lane)
        if (this.#lanes.size > 1) this.#parkSurplus()
      } catch (error) {
        failures += 1
        logger.error({ worker: this.name, error }, 'fetching failed; trying again')
        await sleep(clock, pauseMs(failures), signal)
      }
      if (this.#hasParked) {
        this.#hasParked = false
        await sleep(clock, parkPauseMs, signal)
      }
    }
  }

  /** As much as the freest lane can use: which one a message is for is not known before it is here. */
  #room(): number {
    let most = 0
    for (const lane of this.#lanes.values()) most = Math.max(most, lane.room)
    return most
  }

  #runCount(): number {
    let count = 0
    for (const { running } of this.#lanes.values()) count += running.size
    return count
  }

  #laneOf(delivery: Delivery): Lane {
    const { registry, content } = this.#parts
    // Without a look into the message, which is better read when it is run.
    if (!registry.namesPools) return this.#lane
    let { task } = delivery.message.headers
    if (task === undefined) {
      try {
        task = decodeTask(delivery.message, content).task
      } catch {
        return this.#lane // Where the gate will say what is wrong with it.
      }
    }
    const kind = registry.get(String(task))?.options.pool ?? this.settings.pool
    const lane = this.#lanes.get(kind)
    if (lane !== undefined) return lane
    const added = this.#addLane(kind)
    added.pool.resize(added.pool.size)
    return added
  }

  #startWaiting(lane: Lane): void {
    const { clock } = this.#parts
    while (!lane.isFull && !this.#stopping.signal.aborted) {
      const batch = lane.gathering.size > 0 ? lane.gathering.takeReady(clock.monotonic()) : undefined
      if (batch !== undefined) {
        this.#startBatch(lane, batch)
        continue
      }
      const next = lane.waiting.shift()
      if (next === undefined) break
      this.#take(lane, next)
    }
    if (lane.gathering.size > 0) this.#watchGathering(lane)
  }

  /** Starts what has been gathered for long enough, if there is a slot then; else the next that is free does. */
  #watchGathering(lane: Lane): void {
    lane.deadline?.cancel()
    const { clock } = this.#parts
    const waitMs = lane.gathering.nextDeadline - clock.monotonic()
    if (waitMs < Number.POSITIVE_INFINITY) {
      lane.deadline = clock.after(Math.max(0, waitMs), () => {
        this.#startWaiting(lane)
        this.#onRoom()
      })
    }
  }

  #take(lane: Lane, delivery: Delivery): void {
    const passage = passGate(delivery, this.#parts, this.#parts.clock.now())
    if (!passage.pass) {
      const { message, outcome } = passage
      this.#settle({ delivery, message, attempt: undefined }, outcome, 0)
      return
    }
    const { attempt } = passage
    const { message, definition } = attempt
    const losses = lossesOf(message, delivery)
    lane.callsPerRun = definition.batching?.maxSize ?? 1
    if (definition.batching !== undefined && losses === 0) return this.#gather(lane, attempt)
    const waitMs = this.#breakers.ask(attempt) || this.#rates.take(message.task)
    if (waitMs > 0) {
      this.#settle({ delivery, message, attempt: undefined }, { kind: 'early', delayMs: waitMs }, 0)
      return
    }
    const isOnTrial = lane.pool.kind !== 'processes' && losses > 0 && losses + 1 >= definition.options.maxDeliveries
    if (isOnTrial && this.#onTrial !== undefined) {
      this.#settle({ delivery, message, attempt: undefined }, { kind: 'early', delayMs: trialPauseMs }, 0)
      return
    }
    // One that a worker was lost with may be what kills them: no others are put at its side.
    if (definition.batching !== undefined) {
      for (const observer of this.#observers) observer.onReceived?.(attempt)
      return this.#runBatch(lane, [attempt], isOnTrial)
    }
    const execution = lane.pool.execute(attempt)
    if (isOnTrial) this.#onTrial = execution
    lane.running.set(execution, attempt)
    const { concurrency, rateLimit } = definition.options
    const isLimited = concurrency !== undefined || rateLimit?.scope === 'cluster'
    void (isLimited ? this.#startLimited(lane, execution, attempt) : this.#start(lane, execution, attempt))
  }

  #gather(lane: Lane, attempt: Attempt): void {
    const { delivery, message } = attempt
    try {
      lane.gathering.add(attempt, this.#parts.clock.monotonic())
    } catch (error) {
      return this.#settle({ delivery, message, attempt }, outcomeOfError(error, attempt), 0)
    }
    for (const observer of this.#observers) observer.onReceived?.(attempt)
  }

  /** What was revoked or has expired meanwhile is left out; what may not start yet goes back as a whole. */
  #startBatch(lane: Lane, attempts: readonly Attempt[]): void {
    const now = this.#parts.clock.now()
    const calls = attempts.filter((attempt) => {
      const { delivery, message } = attempt
      const outcome: Outcome | undefined = this.revoked.covers(message)
        ? { kind: 'revoked', terminated: false, signum: null }
        : message.expiresMs !== null && message.expiresMs <= now
          ? { kind: 'expired' }
          : undefined
      if (outcome !== undefined) this.#settle({ delivery, message, attempt: undefined }, outcome, 0)
      return outcome === undefined
    })
    const [first] = calls
    if (first === undefined) return
    const waitMs = this.#breakers.ask(first) || this.#rates.take(first.message.task)
    if (waitMs === 0) return this.#runBatch(lane, calls, false)
    for (const { delivery, message } of calls) {
      this.#settle({ delivery, message, attempt: undefined }, { kind: 'early', delayMs: waitMs }, 0)
    }
  }

  #runBatch(lane: Lane, batch: readonly Attempt[], isOnTrial: boolean): void {
    const [first] = batch as readonly [Attempt]
    for (const call of batch) call.together = batch.length
    const attempt: Attempt = { ...first, batch }
    const execution = lane.pool.execute(attempt)
    if (isOnTrial) this.#onTrial = execution
    lane.running.set(execution, attempt)
    void this.#start(lane, execution, attempt)
  }

  #start(lane: Lane, execution: Execution, attempt: Attempt): Promise<void> {
    if (attempt.batch === undefined) for (const observer of this.#observers) observer.onReceived?.(attempt)
    const { acksLate } = attempt.definition.options
    return acksLate ? this.#run(lane, execution, attempt) : this.#runAcknowledged(lane, execution, attempt)
  }

  /** Starts it if the limits of all workers together allow it; its slot of them is its own until it ends. */
  async #startLimited(lane: Lane, execution: Execution, attempt: Attempt): Promise<void> {
    const { delivery, message } = attempt
    const limits = this.#clusterLimits as ClusterLimits
    let admission: Admission
    try {
      admission = await limits.admit(attempt, lane.prefetch.averageRunMs)
    } catch (error) {
      this.#parts.logger.error(
        { worker: this.name, taskId: message.id, error },
        'the limits of a task could not be asked',
      )
      admission = { kind: 'park', delayMs: limitPauseMs, reservedMs: undefined }
    }
    if (admission.kind === 'go') {
      await this.#start(lane, execution, attempt)
      if (admission.slot !== undefined) limits.release(admission.slot)
      return
    }
    const { delayMs, reservedMs } = admission
    const outcome: Outcome =
      reservedMs === undefined ? { kind: 'early', delayMs } : { kind: 'reserved', delayMs, reservedMs }
    this.#settle({ delivery, message, attempt }, outcome, 0)
    this.#freeSlot(lane, execution)
  }

  async #run(lane: Lane, execution: Execution, attempt: Attempt): Promise<void> {
    const { clock } = this.#parts
    const startedAt = clock.monotonic()
    lane.startedLastAt = startedAt
    for (const call of callsOf(attempt)) {
      call.startedAt = clock.now()
      if (call.definition.options.trackStarted) this.#settling.saveStarted(call, execution.pid ?? process.pid)
      for (const observer of this.#observers) observer.onStarted?.(call)
    }
    const running = execution.outcome()
    const heldMs = clock.monotonic() - startedAt
    if (heldMs >= heldUpMs) this.#heldUp(heldMs, [attempt])
    const outcome = await running
    const endedAt = clock.monotonic()
    // What ends first after the loop was held up is what held it up.
    if (execution.pid === null && this.#loopWatch.overdueMs(endedAt) >= heldUpMs) {
      this.#heldUp(this.#loopWatch.overdueMs(endedAt), [attempt])
    }
    // One that was ended by force, and did not heed it, has been settled.
    if (!lane.running.has(execution)) return
    if (attempt.batch === undefined) this.#ended(lane, execution, attempt, outcome as Outcome, endedAt - startedAt)
    else this.#batchEnded(lane, execution, attempt.batch, outcome, endedAt - startedAt)
  }

  #heldUp(heldMs: number, suspects: readonly Attempt[]): void {
    this.#loopWatch.explained()
    const tasks = suspects.slice(0, suspectsShown).map(({ message }) => `${message.task} (${message.id})`)
    this.#parts.logger.warn(
      { worker: this.name, heldMs: Math.round(heldMs), tasks: tasks.join(', ') },
      "held up the event loop, and every other task with it; work that computes belongs into a pool of children: pool: 'processes'",
    )
  }

  #ended(lane: Lane, execution: Execution, attempt: Attempt, outcome: Outcome, runMs: number): void {
    const { delivery, message } = attempt
    lane.prefetch.ran(runMs)
    this.#tellBreaker(attempt, outcome)
    this.#processed += 1
    this.#totals.set(message.task, (this.#totals.get(message.task) ?? 0) + 1)
    this.#settle({ delivery, message, attempt }, outcome, runMs)
    this.#freeSlot(lane, execution)
  }

  #endedByForce(lane: Lane, execution: Execution, attempt: Attempt, outcome: Outcome): void {
    if (attempt.batch === undefined) this.#ended(lane, execution, attempt, outcome, 0)
    else this.#batchEnded(lane, execution, attempt.batch, outcome, 0)
  }

  /** Settles each call by itself. To the circuit breaker it is one run, which failed if no call did not. */
  #batchEnded(
    lane: Lane,
    execution: Execution,
    calls: readonly Attempt[],
    outcome: Outcome | BatchOutcome,
    runMs: number,
  ): void {
    const outcomes = calls.map((call, index) => {
      const forced = this.#revokedInBatch.get(call)
      this.#revokedInBatch.delete(call)
      return forced ?? outcomeOfCall(call, index, outcome)
    })
    lane.prefetch.ran(runMs)
    const [first] = calls as readonly [Attempt]
    const summary = outcomes.find(({ kind }) => kind !== 'failure' && kind !== 'retry') ?? (outcomes[0] as Outcome)
    this.#tellBreaker(first, summary)
    this.#processed += calls.length
    this.#totals.set(first.message.task, (this.#totals.get(first.message.task) ?? 0) + calls.length)
    for (const [index, attempt] of calls.entries()) {
      const { delivery, message } = attempt
      this.#settle({ delivery, message, attempt }, outcomes[index] as Outcome, runMs)
    }
    this.#freeSlot(lane, execution)
  }

  #tellBreaker(attempt: Attempt, outcome: Outcome): void {
    if (!this.#breakers.ended(attempt, outcome)) return
    const { coolDownMs } = attempt.definition.options.circuitBreaker as ResolvedCircuitBreaker
    const fields = { worker: this.name, task: attempt.message.task, coolDownMs }
    this.#parts.logger.warn(fields, 'failed so often in a row that it is left alone for a while')
  }

  #freeSlot(lane: Lane, execution: Execution): void {
    lane.running.delete(execution)
    if (this.#onTrial === execution) this.#onTrial = undefined
    this.#startWaiting(lane)
    this.#onRoom()
  }

  /** Acknowledges first where the task wants it so; then it may be lost with the worker, but never run twice. */
  async #runAcknowledged(lane: Lane, execution: Execution, attempt: Attempt): Promise<void> {
    if (attempt.batch !== undefined) return this.#runBatchAcknowledged(lane, execution, attempt.batch)
    const acked = await this.#acknowledge(attempt)
    if (acked === undefined) return this.#freeSlot(lane, execution)
    lane.running.set(execution, acked)
    await this.#run(lane, execution, acked)
  }

  async #runBatchAcknowledged(lane: Lane, execution: Execution, calls: readonly Attempt[]): Promise<void> {
    const answers = await Promise.all(calls.map((call) => this.#acknowledge(call)))
    const batch = answers.filter((call) => call !== undefined)
    const [first] = batch
    if (first === undefined) return this.#freeSlot(lane, execution)
    const attempt: Attempt = { ...first, batch }
    const run = lane.pool.execute(attempt)
    lane.running.delete(execution)
    lane.running.set(run, attempt)
    await this.#run(lane, run, attempt)
  }

  /** The same, settled without its message; undefined where it could not be acknowledged, and is not to be run. */
  async #acknowledge(attempt: Attempt): Promise<Attempt | undefined> {
    const { broker, results, logger } = this.#parts
    try {
      await attempt.delivery.ack()
    } catch (error) {
      logger.warn({ taskId: attempt.message.id, error }, 'could not be acknowledged, so it was not run')
      return undefined
    }
    return { ...attempt, delivery: acknowledged(attempt.delivery, broker, results) }
  }

  #settle(settled: Settled, outcome: Outcome, runMs: number): void {
    for (const { onEnded } of this.#observers) {
      onEnded?.(settled.delivery, settled.message, settled.attempt, outcome, runMs)
    }
    this.#settling.settle(settled, outcome)
  }

  #handBackStalled(): void {
    const now = this.#parts.clock.monotonic()
    for (const lane of this.#lanes.values()) {
      const quietMs = now - lane.startedLastAt
      const isGatheringStuck = lane.gathering.size > 0 && lane.isFull
      if ((lane.waiting.length === 0 && !isGatheringStuck) || quietMs < stallMs) continue
      lane.prefetch.stalled(quietMs)
      this.#handBack(lane, lane.waiting.length, undefined)
      if (isGatheringStuck) this.#handBackGathering(lane)
    }
  }

  /** What a lane cannot use goes back until it probably can; meanwhile others may start what comes behind it. */
  #parkSurplus(): void {
    for (const lane of this.#lanes.values()) {
      const surplus = lane.surplus
      if (surplus === 0) continue
      this.#hasParked = true
      this.#handBack(lane, surplus, Math.min(parkMs.most, Math.max(parkMs.least, lane.backlogMs)))
    }
  }

  /** The last ones, at once or after a delay. */
  #handBack(lane: Lane, count: number, delayMs: number | undefined): void {
    const outcome: Outcome = delayMs === undefined ? { kind: 'interrupted' } : { kind: 'early', delayMs }
    for (const delivery of lane.waiting.splice(lane.waiting.length - count)) {
      this.#settle({ delivery, message: undefined, attempt: undefined }, outcome, 0)
    }
  }

  async #stop(): Promise<void> {
    // First `stop()` must have taken note of this one: whoever the signal tells may call it, to wait for the end.
    await undefined
    this.#stopping.abort()
    this.#autoscaler?.stop()
    this.#loopWatch.stop()
    this.#onRoom()
    this.#handBackAll()
    await this.#loop
    this.#handBackAll()
    if (!(await this.#runsEnd(this.settings.shutdownTimeoutMs, () => this.#isCutShort))) {
      this.interrupt()
      await this.#runsEnd(interruptGraceMs)
    }
    await this.#settling.end(settleGraceMs)
    await this.#consumer?.close().catch((error) => {
      this.#parts.logger.error({ worker: this.name, error }, 'what is not settled comes back when the lease lapses')
    })
    // After that what still runs in them belongs to others.
    await Promise.all(this.pools.map((pool) => pool.stop()))
    this.#clusterLimits?.close()
    // Last, because it is what keeps the process alive until here.
    clearInterval(this.#stallCheck)
  }

  #handBackAll(): void {
    for (const lane of this.#lanes.values()) {
      this.#handBack(lane, lane.waiting.length, undefined)
      this.#handBackGathering(lane)
    }
  }

  #handBackGathering(lane: Lane): void {
    lane.deadline?.cancel()
    for (const { delivery } of lane.gathering.takeAll()) {
      this.#settle({ delivery, message: undefined, attempt: undefined }, { kind: 'interrupted' }, 0)
    }
  }

  /** Whether every run has ended within the time, if it is not cut short. */
  async #runsEnd(timeoutMs: number, isCutShort = (): boolean => false): Promise<boolean> {
    const { clock } = this.#parts
    const deadline = clock.monotonic() + timeoutMs
    while (this.#runCount() > 0) {
      const leftMs = deadline - clock.monotonic()
      if (leftMs <= 0 || isCutShort()) return false
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, Math.min(leftMs, 1_000))
        this.#onRoom = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
    return true
  }
}

/** Of a limit that each worker keeps for itself. */
function ratePerSecond(rate: ResolvedRateLimit | undefined): number | undefined {
  return rate?.scope === 'worker' ? (rate.limit * 1_000) / rate.perMs : undefined
}

/** What concerns the run as a whole concerns each call, which has its own number of retries. */
function outcomeOfCall(call: Attempt, index: number, outcome: Outcome | BatchOutcome): Outcome {
  if (outcome.kind === 'batch') return outcome.outcomes[index] as Outcome
  return outcome.kind === 'retry' || outcome.kind === 'failure' ? outcomeOfError(outcome.error, call) : outcome
}
