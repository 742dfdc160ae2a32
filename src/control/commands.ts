/**
 * Every command of Celery's remote control, with its replies (`celery/worker/control.py`): texts are as Python's workers
 * write them, since programs read them.
 */

import type { Clock } from '../clock.ts'
import type { AppConfig } from '../config.ts'
import type { EventDispatcher } from '../events/dispatcher.ts'
import type { LamportClock } from '../events/lamport-clock.ts'
import { toRate } from '../rate.ts'
import { errorRepr, setRepr } from '../send/repr.ts'
import type { Registry, TaskDefinition } from '../task/registry.ts'
import type { Worker } from '../work/worker.ts'
import type { Heartbeat } from './heartbeat.ts'
import { memorySample, writeHeapSnapshot } from './memory.ts'
import { type Command, Refusal } from './node.ts'
import type { HelloReply, QueueReply, TaskQueryReply } from './replies.ts'
import { activeInfos, reservedInfos } from './request-info.ts'
import type { Revocations } from './revocations.ts'
import { confOf, queueReply, reportOf, statsOf } from './stats.ts'

export interface CommandParts {
  readonly worker: Worker
  readonly config: AppConfig
  readonly registry: Registry
  readonly clock: Clock
  readonly lamport: LamportClock
  readonly events: EventDispatcher
  readonly heartbeat: Heartbeat
  readonly revocations: Revocations
}

const aliases = {
  conf: 'dump_conf',
  registered: 'dump_tasks',
  active: 'dump_active',
  reserved: 'dump_reserved',
  scheduled: 'dump_schedule',
  revoked: 'dump_revoked',
} as const

export function workerCommands(parts: CommandParts): ReadonlyMap<string, Command> {
  const commands = new Map<string, Command>(Object.entries({ ...inspecting(parts), ...controlling(parts) }))
  for (const [name, alias] of Object.entries(aliases)) commands.set(alias, commands.get(name) as Command)
  return commands
}

export const ping: Command = () => ({ ok: 'pong' })

function inspecting({ worker, config, registry, clock, lamport, revocations }: CommandParts): Record<string, Command> {
  return {
    ping,
    clock: () => ({ clock: lamport.value }),
    report: () => ({ ok: reportOf(worker, config, registry.names()) }),
    conf: () => confOf(config),
    stats: () => statsOf(worker, config, lamport.value, clock.now()),
    registered: ({ taskinfoitems }) => registered(registry, taskinfoitems),
    active: ({ safe }) => activeInfos(worker, Boolean(safe)),
    reserved: () => reservedInfos(worker),
    // Tasks with an ETA wait in the broker, not here.
    scheduled: () => [],
    revoked: () => worker.revoked.entries().map(([id]) => id),
    query_task: ({ ids }) => queryTask(worker, texts(ids, 'ids')),
    active_queues: (): QueueReply[] => worker.queues.map(queueReply),
    memsample: () => memorySample(),
    memdump: () => ({ ok: memorySample() }),
    objgraph: () => ({ filename: writeHeapSnapshot() }),
    hello: ({ from_node: from, revoked }) => {
      if (from === worker.name) return undefined
      revocations.merge(revoked)
      return hello(worker, lamport, clock)
    },
  }
}

