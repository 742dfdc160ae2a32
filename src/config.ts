/** What an application can be told, checked and defaulted once. */
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { type Compression, checkCompression } from './compression.ts'
import { type Duration, type Size, toBytes, toMs } from './duration.ts'
import { CeleriacError } from './errors.ts'
import { type Logger, stderrLogger } from './logger.ts'
import { oneOf, refuseUnknown, wholeNumber } from './options.ts'
import { type Optimization, optimizations, type PoolKind, poolKinds } from './pool-kinds.ts'

export type Durability = 'full' | 'group' | 'relaxed'

export interface AppOptions<Routes, TaskDefaults> {
  /**
   * URL of the broker: `sqlite://file.db` or a path, `redis://`, `rediss://`, `sentinel://`, `amqp://`, `amqps://`, or
   * `memory://name`. @default 'sqlite://celeriac.db'
   */
  readonly broker?: string
  /** Keep states and results: true = with the broker, a URL = elsewhere. @default false */
  readonly results?: boolean | string
  /**
   * What a resolved promise has survived, where the broker leaves the choice: `full` a loss of power, `group` the death
   * of any process, `relaxed` the same, with the file at risk when power is lost. @default 'group'
   */
  readonly durability?: Durability
  /** Queue of tasks that no option or route sends elsewhere. @default 'celery' */
  readonly defaultQueue?: string
  /**
   * Priority of calls that nothing else gives one, 0 to 9. Without one, a message takes the broker's usual place: behind
   * all on SQLite and RabbitMQ, before all on Redis as for every Celery client there. @default none
   */
  readonly defaultPriority?: number
  readonly taskRoutes?: Routes
  /** Options of all tasks that do not say otherwise. */
  readonly taskDefaults?: TaskDefaults
  /** How long results are kept; 0 keeps them for ever. @default '1d' */
  readonly resultExpires?: Duration
  /** Largest body of a call. @default '1MB' */
  readonly maxMessageSize?: Size
  /**
   * Serializer of calls that say none: `'json'`, `'msgpack'`, `'yaml'`, or one added by `registerSerializer`.
   * @default 'json'
   */
  readonly serializer?: string
  /** How bodies of 1 KiB and more are compressed. `zstd` needs Node 22.15 or newer. @default 'none' */
  readonly compression?: Compression | 'none'
  /** Serializers that workers accept, by name or content type. @default ['json'], and the app's `serializer` */
  readonly acceptContent?: readonly string[]
  /** Of crontabs that name none: an IANA name, such as `'Europe/Berlin'`. @default 'UTC' */
  readonly timezone?: string
  /** How long a dead worker's tasks stay away. @default '30s' */
  readonly lease?: Duration
  /** How long a call waits for a broker that cannot be reached, before it is refused. @default '10s' */
  readonly publishTimeout?: Duration
  /** pino's shape. @default warnings and errors to stderr */
  readonly logger?: Logger
}

export interface AppConfig {
  readonly broker: string
  /** Undefined = none are kept. */
  readonly results: string | undefined
  readonly durability: Durability
  readonly defaultQueue: string
  readonly defaultPriority: number | undefined
  readonly resultExpiresMs: number
  readonly maxMessageBytes: number
  readonly serializer: string
  readonly compression: Compression | 'none'
  readonly acceptContent: readonly string[]
  readonly timezone: string
  readonly leaseMs: number
  readonly publishTimeoutMs: number
  readonly logger: Logger
  /** Whether the logger was given, not defaulted. */
  readonly hasOwnLogger: boolean
}

const knownOptions: readonly (keyof AppOptions<unknown, unknown>)[] = [
  'broker',
  'results',
  'durability',
  'defaultQueue',
  'defaultPriority',
  'taskRoutes',
  'taskDefaults',
  'resultExpires',
  'maxMessageSize',
  'serializer',
  'compression',
  'acceptContent',
  'timezone',
  'lease',
  'publishTimeout',
  'logger',
]

