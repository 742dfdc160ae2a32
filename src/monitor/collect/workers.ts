/**
 * The workers of the fleet: what their heartbeats say, and what they answer when they are asked. A worker that sends no
 * heartbeats is known by its answers; one that has gone is remembered until nobody cares.
 */
import type { Clock } from '../../clock.ts'
import type { Control } from '../../control/client.ts'
import { isErrorReply, type QueueReply, type Replies, type StatsReply } from '../../control/replies.ts'
import type { FleetWorker } from '../../events/fleet-worker.ts'
import type { ReceivedEvent } from '../../events/received-event.ts'
import { FleetState } from '../../events/state.ts'
import type { MonitorStore } from '../store/store.ts'
import type { Places } from './places.ts'

export interface WorkersParts {
  readonly control: Control
  readonly store: MonitorStore
  readonly places: Places
  readonly clock: Clock
  readonly inspectTimeoutMs: number
}

/** What a worker said when it was asked. */
interface Answers {
  readonly stats: StatsReply | null
  readonly queues: readonly string[]
  /** Epoch ms. */
  readonly answeredAt: number
}

/** A worker as all that is known of it tells. */
export interface KnownWorker extends FleetWorker, Answers {
  /** Share of one processor, over the last two answers; null until there are two. 1 = one processor busy. */
  readonly cpu: number | null
  /** Memory of the process, or the most it has had where it does not say: bytes. */
  readonly memoryBytes: number | null
  /** How long its event loop was held up lately, in ms; null where it has none. */
  readonly loopLagMs: number | null
  readonly uptimeS: number | null
}

interface Usage {
  readonly cpuS: number
  readonly atMs: number
}

const maxWorkers = 5_000
/** Who has not answered for so many rounds is not there, if it sends no heartbeats either. */
const silentRounds = 3

export class Workers {
  readonly #parts: WorkersParts
  readonly #fleet: FleetState
  readonly #answers = new Map<string, Answers>()
  readonly #usage = new Map<string, Usage>()
  readonly #cpu = new Map<string, number>()
  readonly #roundMs: number

  /** @param roundMs how often `inspect` is called */
  constructor(parts: WorkersParts, roundMs: number) {
    this.#parts = parts
    this.#roundMs = roundMs
    this.#fleet = new FleetState({ maxTasks: 1, maxWorkers, clock: parts.clock })
    for (const { subject, data } of parts.store.facts.all<{ queues: string[]; beat?: ReceivedEvent }>('worker')) {
      parts.places.consumes(subject, data.queues)
      if (data.beat !== undefined) this.#fleet.apply({ ...data.beat, type: 'worker-offline' })
    }
  }

  /** Any event. @returns false for one that came before */
  hear(event: ReceivedEvent): boolean {
    const isNew = this.#fleet.apply(event)
    if (isNew && event.type === 'worker-offline' && event.hostname !== undefined) this.#answers.delete(event.hostname)
    return isNew
  }

  get totals() {
    return this.#fleet.totals
  }

  get rates() {
    return this.#fleet.rates
  }

