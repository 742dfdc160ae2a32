/**
 * A worker: fetches what its slots can start, lets each delivery pass the gate, runs it, settles it.
 *
 *     fetch → gate → run → settle
 *
 * It stops in three stages. `stop()`: fetches no more, hands back what has not started, lets the running tasks end.
 * Past the shutdown timeout, or on `interrupt()`: their signals abort, and what they throw puts them back in the queue.
 * Past a last grace: the rest is released without them; their late outcomes are refused by the lease.
 * None of this costs a task a retry or a delivery.
 */
import type { Broker, Consumer, Delivery } from '../broker/broker.ts'
import { type Clock, sleep } from '../clock.ts'
import { CeleriacError, LeaseLostError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Attempt } from './attempt.ts'
import { acknowledged } from './early-ack.ts'
import { type GateParts, passGate } from './gate.ts'
import type { Outcome } from './outcome.ts'
import { Prefetch } from './prefetch.ts'
import { Run, type RunParts } from './run.ts'
import { keepsResult, type Settled, type SettleParts, settle, stateRecord } from './settle.ts'

export interface WorkerSettings {
  readonly name: string
  readonly queues: readonly string[]
  /** Tasks running at once. */
  readonly concurrency: number
  /** Messages at hand, running ones included; undefined adapts. */
  readonly prefetch: number | undefined
  readonly leaseMs: number
  readonly shutdownTimeoutMs: number
}

export interface WorkerParts extends GateParts, SettleParts {
  readonly broker: Broker
  readonly clock: Clock
  readonly logger: Logger
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
const retryPauseMs = { first: 50, longest: 5_000 }

export class Worker {
  readonly name: string
  readonly settings: WorkerSettings
  readonly #parts: WorkerParts
  readonly #runParts: RunParts
  readonly #prefetch: Prefetch
  readonly #waiting: Delivery[] = []
  readonly #runs = new Set<Run>()
  readonly #stopping = new AbortController()
  #consumer: Consumer | undefined
  #loop: Promise<void> | undefined
  #stallCheck: NodeJS.Timeout | undefined
  #stopped: Promise<void> | undefined
  #onRoom: () => void = () => undefined
  #isCutShort = false
  /**
   * The one run whose next loss of a worker would be its last. Several at once would be condemned together with the one
   * that kills; so the others wait their turn in the broker.
   */
  #onTrial: Run | undefined
  #fetchedAt = 0
  #startedLastAt = 0
  #processed = 0
  /** Outcomes and states on their way to the store, and who waits until there are none. */
  #unsettled = 0
  #isOver = false
  #onSettled: () => void = () => undefined

  constructor(settings: WorkerSettings, parts: WorkerParts) {
    this.name = settings.name
    this.settings = settings
    this.#parts = parts
    this.#prefetch = new Prefetch(settings.concurrency, settings.prefetch)
    this.#runParts = {
      clock: parts.clock,
      logger: parts.logger,
      worker: settings.name,
      updateState: (attempt, state, meta) => this.#saveState(attempt, state, meta),
    }
  }

  /** Begins to consume. */
  async start(): Promise<void> {
    const { queues, leaseMs, name } = this.settings
    this.#consumer = await this.#parts.broker.consume(queues, { leaseMs, name })
    this.#fetchedAt = this.#parts.clock.monotonic()
    // Kept referenced: a worker that waits for messages is alive.
    this.#stallCheck = setInterval(() => this.#handBackStalled(), stallMs)
    this.#loop = this.#consume(this.#consumer)
  }

  health(): WorkerHealth {
    const fetchedMsAgo = this.#parts.clock.monotonic() - this.#fetchedAt
    const isFull = this.#prefetch.room(this.#runs.size, this.#waiting.length) === 0
    return {
      ok: this.#stopped === undefined && (isFull || fetchedMsAgo < unhealthyAfterMs),
      fetchedMsAgo,
      running: this.#runs.size,
      processed: this.#processed,
    }
  }

