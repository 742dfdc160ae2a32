/**
 * The workers that serve a flow: how much they run at once and what CPU they use, as they say themselves (`stats`), and
 * whether they send events of tasks. Python's workers say the same.
 */
import { hostname } from 'node:os'
import type { Control } from '../control/client.ts'
import { isErrorReply, isOkReply, type QueueReply, type StatsReply } from '../control/replies.ts'
import { processCpuMs } from './process-cpu.ts'

/** A worker at one moment. */
export interface WorkerReading {
  readonly name: string
  readonly pid: number
  readonly queues: readonly string[]
  /** Where tasks run that do not say otherwise. */
  readonly pool: string
  /** Tasks at once, by kind of pool. */
  readonly slots: Readonly<Record<string, number>>
  /** CPU time so far of the worker, in ms; null where it does not say. */
  readonly cpuMs: number | null
  /** The same of its child processes, by pid; null where they are on another machine. */
  readonly childCpuMs: ReadonlyMap<number, number> | null
}

/** A worker during the test. */
export interface WorkerUse {
  readonly name: string
  /** Workers with the same one share a process, and its CPU time is told by each of them. */
  readonly process: string
  readonly queues: readonly string[]
  readonly pool: string
  readonly slots: Readonly<Record<string, number>>
  /** CPU time used, its child processes included; null where that is not known, or the worker was replaced. */
  readonly cpuMs: number | null
  /** On this machine. */
  readonly isLocal: boolean
}

/** Busy workers may need longer than the second that is the custom. */
const timeout = '2s'
/** Celery's pools by our names. */
const celeryPools: Readonly<Record<string, string>> = { prefork: 'processes', gevent: 'async', eventlet: 'async' }

export class Fleet {
  readonly #control: Control
  readonly #destination: readonly string[]
  /** Those that sent no events before we asked. */
  #switchedOn: readonly string[] = []

  /** @param workers node names of those that serve the flow */
  constructor(control: Control, workers: readonly string[]) {
    this.#control = control
    this.#destination = workers
  }

  /** Has all send events of tasks. */
  async enableEvents(): Promise<void> {
    if (this.#destination.length === 0) return
    const replies = await this.#control.enableEvents({ ...this.#asked, reply: true })
    this.#switchedOn = Object.entries(replies).flatMap(([name, reply]) =>
      isOkReply(reply) && !reply.ok.includes('already') ? [name] : [],
    )
  }

  /** Has those stop that sent none before. */
  async restoreEvents(): Promise<void> {
    if (this.#switchedOn.length === 0) return
    await this.#control.disableEvents({ destination: this.#switchedOn })
    this.#switchedOn = []
  }

  /** Asks all of them; who does not answer is missing. */
  async read(): Promise<WorkerReading[]> {
    if (this.#destination.length === 0) return []
    const inspect = this.#control.inspect(this.#asked)
    const [stats, queues] = await Promise.all([inspect.stats(), inspect.activeQueues()])
    return Object.entries(stats).flatMap(([name, reply]) => {
      const served = queues[name]
      if (isErrorReply(reply) || !Array.isArray(served)) return []
      return [reading(name, reply, served as readonly QueueReply[])]
    })
  }

  get #asked(): { readonly timeout: '2s'; readonly destination: readonly string[] } {
    return { timeout, destination: this.#destination }
  }
}

/** What was used between two readings. One that is missing in the second has gone, and what it used is not known. */
export function usesOf(before: readonly WorkerReading[], after: readonly WorkerReading[]): WorkerUse[] {
  return before.map((first) => {
    const { name, queues, pool } = first
    const last = after.find((one) => one.name === name && one.pid === first.pid)
    const slots = Object.fromEntries(
      Object.entries(first.slots).map(([kind, size]) => [kind, Math.max(size, last?.slots[kind] ?? 0)]),
    )
    const cpuMs = last === undefined ? null : cpuBetween(first, last)
    const process = `${first.pid}@${name.slice(name.lastIndexOf('@') + 1)}`
    return { name, process, queues, pool, slots, cpuMs, isLocal: isLocal(name) }
  })
}

function cpuBetween(first: WorkerReading, last: WorkerReading): number | null {
  if (first.cpuMs === null || last.cpuMs === null || first.childCpuMs === null || last.childCpuMs === null) return null
  let usedMs = last.cpuMs - first.cpuMs
  // Of a child that was replaced, what it used from the last reading to its end is not known.
  for (const [pid, cpuMs] of last.childCpuMs) usedMs += cpuMs - (first.childCpuMs.get(pid) ?? 0)
  return usedMs
}

function reading(name: string, stats: StatsReply, served: readonly QueueReply[]): WorkerReading {
  const { pool, pid, rusage } = stats
  const pids = (pool.processes ?? []).filter((child) => child !== pid)
  const { utime, stime } = typeof rusage === 'object' ? rusage : ({} as Readonly<Record<string, number>>)
  const kind = kindOf(pool.implementation)
  return {
    name,
    pid,
    queues: served.map((queue) => queue.name),
    pool: kind,
    slots: pool.pools ?? { [kind]: pool['max-concurrency'] ?? 1 },
    cpuMs: utime === undefined || stime === undefined ? null : (utime + stime) * 1_000,
    childCpuMs: pids.length > 0 && !isLocal(name) ? null : childrenCpu(pids),
  }
}

function childrenCpu(pids: readonly number[]): Map<number, number> {
  return new Map(
    pids.flatMap((pid) => {
      const cpuMs = processCpuMs(pid)
      return cpuMs === undefined ? [] : [[pid, cpuMs] as const]
    }),
  )
}

/** `celeriac:async`, `celery.concurrency.prefork:TaskPool`. */
function kindOf(implementation = ''): string {
  const [, own] = /^celeriac:(\w+)$/.exec(implementation) ?? []
  const [, celerys = 'processes'] = /\.(\w+):TaskPool$/.exec(implementation) ?? []
  return own ?? celeryPools[celerys] ?? celerys
}

function isLocal(name: string): boolean {
  return name.endsWith(`@${hostname()}`)
}
