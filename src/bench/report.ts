/** What a test has found, as data; `--json` prints it. Times are in ms, rates per second. */
import type { Registry } from '../task/registry.ts'
import { type Advice, adviceOn } from './advice.ts'
import type { Arrivals } from './arrivals.ts'
import { bottleneckOf, type CpuGroup, type Limit, limitsOf, type Model, type Rule, type SlotGroup } from './capacity.ts'
import type { WorkerUse } from './fleet.ts'
import type { FailureCount } from './outcomes.ts'
import type { Point } from './series.ts'
import type { StageTally } from './stage-tally.ts'
import type { TimesSummary } from './times.ts'

export interface BenchReport {
  readonly flow: string
  readonly arrivals: Arrivals
  /** From the first moment a flow was to be sent to the end of the last one; of the test, where some did not end. */
  readonly elapsedMs: number
  readonly flows: FlowCounts
  /** Flows completed. */
  readonly perSecond: number
  /** Flows that ended in the five busiest seconds in a row; null for a shorter test. */
  readonly busiestPerSecond: number | null
  /** From the moment a flow was to be sent to its end. Those without an end count with their age. */
  readonly latency: TimesSummary
  /** How late the sender was. */
  readonly late: TimesSummary
  readonly failures: readonly FailureCount[]
  /** Why the first of the refused ones was. */
  readonly firstRefusal: string | null
  readonly stages: readonly StageReport[]
  readonly workers: readonly WorkerUse[]
  /** What keeps the pipeline from carrying more, the lowest limit first. */
  readonly limits: readonly Limit[]
  readonly bottleneck: Limit | null
  /** Whether the test came near it, so that it is more than a forecast. */
  readonly isReached: boolean
  readonly advice: readonly Advice[]
  /** The share of the flows' runs that were measured: events may be lost. 1 = all; null when no flow was completed. */
  readonly measured: number | null
  /** By so much at least the clock of a worker is ahead of this one. */
  readonly aheadMs: number
  readonly isStopped: boolean
}

export interface FlowCounts {
  readonly planned: number
  readonly sent: number
  readonly completed: number
  readonly failed: number
  /** Refused when they were sent: by their input, the user's function, or the broker. */
  readonly refused: number
  /** Sent, and still in a queue or running. */
  readonly unfinished: number
  /** Sent, without an outcome, and in no queue. */
  readonly lost: number
}

export interface StageReport {
  readonly task: string
  readonly queue: string
  /** Calls that ended. */
  readonly calls: number
  readonly failed: number
  readonly retries: number
  readonly perSecond: number
  readonly wait: TimesSummary
  readonly run: TimesSummary
  /** Of a slot for each flow, retries included. */
  readonly slotMs: number
  /** Slots that were busy, on average; and those that there are, null where no worker tells. */
  readonly busySlots: number
  readonly slots: number | null
  /** Cores that its workers used, on average; null where not known. Workers of several stages count for each. */
  readonly cores: number | null
  readonly deepest: number
  /** What waited in its queue over time. */
  readonly depth: readonly Point[]
}

/** What was measured. */
export interface Measurements {
  readonly flow: string
  readonly arrivals: Arrivals
  readonly elapsedMs: number
  readonly flows: FlowCounts
  readonly busiestPerSecond: number | null
  readonly latency: TimesSummary
  readonly late: TimesSummary
  readonly failures: readonly FailureCount[]
  readonly firstRefusal: string | null
  readonly stages: readonly StageTally[]
  /** Those that every completed flow has passed; others are of tasks that tasks have sent. */
  readonly passed: readonly StageTally[]
  readonly workers: readonly WorkerUse[]
  readonly registry: Registry
  /** Of this machine. */
  readonly hostCores: number
  readonly aheadMs: number
  readonly isStopped: boolean
}

/** Nearer than this to its limit, a resource is taken to have been the limit. */
const reached = 0.85