/** @throws CeleriacError `CONFIG_INVALID` */
export function resolveConfig(options: AppOptions<unknown, unknown>): AppConfig {
  refuseUnknown(options, knownOptions, 'the options of the application')
  const { broker = 'sqlite://celeriac.db', results = false, durability = 'group', defaultQueue = 'celery' } = options
  if (!['full', 'group', 'relaxed'].includes(durability)) {
    throw new CeleriacError(
      'CONFIG_INVALID',
      `\`durability\` must be 'full', 'group' or 'relaxed', got '${durability}'`,
    )
  }
  const { serializer = 'json' } = options
  const resultExpiresMs = toMs(options.resultExpires ?? '1d', 'resultExpires')
  return {
    broker,
    results: results === true ? broker : results === false ? undefined : results,
    durability,
    defaultQueue,
    defaultPriority:
      options.defaultPriority === undefined ? undefined : wholeNumber(options.defaultPriority, 'defaultPriority', 0, 9),
    resultExpiresMs: resultExpiresMs === 0 ? Number.POSITIVE_INFINITY : resultExpiresMs,
    maxMessageBytes: toBytes(options.maxMessageSize ?? '1MB', 'maxMessageSize'),
    serializer,
    compression: checkCompression(options.compression ?? 'none'),
    acceptContent: options.acceptContent ?? [...new Set(['json', serializer])],
    timezone: options.timezone ?? 'UTC',
    leaseMs: toMs(options.lease ?? '30s', 'lease'),
    publishTimeoutMs: toMs(options.publishTimeout ?? '10s', 'publishTimeout'),
    logger: options.logger ?? stderrLogger,
    hasOwnLogger: options.logger !== undefined,
  }
}

export interface WorkerOptions {
  /** Queues to consume. @default the default queue and those of the app's tasks */
  readonly queues?: readonly string[]
  /** Where tasks run that do not say otherwise. @default 'async' */
  readonly pool?: PoolKind
  /** Tasks running at once in that pool. @default 100 for `async`, the number of cores for `processes` and `threads` */
  readonly concurrency?: number
  /** Tasks running at once in the other pools, for tasks with a `pool` of their own. @default as `concurrency` */
  readonly pools?: Partial<Readonly<Record<PoolKind, number>>>
  /** `throughput` keeps a short pipeline before each child, for tiny tasks. @default 'fair' */
  readonly optimization?: Optimization
  /** A child is replaced after so many tasks. @default never */
  readonly maxTasksPerChild?: number
  /** A child that has grown so large is replaced after its task. @default never */
  readonly maxMemoryPerChild?: Size
  /**
   * The module that exports the application, as a path or `import.meta.url`; children load it. It must not start
   * workers itself. @default with `celeriac worker -A`, that module
   */
  readonly module?: string
  /** Let the pool grow up to `max` and shrink down to `min` with the load. @default its size is fixed */
  readonly autoscale?: { readonly max: number; readonly min?: number }
  /** Send events of every task from the start, not only once somebody asks for them. @default false */
  readonly taskEvents?: boolean
  /** Answer remote control and tell the fleet that the worker is there. @default true */
  readonly remoteControl?: boolean
  /** Node name, `name@host`. @default `celeriac-<pid>@<host>` */
  readonly name?: string
  /** Messages at hand, running ones included. @default adapts to how long tasks take */
  readonly prefetch?: number
  /** How long this worker's tasks stay away if it dies. @default the app's */
  readonly lease?: Duration
  /** How long `stop()` waits for running tasks before it aborts their signals. @default '30s' */
  readonly shutdownTimeout?: Duration
  /** pino's shape. @default the app's */
  readonly logger?: Logger
}

