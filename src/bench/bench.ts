/**
 * A load test of a user's own pipeline: sends flows, follows them to their ends, measures the stages they pass, and works
 * out what keeps them from being faster. Bounded in number and time.
 *
 * What is measured by what:
 *
 * - ends, failures, losses and latencies by the stored outcome of each flow's last task (`Outcomes`);
 * - waits, runs and retries of the stages by events of tasks (`CallTally`), which the workers are told to send;
 * - depths by counting the queues, slots and CPU by asking the workers (`Fleet`).
 */
import { availableParallelism } from 'node:os'
import type { Broker } from '../broker/broker.ts'
import type { Bus } from '../broker/bus.ts'
import { type Clock, sleep } from '../clock.ts'
import type { Control } from '../control/client.ts'
import { receiveEvents } from '../events/receiver.ts'
import type { ResultStore } from '../result/result-store.ts'
import type { Registry } from '../task/registry.ts'
import { type Arrivals, countOf } from './arrivals.ts'
import { CallTally } from './call-tally.ts'
import { Fleet, usesOf, type WorkerReading } from './fleet.ts'
import type { Flow, Step } from './flow.ts'
import type { Inputs } from './inputs.ts'
import { Outcomes } from './outcomes.ts'
import { type BenchReport, reportOf } from './report.ts'
import { Sender } from './sender.ts'
import type { StageTally } from './stage-tally.ts'

/** What of an application is needed. */
export interface BenchParts {
  readonly broker: Broker
  readonly bus: Bus
  readonly results: ResultStore
  readonly control: Control
  readonly registry: Registry
  readonly queueOf: (task: string) => string
  readonly clock: Clock
}

export interface BenchOptions {
  readonly flow: Flow
  /** The stages that are known beforehand, in their order. */
  readonly steps: readonly Step[]
  /** Node names of the workers that serve them. */
  readonly workers: readonly string[]
  readonly inputs: Inputs
  readonly arrivals: Arrivals
  /** How long flows are waited for after the last one was sent, in ms. */
  readonly graceMs: number
  /** Ends the sending. */
  readonly stop: AbortSignal
  /** Ends the waiting too. */
  readonly giveUp: AbortSignal
  readonly onProgress?: (progress: BenchProgress) => void
}

export interface BenchProgress {
  readonly planned: number
  readonly sent: number
  readonly completed: number
  readonly failed: number
  readonly elapsedMs: number
  readonly isSending: boolean
}

/** Pauses between two looks for outcomes, and between two counts of the queues, in ms. */
const lookMs = 200
const countMs = 500
/** How long events may be late, in ms. */
const lateEventsMs = 1_000
/** Looks that may fail in a row: a broker that restarts is waited for. */
const maxFailures = 50
/** The stretch over which the busiest moments are averaged, in s. */
const busiestS = 5
/** What is sent last may still be on its way from one queue to the next: so many times nothing is seen of it. */
const looksForLost = 3

/** @throws CeleriacError the broker's error, when it stays away */
export async function bench(parts: BenchParts, options: BenchOptions): Promise<BenchReport> {
  const { control, bus, results, clock, queueOf } = parts
  const fleet = new Fleet(control, options.workers)
  const before = await fleet.read()
  const calls = new CallTally(queueOf)
  for (const { task, queue } of options.steps) calls.stage(task, queue)
  const outcomes = new Outcomes(results, clock, (flow) => calls.ended(flow))
  const onEvent = (event: Parameters<CallTally['apply']>[0]): void => {
    const flow = calls.apply(event)
    if (flow !== undefined) outcomes.hint(flow)
  }
  const subscription = await receiveEvents(bus, onEvent, { types: ['task-*'] })
  try {
    await fleet.enableEvents()
    return await new Run(parts, options, calls, outcomes).report(before, fleet)
  } finally {
    // Neither must hide why it ended.
    await fleet.restoreEvents().catch(() => undefined)
    await subscription.close().catch(() => undefined)
  }
}

class Run {
  readonly #parts: BenchParts
  readonly #options: BenchOptions
  readonly #calls: CallTally
  readonly #outcomes: Outcomes
  readonly #sender: Sender
  readonly #startMs: number
  readonly #startedAtMs: number
  #isSending = true

