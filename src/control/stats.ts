/** What a worker says of itself: `stats`, `conf`, `report`, `active_queues`. */
import { release, type } from 'node:os'
import { getHeapStatistics } from 'node:v8'
import type { AppConfig } from '../config.ts'
import type { Recycled } from '../pool/pool.ts'
import { redacted } from '../redacted.ts'
import { packageVersion } from '../version.ts'
import type { Autoscaler } from '../work/autoscaler.ts'
import type { Worker } from '../work/worker.ts'
import type {
  AutoscalerStats,
  BrokerStats,
  ConfReply,
  PoolStats,
  ProcessStats,
  QueueReply,
  StatsReply,
} from './replies.ts'

export function statsOf(worker: Worker, config: AppConfig, clock: number, nowMs: number): StatsReply {
  return {
    total: worker.totals(),
    pid: process.pid,
    clock: String(clock),
    uptime: Math.round((nowMs - worker.startedAt) / 1_000),
    pool: poolStats(worker),
    broker: brokerStats(config.broker),
    prefetch_count: worker.settings.prefetch ?? worker.pools.reduce((sum, { capacity }) => sum + capacity, 0),
    rusage: resourceUsage(),
    process: processStats(worker),
    ...(worker.autoscaler !== undefined && { autoscaler: autoscalerStats(worker.autoscaler, worker) }),
  }
}

function processStats({ loopLagMs, settings }: Worker): ProcessStats {
  const { rss, heapUsed } = process.memoryUsage()
  const { maxMemoryPerChildBytes: limit } = settings
  return {
    rss,
    heap_used: heapUsed,
    heap_limit: getHeapStatistics().heap_size_limit,
    loop_lag: loopLagMs / 1_000,
    max_memory_per_child: Number.isFinite(limit) ? limit : null,
  }
}

/** `current` = slots, `qty` = those that are taken. */
function autoscalerStats({ max, min }: Autoscaler, worker: Worker): AutoscalerStats {
  return { max, min, current: worker.pools[0]?.size ?? 0, qty: worker.health().running }
}

function poolStats(worker: Worker): PoolStats {
  const [pool] = worker.pools
  const { maxTasksPerChild, optimization } = worker.settings
  const pids = worker.pools.flatMap((each) => each.pids())
  const recycled = worker.pools.flatMap((each) => each.recycled ?? [])
  return {
    implementation: `celeriac:${pool?.kind}`,
    'max-concurrency': pool?.size ?? 0,
    pools: Object.fromEntries(worker.pools.map(({ kind, size }) => [kind, size])),
    ...(recycled.length > 0 && { recycled: recycled.reduce(sumOf) }),
    processes: pids.length === 0 ? [process.pid] : pids,
    'max-tasks-per-child': Number.isFinite(maxTasksPerChild) ? maxTasksPerChild : 'N/A',
    'put-guarded-by-semaphore': false,
    timeouts: [0, 0],
    writes: { strategy: optimization },
  }
}

function sumOf(a: Recycled, b: Recycled): Recycled {
  return {
    tasks: a.tasks + b.tasks,
    memory: a.memory + b.memory,
    command: a.command + b.command,
    killed: a.killed + b.killed,
    lost: a.lost + b.lost,
  }
}

/** Of a URL, without its password. */
function brokerStats(url: string): BrokerStats {
  const parsed = URL.canParse(url) ? new URL(url) : undefined
  const transport = parsed?.protocol.replace(':', '') ?? 'sqlite'
  return {
    hostname: parsed?.hostname || null,
    userid: parsed?.username || null,
    virtual_host: decodeURIComponent(parsed?.pathname.slice(1) ?? '') || '/',
    port: parsed?.port ? Number(parsed.port) : null,
    insist: false,
    ssl: transport === 'rediss' || transport === 'amqps',
    transport,
    connect_timeout: 4,
    transport_options: {},
    login_method: null,
    uri_prefix: null,
    heartbeat: null,
    failover_strategy: 'round-robin',
    alternates: [],
    credential_provider: null,
  }
}

/** Sizes in KiB and times in seconds, as `getrusage` has them. */
function resourceUsage(): Record<string, number> {
  const { userCPUTime, systemCPUTime, ...usage } = process.resourceUsage()
  return {
    utime: userCPUTime / 1e6,
    stime: systemCPUTime / 1e6,
    maxrss: usage.maxRSS,
    ixrss: usage.sharedMemorySize,
    idrss: usage.unsharedDataSize,
    isrss: usage.unsharedStackSize,
    minflt: usage.minorPageFault,
    majflt: usage.majorPageFault,
    nswap: usage.swappedOut,
    inblock: usage.fsRead,
    oublock: usage.fsWrite,
    msgsnd: usage.ipcSent,
    msgrcv: usage.ipcReceived,
    nsignals: usage.signalsCount,
    nvcsw: usage.voluntaryContextSwitches,
    nivcsw: usage.involuntaryContextSwitches,
  }
}

export function queueReply(name: string): QueueReply {
  return {
    name,
    exchange: {
      name,
      type: 'direct',
      arguments: null,
      durable: true,
      passive: false,
      auto_delete: false,
      delivery_mode: null,
      no_declare: false,
    },
    routing_key: name,
    queue_arguments: null,
    binding_arguments: null,
    consumer_arguments: null,
    durable: true,
    exclusive: false,
    auto_delete: false,
    no_ack: false,
    alias: null,
    bindings: [],
    no_declare: null,
    expires: null,
    message_ttl: null,
    max_length: null,
    max_length_bytes: null,
    max_priority: null,
  }
}

/** The settings that Celery has too, by its names. */
export function confOf(config: AppConfig): ConfReply {
  return {
    broker_url: redacted(config.broker),
    result_backend: config.results === undefined ? null : redacted(config.results),
    task_default_queue: config.defaultQueue,
    task_default_priority: config.defaultPriority ?? null,
    task_serializer: config.serializer,
    task_compression: config.compression === 'none' ? null : config.compression,
    accept_content: config.acceptContent,
    result_expires: Number.isFinite(config.resultExpiresMs) ? config.resultExpiresMs / 1_000 : null,
    broker_transport_options: { visibility_timeout: config.leaseMs / 1_000 },
  }
}

export function reportOf(worker: Worker, config: AppConfig, tasks: readonly string[]): string {
  const software = `celeriac:${packageVersion()} node:${process.versions.node} platform:${type()} ${release()}`
  const { pool, poolSizes } = worker.settings
  return [
    `software -> ${software}`,
    `broker -> ${redacted(config.broker)} results:${config.results === undefined ? 'disabled' : redacted(config.results)}`,
    `pool -> ${pool} concurrency:${poolSizes[pool]}`,
    `queues -> ${worker.queues.join(', ')}`,
    `tasks -> ${tasks.join(', ')}`,
  ].join('\n')
}