export interface WorkerConfig {
  readonly queues: readonly string[] | undefined
  readonly pool: PoolKind
  readonly poolSizes: Readonly<Record<PoolKind, number>>
  readonly optimization: Optimization
  readonly maxTasksPerChild: number
  readonly maxMemoryPerChildBytes: number
  readonly module: string | undefined
  readonly autoscale: { readonly max: number; readonly min: number } | undefined
  readonly taskEvents: boolean
  readonly remoteControl: boolean
  readonly name: string | undefined
  readonly prefetch: number | undefined
  readonly leaseMs: number
  readonly shutdownTimeoutMs: number
  readonly logger: Logger
}

const knownWorkerOptions: readonly (keyof WorkerOptions)[] = [
  'queues',
  'pool',
  'concurrency',
  'pools',
  'optimization',
  'maxTasksPerChild',
  'maxMemoryPerChild',
  'module',
  'autoscale',
  'taskEvents',
  'remoteControl',
  'name',
  'prefetch',
  'lease',
  'shutdownTimeout',
  'logger',
]

/** @throws CeleriacError `CONFIG_INVALID` */
export function resolveWorkerConfig(options: WorkerOptions, app: AppConfig): WorkerConfig {
  refuseUnknown(options, knownWorkerOptions, 'the options of the worker')
  const { queues, name, prefetch, lease, shutdownTimeout = '30s', module, maxMemoryPerChild } = options
  const { maxTasksPerChild = Number.POSITIVE_INFINITY } = options
  if (queues?.length === 0) throw new CeleriacError('CONFIG_INVALID', '`queues` must name at least one queue')
  return {
    queues,
    pool: oneOf(options.pool ?? 'async', 'pool', poolKinds),
    poolSizes: poolSizes(options),
    optimization: oneOf(options.optimization ?? 'fair', 'optimization', optimizations),
    maxTasksPerChild: Number.isFinite(maxTasksPerChild)
      ? wholeNumber(maxTasksPerChild, 'maxTasksPerChild', 1)
      : Number.POSITIVE_INFINITY,
    maxMemoryPerChildBytes:
      maxMemoryPerChild === undefined ? Number.POSITIVE_INFINITY : toBytes(maxMemoryPerChild, 'maxMemoryPerChild'),
    module: module?.startsWith('file:') ? fileURLToPath(module) : module,
    autoscale: autoscaleOf(options.autoscale),
    taskEvents: options.taskEvents ?? false,
    remoteControl: options.remoteControl ?? true,
    name,
    prefetch: prefetch === undefined ? undefined : wholeNumber(prefetch, 'prefetch', 1),
    leaseMs: lease === undefined ? app.leaseMs : toMs(lease, 'lease'),
    shutdownTimeoutMs: toMs(shutdownTimeout, 'shutdownTimeout'),
    logger: options.logger ?? app.logger,
  }
}

function autoscaleOf(bounds: WorkerOptions['autoscale']): WorkerConfig['autoscale'] {
  if (bounds === undefined) return undefined
  const max = wholeNumber(bounds.max, 'autoscale.max', 1)
  return { max, min: wholeNumber(bounds.min ?? 1, 'autoscale.min', 0, max) }
}

/** The pool of the worker's own kind begins at its smallest, where it grows by itself. */
function poolSizes({ pool = 'async', concurrency, pools = {}, autoscale }: WorkerOptions): Record<PoolKind, number> {
  refuseUnknown(pools, poolKinds, 'the option `pools` of the worker')
  const cores = availableParallelism()
  const sizes = { async: 100, processes: cores, threads: cores, solo: 1, ...pools }
  if (autoscale !== undefined) sizes[pool] = Math.max(1, autoscale.min ?? 1)
  if (concurrency !== undefined) sizes[pool] = wholeNumber(concurrency, 'concurrency', 1)
  for (const kind of poolKinds) wholeNumber(sizes[kind], `pools.${kind}`, 1)
  if (sizes.solo !== 1)
    throw new CeleriacError('CONFIG_INVALID', "the pool 'solo' runs one task at a time; `async` more")
  return sizes
}