function controlling(parts: CommandParts): Record<string, Command> {
  const { worker, registry, events, heartbeat, revocations } = parts
  const known = (name: unknown): TaskDefinition | undefined => registry.get(String(name))
  return {
    revoke: async ({ task_id: ids, terminate, signal }) => {
      const revoked = texts(ids, 'task_id')
      await revocations.revoke(revoked)
      return revokedReply(worker, revoked, Boolean(terminate), signalOf(signal))
    },
    terminate: async ({ task_id: ids, signal }) => {
      const revoked = texts(ids, 'task_id')
      await revocations.revoke(revoked)
      return revokedReply(worker, revoked, true, signalOf(signal))
    },
    revoke_by_stamped_headers: ({ headers, terminate, signal }) => {
      const stamps = stampsOf(headers)
      worker.revoked.addStamps(stamps)
      const stopped = worker.stopRevoked(Boolean(terminate), signalOf(signal))
      const text = `headers {${Object.entries(stamps)
        .map(([name, values]) => `'${name}': [${values.map((value) => `'${value}'`).join(', ')}]`)
        .join(', ')}} flagged as revoked`
      return { ok: terminate ? `${text}, and ${stopped.length} terminated` : `${text}, but not terminated` }
    },
    rate_limit: ({ task_name: name, rate_limit: limit }) => {
      if (known(name) === undefined) return { error: 'unknown task' }
      let perSecond: number | undefined
      try {
        perSecond = toRate(limit)
      } catch (error) {
        return { error: `Invalid rate limit string: ${errorRepr('ValueError', (error as Error).message)}` }
      }
      worker.limitRate(String(name), perSecond)
      return { ok: perSecond === undefined ? 'rate limit disabled successfully' : 'new rate limit set successfully' }
    },
    time_limit: ({ task_name: name, soft, hard }) => {
      if (known(name) === undefined) return { error: 'unknown task' }
      worker.limit(String(name), { softMs: seconds(soft, 'soft'), hardMs: seconds(hard, 'hard') })
      return { ok: 'time limits set successfully' }
    },
    pool_grow: ({ n }) => {
      const more = count(n)
      resize(worker, (size) => size + more)
      return { ok: 'pool will grow' }
    },
    pool_shrink: ({ n }) => {
      const fewer = count(n)
      resize(worker, (size) => size - fewer)
      return { ok: 'pool will shrink' }
    },
    pool_restart: () => {
      if (worker.pools.every((pool) => pool.pids().length === 0 && pool.kind !== 'threads')) {
        throw new Refusal('ValueError', `the pool '${worker.settings.pool}' has no children to restart`)
      }
      for (const pool of worker.pools) pool.recycle()
      return { ok: 'reload started' }
    },
    autoscale: ({ max, min }) => {
      const autoscaler = worker.autoscaler
      if (autoscaler === undefined) throw new Refusal('ValueError', 'Autoscale not enabled')
      autoscaler.update(
        max === null ? undefined : count(max),
        min === null || min === undefined ? undefined : count(min, 0),
      )
      return { ok: `autoscale now max=${autoscaler.max} min=${autoscaler.min}` }
    },
    add_consumer: async ({ queue }) => {
      const name = text(queue, 'queue')
      if (worker.queues.includes(name)) return { ok: `already consuming from '${name}'` }
      await worker.addQueue(name)
      return { ok: `add consumer ${name}` }
    },
    cancel_consumer: async ({ queue }) => {
      const name = text(queue, 'queue')
      await worker.cancelQueue(name)
      return { ok: `no longer consuming from ${name}` }
    },
    enable_events: () => switchEvents(events, true),
    disable_events: () => switchEvents(events, false),
    heartbeat: () => void heartbeat.beat(),
    shutdown: () => void worker.stop(),
    // Elections of others are acknowledged; a worker of ours never stands for one.
    election: () => undefined,
  }
}

function registered(registry: Registry, items: unknown): string[] {
  const wanted = Array.isArray(items) ? items.map(String) : []
  return registry.names().map((name) => {
    const { options } = registry.get(name) as TaskDefinition
    const facts: Record<string, unknown> = {
      max_retries: options.maxRetries,
      rate_limit: options.rateLimit?.text,
      time_limit: options.timeLimitMs === undefined ? undefined : options.timeLimitMs / 1_000,
      soft_time_limit: options.softTimeLimitMs === undefined ? undefined : options.softTimeLimitMs / 1_000,
      acks_late: options.acksLate,
      ignore_result: options.ignoreResult,
      track_started: options.trackStarted,
      queue: options.queue,
      priority: options.priority,
    }
    const told = wanted.filter((item) => facts[item] !== undefined).map((item) => `${item}=${facts[item]}`)
    return told.length === 0 ? name : `${name} [${told.join(' ')}]`
  })
}