  constructor(parts: BenchParts, options: BenchOptions, calls: CallTally, outcomes: Outcomes) {
    const { clock } = parts
    this.#parts = parts
    this.#options = options
    this.#calls = calls
    this.#outcomes = outcomes
    this.#startMs = clock.monotonic()
    this.#startedAtMs = clock.now()
    this.#sender = new Sender({
      ...options,
      clock,
      onSent: (flow) => {
        outcomes.add(flow)
        if (calls.sent(flow)) outcomes.hint(flow)
      },
    })
  }

  async report(before: readonly WorkerReading[], fleet: Fleet): Promise<BenchReport> {
    const { registry, clock } = this.#parts
    const { flow, arrivals, stop } = this.#options
    const end = new AbortController()
    const background = new AbortController()
    // Looking and counting go on beside the sending; what fails there for good ends it all.
    const loops = [
      this.#every(lookMs, () => this.#look(), background.signal),
      this.#every(countMs, () => this.#countQueues(), background.signal),
    ].map((loop) => loop.catch((error: unknown) => end.abort(error)))
    await this.#sender.run(AbortSignal.any([stop, end.signal]))
    this.#isSending = false
    await this.#untilEnded(end.signal)
    background.abort()
    await Promise.all(loops)
    end.signal.throwIfAborted()
    await this.#outcomes.lookAtAll()
    const lost = await this.#lost()
    await this.#untilHeard()
    const workers = usesOf(before, await fleet.read())
    const { completed, failed, pendingCount, lastEndMs, latency, failures, aheadMs } = this.#outcomes
    const nowMs = clock.now()
    for (const { intendedMs } of this.#outcomes.pending) latency.record(nowMs - intendedMs)
    const { sent, refused, late, firstRefusal = null } = this.#sender
    return reportOf({
      flow: flow.name,
      arrivals,
      elapsedMs: (pendingCount > 0 ? nowMs : Math.max(lastEndMs, this.#startedAtMs)) - this.#startedAtMs,
      flows: { planned: countOf(arrivals), sent, completed, failed, refused, unfinished: pendingCount - lost, lost },
      busiestPerSecond: this.#outcomes.busiest(busiestS),
      latency: latency.summary,
      late: late.summary,
      failures,
      firstRefusal,
      stages: this.#calls.stages,
      passed: this.#passed,
      workers,
      registry,
      hostCores: availableParallelism(),
      aheadMs,
      isStopped: stop.aborted,
    })
  }

  /** Until every flow has ended, the grace is over, or somebody has had enough. */
  async #untilEnded(end: AbortSignal): Promise<void> {
    const { clock } = this.#parts
    const { graceMs, giveUp } = this.#options
    const signal = AbortSignal.any([giveUp, end])
    const deadlineMs = clock.monotonic() + graceMs
    while (this.#outcomes.pendingCount > 0 && clock.monotonic() < deadlineMs && !signal.aborted) {
      await sleep(clock, lookMs / 4, signal)
    }
  }

  /** Events come another way than outcomes, so the last ones may be late; or lost. */
  async #untilHeard(): Promise<void> {
    const { clock } = this.#parts
    const deadlineMs = clock.monotonic() + lateEventsMs
    const isMissing = (): boolean => {
      const { completed, failed } = this.#outcomes
      const failures = this.#calls.stages.reduce((sum, stage) => sum + stage.failed, 0)
      return failures < failed || this.#passed.some(({ succeeded }) => succeeded < completed)
    }
    while (isMissing() && clock.monotonic() < deadlineMs) await sleep(clock, lookMs / 4)
  }

  get #passed(): StageTally[] {
    return this.#options.steps.map(({ task }) => this.#calls.stage(task))
  }

  async #look(): Promise<void> {
    await this.#outcomes.look()
    const { completed, failed } = this.#outcomes
    this.#options.onProgress?.({
      planned: countOf(this.#options.arrivals),
      sent: this.#sender.sent,
      completed,
      failed,
      elapsedMs: this.#elapsedMs,
      isSending: this.#isSending,
    })
  }

  async #countQueues(): Promise<void> {
    const { broker } = this.#parts
    const atMs = this.#elapsedMs
    const { stages } = this.#calls
    const depths = await Promise.all(stages.map(({ queue }) => broker.depth(queue)))
    for (const [index, { ready }] of depths.entries()) stages[index]?.depth.add(atMs, ready)
  }

  /** Flows that no queue holds any more, and that have no outcome. */
  async #lost(): Promise<number> {
    const { broker, clock } = this.#parts
    for (let looks = 0; looks < looksForLost; looks++) {
      if (this.#outcomes.pendingCount === 0) return 0
      for (const { queue } of this.#calls.stages) {
        const { ready, delayed, inFlight } = await broker.depth(queue)
        if (ready + delayed + inFlight > 0) return 0
      }
      await sleep(clock, lookMs)
      await this.#outcomes.lookAtAll()
    }
    return this.#outcomes.pendingCount
  }

  get #elapsedMs(): number {
    return this.#parts.clock.monotonic() - this.#startMs
  }

  /** @throws what the work throws, when it goes on throwing */
  async #every(ms: number, work: () => Promise<void>, signal: AbortSignal): Promise<void> {
    let failures = 0
    while (!signal.aborted) {
      try {
        await work()
        failures = 0
      } catch (error) {
        failures += 1
        if (failures >= maxFailures) throw error
      }
      await sleep(this.#parts.clock, ms, signal)
    }
  }
}