  /** Asks all of them. */
  async inspect(): Promise<void> {
    const { control, inspectTimeoutMs, places, store, clock } = this.#parts
    const timeout = inspectTimeoutMs / 1_000
    const asked = control.inspect({ timeout })
    const [stats, queues] = await Promise.all([asked.stats(), asked.activeQueues()])
    const nowMs = clock.now()
    for (const name of new Set([...Object.keys(stats), ...Object.keys(queues)])) {
      if (this.#answers.size >= maxWorkers && !this.#answers.has(name)) continue
      const names = queueNames(queues[name]) ?? this.#answers.get(name)?.queues ?? []
      const said = statsIn(stats[name]) ?? this.#answers.get(name)?.stats ?? null
      this.#answers.set(name, { stats: said, queues: names, answeredAt: nowMs })
      if (said !== null) this.#note(name, said, nowMs)
      places.consumes(name, names)
    }
    this.#forgetSilent(nowMs)
    store.write(() => {
      for (const worker of this.all()) if (worker.isAlive) this.#store(worker)
    })
  }

  /** Those that are alive first, then by name. */
  all(): KnownWorker[] {
    const heard = this.#fleet.workers()
    const names = new Set(heard.map(({ hostname }) => hostname))
    const silent = [...this.#answers.keys()].filter((name) => !names.has(name)).sort()
    return [...heard, ...silent.map(withoutHeartbeats)].map((worker) => this.#known(worker))
  }

  get(name: string): KnownWorker | undefined {
    const heard = this.#fleet.worker(name)
    if (heard !== undefined) return this.#known(heard)
    return this.#answers.has(name) ? this.#known(withoutHeartbeats(name)) : undefined
  }

  #known(worker: FleetWorker): KnownWorker {
    const { hostname } = worker
    const answers = this.#answers.get(hostname) ?? { stats: null, queues: [], answeredAt: 0 }
    const { stats } = answers
    const own = stats?.process
    return {
      ...worker,
      ...answers,
      pid: worker.pid ?? stats?.pid ?? null,
      isAlive: worker.isAlive || (worker.heardAt === null && answers.answeredAt > 0),
      cpu: this.#cpu.get(hostname) ?? null,
      memoryBytes: own?.rss ?? maxRss(stats),
      loopLagMs: own?.loop_lag === undefined ? null : own.loop_lag * 1_000,
      uptimeS: stats?.uptime ?? null,
    }
  }

  /** What it used since it was asked before. */
  #note(name: string, stats: StatsReply, atMs: number): void {
    const cpuS = cpuSeconds(stats)
    if (cpuS === null) return
    const before = this.#usage.get(name)
    this.#usage.set(name, { cpuS, atMs })
    // A worker that was started anew counts from zero.
    if (before === undefined || cpuS < before.cpuS || atMs <= before.atMs) return
    this.#cpu.set(name, ((cpuS - before.cpuS) * 1_000) / (atMs - before.atMs))
  }

  #store({ hostname, queues, active, processed, loadavg, pid, freq, cpu, memoryBytes, loopLagMs }: KnownWorker): void {
    const { facts, series } = this.#parts.store
    facts.set('worker', hostname, { queues, beat: { type: 'worker-offline', hostname, pid: pid ?? 0, freq } })
    const load = loadavg[0] ?? null
    series.gauge('worker', hostname, { active, processed, load, cpu, memoryBytes, loopLagMs })
  }

  #forgetSilent(nowMs: number): void {
    const patienceMs = silentRounds * (this.#roundMs + this.#parts.inspectTimeoutMs)
    for (const [name, { answeredAt }] of this.#answers) {
      if (nowMs - answeredAt <= patienceMs) continue
      this.#answers.delete(name)
      this.#usage.delete(name)
      this.#cpu.delete(name)
      this.#parts.places.forgetWorker(name)
    }
  }
}

function withoutHeartbeats(hostname: string): FleetWorker {
  const none = { pid: null, heardAt: null, active: null, processed: null, loadavg: [], software: null, system: null }
  const counts = { received: 0, succeeded: 0, failed: 0, retried: 0, revoked: 0 }
  return { hostname, isAlive: true, freq: 0, ...none, counts }
}

function statsIn(reply: Replies<StatsReply>[string] | undefined): StatsReply | null {
  return typeof reply === 'object' && reply !== null && !isErrorReply(reply) ? reply : null
}

function queueNames(reply: Replies<readonly QueueReply[]>[string] | undefined): string[] | undefined {
  if (!Array.isArray(reply)) return undefined
  return (reply as QueueReply[]).map((queue) => queue?.name).filter((name) => typeof name === 'string')
}

function usage(stats: StatsReply | null): Readonly<Record<string, number>> | null {
  const rusage = stats?.rusage
  return typeof rusage === 'object' && rusage !== null ? rusage : null
}

function cpuSeconds(stats: StatsReply): number | null {
  const { utime, stime } = usage(stats) ?? {}
  return typeof utime === 'number' && typeof stime === 'number' ? utime + stime : null
}

/** KiB, as Linux has it. */
function maxRss(stats: StatsReply | null): number | null {
  const kib = usage(stats)?.maxrss
  return typeof kib === 'number' ? kib * 1_024 : null
}