  /** The three stages of the shutdown; resolves when all is settled or given back. A second call joins the first. */
  stop(): Promise<void> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  /** Aborts the signals of what is running. A stop that is under way then waits no longer than the last grace. */
  interrupt(): void {
    this.#isCutShort = this.#stopped !== undefined
    for (const run of this.#runs) run.interrupt()
    this.#onRoom()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  async #consume(consumer: Consumer): Promise<void> {
    const { clock, logger } = this.#parts
    const { signal } = this.#stopping
    let failures = 0
    while (!signal.aborted) {
      const room = this.#prefetch.room(this.#runs.size, this.#waiting.length)
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
        for (const delivery of deliveries) this.#waiting.push(delivery)
        this.#startWaiting()
      } catch (error) {
        failures += 1
        logger.error({ worker: this.name, error }, 'fetching failed; trying again')
        await sleep(clock, pauseMs(failures), signal)
      }
    }
  }

  #startWaiting(): void {
    while (this.#waiting.length > 0 && this.#runs.size < this.settings.concurrency && !this.#stopping.signal.aborted) {
      this.#take(this.#waiting.shift() as Delivery)
    }
  }

  #take(delivery: Delivery): void {
    const passage = passGate(delivery, this.#parts, this.#parts.clock.now())
    if (!passage.pass) {
      const { message, outcome } = passage
      this.#settle({ delivery, message, attempt: undefined }, outcome)
      return
    }
    const { attempt } = passage
    const isOnTrial = delivery.deliveryCount > 1 && delivery.deliveryCount >= attempt.definition.options.maxDeliveries
    if (isOnTrial && this.#onTrial !== undefined) {
      this.#settle({ delivery, message: attempt.message, attempt: undefined }, { kind: 'early', delayMs: trialPauseMs })
      return
    }
    const run = new Run(attempt, this.#runParts)
    if (isOnTrial) this.#onTrial = run
    this.#runs.add(run)
    void (attempt.definition.options.acksLate ? this.#run(run, attempt) : this.#runAcknowledged(run, attempt))
  }

  async #run(run: Run, attempt: Attempt): Promise<void> {
    const { clock, results } = this.#parts
    const { message, definition } = attempt
    const startedAt = clock.monotonic()
    this.#startedLastAt = startedAt
    attempt.startedAt = clock.now()
    if (definition.options.trackStarted && keepsResult(attempt, results)) {
      this.#saveStarted(attempt)
    }
    const outcome = await run.outcome()
    this.#prefetch.ran(clock.monotonic() - startedAt)
    this.#processed += 1
    this.#settle({ delivery: attempt.delivery, message, attempt }, outcome)
    this.#freeSlot(run)
  }

  #freeSlot(run: Run): void {
    this.#runs.delete(run)
    if (this.#onTrial === run) this.#onTrial = undefined
    this.#startWaiting()
    this.#onRoom()
  }

  /** Acknowledges first where the task wants it so; then it may be lost with the worker, but never run twice. */
  async #runAcknowledged(run: Run, attempt: Attempt): Promise<void> {
    const { broker, results } = this.#parts
    try {
      await attempt.delivery.ack()
    } catch (error) {
      this.#parts.logger.warn({ taskId: attempt.message.id, error }, 'could not be acknowledged, so it was not run')
      return this.#freeSlot(run)
    }
    await this.#run(run, { ...attempt, delivery: acknowledged(attempt.delivery, broker, results) })
  }

  #settle(settled: Settled, outcome: Outcome): void {
    this.#log(settled, outcome)
    this.#unsettled += 1
    settle(settled, outcome, this.#parts).then(this.#oneSettled, (error) => this.#settleAgain(settled, outcome, error))
  }

  readonly #oneSettled = (): void => {
    this.#unsettled -= 1
    if (this.#unsettled === 0) this.#onSettled()
  }

  /**
   * Tries until the outcome is held, the lease is lost, or the worker ends: a full disk must not cost finished work.
   * What no repetition can mend becomes a failure, and is settled as that.
   */
  async #settleAgain(settled: Settled, outcome: Outcome, firstError: unknown): Promise<void> {
    const { clock, logger } = this.#parts
    const fields = { worker: this.name, task: settled.message?.task, taskId: settled.message?.id }
    let [error, settling] = [firstError, outcome]
    for (let failures = 1; error !== undefined; failures++) {
      if (error instanceof LeaseLostError) {
        logger.warn(fields, 'the lease was lost before the outcome was stored; the task will run again')
        break
      }
      if (this.#isOver || (error instanceof CeleriacError && error.code === 'CLOSED')) break
      logger.error({ ...fields, error }, 'the outcome could not be stored yet; trying again')
      if (!(error instanceof CeleriacError)) settling = { kind: 'failure', error, reason: 'failed' }
      await sleep(clock, pauseMs(failures))
      error = await settle(settled, settling, this.#parts).then(
        () => undefined,
        (next: unknown) => next,
      )
    }
    this.#oneSettled()
  }

  async #saveState(attempt: Attempt, state: string, meta: unknown): Promise<void> {
    const { results } = this.#parts
    if (results === undefined || !keepsResult(attempt, results)) return
    await results.save([stateRecord(attempt, state, meta, this.#parts)])
  }

  /** A state that cannot be stored is missed, not waited for: the outcome will say more. */
  #saveStarted(attempt: Attempt): void {
    this.#unsettled += 1
    const state = this.#saveState(attempt, 'STARTED', { hostname: this.name, pid: process.pid })
    state
      .catch((error) => this.#parts.logger.warn({ worker: this.name, error }, 'a state could not be stored'))
      .finally(this.#oneSettled)
  }

  #handBackStalled(): void {
    const quietMs = this.#parts.clock.monotonic() - this.#startedLastAt
    if (this.#waiting.length === 0 || quietMs < stallMs) return
    this.#prefetch.stalled(quietMs)
    this.#handBack()
  }

  #handBack(): void {
    for (const delivery of this.#waiting.splice(0)) {
      this.#settle({ delivery, message: undefined, attempt: undefined }, { kind: 'interrupted' })
    }
  }

  async #stop(): Promise<void> {
    this.#stopping.abort()
    this.#onRoom()
    this.#handBack()
    await this.#loop
    this.#handBack()
    if (!(await this.#runsEnd(this.settings.shutdownTimeoutMs, () => this.#isCutShort))) {
      this.interrupt()
      await this.#runsEnd(interruptGraceMs)
    }
    await this.#allSettled(settleGraceMs)
    this.#isOver = true
    await this.#consumer?.close().catch((error) => {
      this.#parts.logger.error({ worker: this.name, error }, 'what is not settled comes back when the lease lapses')
    })
    // Last, because it is what keeps the process alive until here.
    clearInterval(this.#stallCheck)
  }

  /** Whether every run has ended within the time, if it is not cut short. */
  async #runsEnd(timeoutMs: number, isCutShort = (): boolean => false): Promise<boolean> {
    const { clock } = this.#parts
    const deadline = clock.monotonic() + timeoutMs
    while (this.#runs.size > 0) {
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

  /** Until every outcome is stored, or the time is over. */
  async #allSettled(timeoutMs: number): Promise<void> {
    if (this.#unsettled === 0) return
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs)
      this.#onSettled = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  #log({ delivery, message, attempt }: Settled, outcome: Outcome): void {
    const { logger, clock } = this.#parts
    const fields: Record<string, unknown> = {
      worker: this.name,
      queue: delivery.queue,
      task: message?.task,
      taskId: message?.id,
    }
    switch (outcome.kind) {
      case 'success':
        fields.runMs = clock.now() - (attempt?.startedAt ?? clock.now())
        return logger.info(fields, 'succeeded')
      case 'retry':
        return logger.info({ ...fields, error: outcome.error, countdownMs: outcome.countdownMs }, 'failed; will retry')
      case 'failure':
        return logger.error(
          { ...fields, error: outcome.error, retries: message?.retries },
          `gave up: ${outcome.reason}`,
        )
      case 'poison':
        return logger.error({ ...fields, error: outcome.error }, `put with the dead letters: ${outcome.reason}`)
      case 'expired':
        return logger.info(fields, 'had expired; not run')
      case 'interrupted':
        if (attempt !== undefined) logger.info(fields, 'interrupted; back to its queue')
    }
  }
}

/** Growing pauses with jitter, so that workers that failed together do not return together. */
function pauseMs(failures: number): number {
  const ceiling = Math.min(retryPauseMs.longest, retryPauseMs.first * 2 ** failures)
  return ceiling / 2 + (Math.random() * ceiling) / 2
}