function queryTask(worker: Worker, ids: readonly string[]): TaskQueryReply {
  const found: Record<string, TaskQueryReply[string]> = {}
  for (const info of reservedInfos(worker)) if (ids.includes(info.id)) found[info.id] = ['reserved', info]
  for (const info of activeInfos(worker, false)) if (ids.includes(info.id)) found[info.id] = ['active', info]
  return found
}

/** Times are the sender's monotonic seconds; Python reads nothing but floats there, hence the fraction. */
function hello(worker: Worker, lamport: LamportClock, clock: Clock): HelloReply {
  const nowS = Math.floor(clock.monotonic() / 1_000) + 0.5
  const revoked = Object.fromEntries(worker.revoked.entries().map(([id]) => [id, [nowS, id] as const]))
  return { revoked, clock: lamport.tick() }
}

function revokedReply(worker: Worker, ids: readonly string[], terminate: boolean, signum: string | number | null) {
  const stopped = worker.stopRevoked(terminate, signum).filter((id) => ids.includes(id))
  if (!terminate) return { ok: `tasks ${setRepr(ids)} flagged as revoked` }
  return { ok: stopped.length === 0 ? 'terminate: tasks unknown' : `terminate: ${stopped.join(', ')}` }
}

function resize(worker: Worker, change: (size: number) => number): void {
  if (worker.autoscaler !== undefined) {
    throw new Refusal('ValueError', 'the pool is scaled automatically; use autoscale')
  }
  const [pool] = worker.pools
  const size = change(pool?.size ?? 0)
  if (size < 1) throw new Refusal('ValueError', "Can't shrink pool. All processes busy!")
  worker.resize(size)
}

function switchEvents(events: EventDispatcher, wanted: boolean): { ok: string } {
  const word = wanted ? 'enabled' : 'disabled'
  if (events.sendsTaskEvents === wanted) return { ok: `task events already ${word}` }
  events.sendsTaskEvents = wanted
  return { ok: `task events ${word}` }
}

function text(value: unknown, name: string): string {
  if (typeof value === 'string' && value !== '') return value
  throw new Refusal('TypeError', `${name} must be a text, got ${JSON.stringify(value)}`)
}

/** One text or a list of them. */
function texts(value: unknown, name: string): string[] {
  const list = Array.isArray(value) ? value : [value]
  if (list.every((item) => typeof item === 'string' && item !== '')) return list as string[]
  throw new Refusal('TypeError', `${name} must be a text or a list of texts, got ${JSON.stringify(value)}`)
}

function stampsOf(headers: unknown): Record<string, string[]> {
  if (typeof headers !== 'object' || headers === null || Array.isArray(headers)) {
    throw new Refusal('TypeError', `headers must be an object, got ${JSON.stringify(headers)}`)
  }
  return Object.fromEntries(
    Object.entries(headers).map(([name, values]) => [name, (Array.isArray(values) ? values : [values]).map(String)]),
  )
}

function signalOf(signal: unknown): string | number | null {
  return typeof signal === 'string' || typeof signal === 'number' ? signal : null
}

/** @param value seconds; null and 0 = none */
function seconds(value: unknown, name: string): number | undefined {
  if (value === null || value === undefined || value === 0) return undefined
  if (typeof value === 'number' && value > 0) return value * 1_000
  throw new Refusal('ValueError', `${name} must be a number of seconds, got ${JSON.stringify(value)}`)
}

function count(value: unknown, least = 1): number {
  if (value === undefined) return 1
  if (Number.isInteger(value) && (value as number) >= least) return value as number
  throw new Refusal('ValueError', `n must be a whole number of at least ${least}, got ${JSON.stringify(value)}`)
}