export function reportOf(measurements: Measurements): BenchReport {
  const { stages, passed, registry, hostCores, ...rest } = measurements
  const { elapsedMs, flows, busiestPerSecond, workers, arrivals } = measurements
  const model = modelOf(measurements)
  const perSecond = rate(flows.completed, elapsedMs)
  const limits = limitsOf(model)
  const endedPerSecond = busiestPerSecond ?? rate(flows.completed + flows.failed, elapsedMs)
  const bottleneck = bottleneckOf(limits, endedPerSecond)
  return {
    ...rest,
    perSecond,
    stages: stages.map((stage) => stageReport(stage, measurements)),
    workers,
    limits,
    bottleneck: bottleneck ?? null,
    isReached: bottleneck !== undefined && endedPerSecond >= reached * bottleneck.perSecond,
    advice: adviceOn(model, bottleneck, wantedPerSecond(arrivals)),
    measured: flows.completed === 0 ? null : Math.min(1, ...passed.map(({ succeeded }) => succeeded / flows.completed)),
  }
}

/** The most flows a second that were asked for. */
function wantedPerSecond(arrivals: Arrivals): number | undefined {
  if (arrivals.kind === 'drain') return undefined
  return arrivals.kind === 'rate' ? arrivals.perSecond : Math.max(arrivals.fromPerSecond, arrivals.toPerSecond)
}

function stageReport(stage: StageTally, measurements: Measurements): StageReport {
  const { task, queue, failed, retries, run, wait, depth, succeeded } = stage
  const { elapsedMs, workers, registry } = measurements
  const serving = workers.filter((worker) => slotsFor(stage, worker, registry) > 0)
  const cpu = serving.map(({ cpuMs }) => cpuMs)
  return {
    task,
    queue,
    calls: succeeded + failed,
    failed,
    retries,
    perSecond: rate(succeeded + failed, elapsedMs),
    wait: wait.summary,
    run: run.summary,
    slotMs: slotMs(stage, measurements),
    busySlots: elapsedMs === 0 ? 0 : stage.slots.ms / elapsedMs,
    slots: serving.length === 0 ? null : sum(serving.map((worker) => slotsFor(stage, worker, registry))),
    cores: serving.length === 0 || !cpu.every((ms) => ms !== null) || elapsedMs === 0 ? null : sum(cpu) / elapsedMs,
    deepest: depth.max,
    depth: depth.points,
  }
}

/** How often a flow comes by. Where none has ended, once. */
function visitsPerFlow({ visits }: StageTally, { flows: { completed, failed } }: Measurements): number {
  return completed + failed === 0 ? 1 : visits / (completed + failed)
}

function slotMs(stage: StageTally, measurements: Measurements): number {
  const calls = stage.succeeded + stage.failed
  return calls === 0 ? 0 : (stage.slots.ms / calls) * visitsPerFlow(stage, measurements)
}

function modelOf(measurements: Measurements): Model {
  const { stages, workers, hostCores } = measurements
  const cpu = cpuGroups(measurements)
  const isOneHost = cpu !== undefined && workers.every(({ isLocal }) => isLocal)
  return {
    stages: stages.map((stage) => ({ task: stage.task, slotMs: slotMs(stage, measurements) })),
    slots: workers.flatMap((worker) => slotGroups(worker, measurements)),
    cpu: cpu ?? [],
    host: isOneHost ? { cores: hostCores, cpuMs: sum(cpu.map(({ cpuMs }) => cpuMs)) } : undefined,
    rules: stages.flatMap((stage) => rulesOf(stage, measurements)),
  }
}

/** The kind of pool in which a worker runs the task. */
function poolOf({ task }: StageTally, { pool }: WorkerUse, registry: Registry): string {
  return registry.get(task)?.options.pool ?? pool
}

function slotsFor(stage: StageTally, worker: WorkerUse, registry: Registry): number {
  return worker.queues.includes(stage.queue) ? (worker.slots[poolOf(stage, worker, registry)] ?? 0) : 0
}

/** A group for each pool of the worker. */
function slotGroups(worker: WorkerUse, { stages, registry }: Measurements): SlotGroup[] {
  return Object.entries(worker.slots).flatMap(([kind, slots]) => {
    const served = stages.filter(
      (stage) => worker.queues.includes(stage.queue) && poolOf(stage, worker, registry) === kind,
    )
    return served.length === 0 ? [] : [{ slots, tasks: served.map(({ task }) => task) }]
  })
}

/** Undefined where the CPU of one of them is not known. */
function cpuGroups(measurements: Measurements): CpuGroup[] | undefined {
  const { stages, workers, registry } = measurements
  const groups = new Map<string, { served: StageTally[]; cpuMs: number; cores: number; workers: number }>()
  for (const process of new Set(workers.map((worker) => worker.process))) {
    const together = workers.filter((worker) => worker.process === process)
    const served = stages.filter((stage) => together.some((worker) => slotsFor(stage, worker, registry) > 0))
    if (served.length === 0) continue
    const cpuMs = together[0]?.cpuMs ?? null
    if (cpuMs === null) return undefined
    const key = JSON.stringify(served.map(({ task }) => task))
    const group = groups.get(key) ?? { served, cpuMs: 0, cores: 0, workers: 0 }
    group.cpuMs += cpuMs
    group.cores += coresOf(together, served, registry)
    group.workers += together.length
    groups.set(key, group)
  }
  return [...groups.values()].map(({ served, cpuMs, ...rest }) => {
    const calls = sum(served.map(({ succeeded, failed }) => succeeded + failed))
    const visits = sum(served.map((stage) => visitsPerFlow(stage, measurements)))
    return { ...rest, tasks: served.map(({ task }) => task), cpuMs: calls === 0 ? 0 : (cpuMs * visits) / calls }
  })
}

/** Of a process: its event loop is one core, however many tasks it runs at once; each child is one more. */
function coresOf(workers: readonly WorkerUse[], served: readonly StageTally[], registry: Registry): number {
  const children = workers.map((worker) => {
    const kinds = new Set(served.map((stage) => poolOf(stage, worker, registry)))
    return sum([...kinds].map((kind) => (kind === 'processes' || kind === 'threads' ? (worker.slots[kind] ?? 0) : 0)))
  })
  return Math.max(1, sum(children))
}

/** Limits with keys hold for each key, and nobody knows here how many of these there are. */
function rulesOf(stage: StageTally, measurements: Measurements): Rule[] {
  const { task } = stage
  const { workers, registry } = measurements
  const { rateLimit, concurrency } = registry.get(task)?.options ?? {}
  const visits = visitsPerFlow(stage, measurements)
  const rules: Rule[] = []
  if (visits === 0) return rules
  if (rateLimit !== undefined && rateLimit.key === undefined) {
    const serving = workers.filter((worker) => slotsFor(stage, worker, registry) > 0).length
    const perSecond = ((rateLimit.limit * 1_000) / rateLimit.perMs) * (rateLimit.scope === 'cluster' ? 1 : serving)
    const callsPerRun = stage.slots.runs === 0 ? 1 : (stage.succeeded + stage.failed) / stage.slots.runs
    if (perSecond > 0) {
      rules.push({ task, text: `rateLimit ${rateLimit.text}`, perSecond: (perSecond * callsPerRun) / visits })
    }
  }
  const demandMs = slotMs(stage, measurements)
  if (concurrency !== undefined && concurrency.key === undefined && demandMs > 0) {
    const { limit } = concurrency
    rules.push({ task, text: `concurrency ${limit}`, perSecond: (limit * 1_000) / demandMs })
  }
  return rules
}

function rate(count: number, elapsedMs: number): number {
  return elapsedMs === 0 ? 0 : (count * 1_000) / elapsedMs
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}
