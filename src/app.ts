/** The application: its tasks, its connections, its workers. Joins up everything else. */
import { hostname } from 'node:os'
import type { StandardSchemaV1 } from '@standard-schema/spec'
import { Beat } from './beat/beat.ts'
import { type BeatEntry, ownSchedule } from './beat/entry.ts'
import type { Schedule } from './beat/schedule.ts'
import { Schedules } from './beat/schedules.ts'
import type { Broker } from './broker/broker.ts'
import type { Bus } from './broker/bus.ts'
import type { Limiter } from './broker/limiter.ts'
import type { ScheduleStore } from './broker/schedule-store.ts'
import { Signature } from './canvas/signature.ts'
import { type Clock, systemClock } from './clock.ts'
import {
  type AppConfig,
  type AppOptions,
  resolveConfig,
  resolveWorkerConfig,
  type WorkerConfig,
  type WorkerOptions,
} from './config.ts'
import { type Connection, connect } from './connect.ts'
import { Control } from './control/client.ts'
import { remember } from './control/revocations.ts'
import { WorkerNode } from './control/worker-node.ts'
import { CeleriacError } from './errors.ts'
import { LamportClock } from './events/lamport-clock.ts'
import type { Logger } from './logger.ts'
import { isInChild } from './pool/in-child.ts'
import type { AsyncResult } from './result/async-result.ts'
import type { GroupResult } from './result/group-result.ts'
import type { ResultStore } from './result/result-store.ts'
import type { WaitingJoin } from './result/why.ts'
import { Content } from './send/content.ts'
import { DeadLetters } from './send/dead-letters.ts'
import { Producer } from './send/producer.ts'
import { createRouter, type Router, type TaskRoutes } from './send/router.ts'
import { type Serializer, Serializers } from './send/serializer.ts'
import { type BatchContext, type BatchOptions, batchKey, checkBatchOptions } from './task/batch.ts'
import { type CallOptions, checkCallOptions } from './task/call-options.ts'
import type { TaskContext } from './task/context.ts'
import { inputFromWire, validate } from './task/input.ts'
import type { Middleware } from './task/middleware.ts'
import { checkTaskDefaults, resolveTaskOptions, type TaskOptions } from './task/options.ts'
import { Registry, type TaskDefinition } from './task/registry.ts'
import { Signals } from './task/signals.ts'
import { type HandleSender, Task } from './task-handle.ts'
import { Revoked } from './work/revoked.ts'
import { signalObserver } from './work/signal-observer.ts'
import { Worker, type WorkerParts } from './work/worker.ts'

export type CeleriacOptions = AppOptions<TaskRoutes, TaskOptions>

type AnyFunction = (...args: never[]) => unknown

// biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is what it stands for
type BatchReturn<Out> = readonly Out[] | void | Promise<readonly Out[] | void>

/** What an open application works with. */
interface Connected {
  readonly broker: Broker
  /** Not open yet: most applications never listen. */
  readonly bus: Bus
  /** Not open yet either. */
  readonly limiter: Limiter | undefined
  readonly results: ResultStore | undefined
  /** Not open yet. */
  readonly scheduleStore: ScheduleStore
  readonly producer: Producer
  readonly deadLetters: DeadLetters
  readonly content: Content
}

/** Where tests take hold of an application: see `celeriac/testing/app`. */
export const stage: unique symbol = Symbol.for('celeriac.stage')

export interface Staging {
  /** URL, of its results too where it keeps some. */
  readonly broker: string
  readonly clock: Clock
  readonly wrapBroker: (broker: Broker) => Broker
}

/** Marks an application, so that the CLI recognises one that another copy of this package made. */
export const appBrand: unique symbol = Symbol.for('celeriac.app')

export class Celeriac {
  readonly [appBrand] = true
  readonly name: string
  readonly registry = new Registry()
  #config: AppConfig
  #clock: Clock = systemClock
  /** What stands between the application and its broker; in tests only. */
  #wrapBroker: (broker: Broker) => Broker = (broker) => broker
  readonly #serializers = new Serializers()
  #content: Content | undefined
  readonly #middleware: Middleware[] = []
  readonly #signals: Signals
  readonly #taskDefaults: TaskOptions
  readonly #router: Router
  /** With their part in the fleet. */
  readonly #workers = new Map<Worker, WorkerNode | undefined>()
  readonly #sender: HandleSender
  #opening: Promise<Connected> | undefined
  #connected: Connected | undefined
  #bus: Promise<Bus> | undefined
  #limiter: Promise<Limiter> | undefined
  #control: Control | undefined
  readonly #beatEntries = new Map<string, BeatEntry>()
  readonly #beats = new Set<Beat>()
  #scheduleStore: Promise<ScheduleStore> | undefined
  #schedules: Schedules | undefined

  /** Connects to nothing yet. @throws CeleriacError `CONFIG_INVALID` */
  constructor(name: string, options: CeleriacOptions = {}) {
    this.name = name
    this.#config = resolveConfig(options)
    this.#signals = new Signals(this.config.logger)
    this.#taskDefaults = checkTaskDefaults(options.taskDefaults ?? {})
    this.#router = createRouter(options.taskRoutes)
    this.#sender = {
      send: (canvas, options) => this.#withProducer((producer) => producer.send(canvas, options)),
      sendMany: (task, calls, options) => this.#withProducer((producer) => producer.sendMany(task, calls, options)),
    }
  }

  get config(): AppConfig {
    return this.#config
  }

  /** Has it work elsewhere and by another clock, for tests. @throws CeleriacError `CONFIG_INVALID` once it is open */
  [stage]({ broker, clock, wrapBroker }: Staging): void {
    if (this.#opening !== undefined) {
      throw new CeleriacError(
        'CONFIG_INVALID',
        'the application is open already; take it to a test before it sends anything',
      )
    }
    this.#config = { ...this.#config, broker, results: this.#config.results === undefined ? undefined : broker }
    this.#clock = clock
    this.#wrapBroker = wrapBroker
  }

  /**
   * Defines a task.
   * - With `input`, any Standard Schema: one input, checked when it is sent and when it is run; the context comes second.
   * - A plain function: its parameters are the arguments; with `bind: true` the context comes first.
   *
   * @example const add = app.task('add', (x: number, y: number) => x + y)
   * @throws CeleriacError `CONFIG_INVALID`, `TASK_DUPLICATE`
   */
  task<Input extends StandardSchemaV1, Out>(
    name: string,
    options: TaskOptions & { readonly input: Input },
    run: (input: StandardSchemaV1.InferOutput<Input>, ctx: TaskContext) => Out,
  ): Task<[StandardSchemaV1.InferInput<Input>], Awaited<Out>, StandardSchemaV1.InferInput<Input>>
  task<Args extends unknown[], Out>(
    name: string,
    options: TaskOptions & { readonly bind: true },
    run: (ctx: TaskContext, ...args: Args) => Out,
  ): Task<Args, Awaited<Out>, Args>
  task<Args extends unknown[], Out>(
    name: string,
    options: TaskOptions,
    run: (...args: Args) => Out,
  ): Task<Args, Awaited<Out>, Args>
  task<Args extends unknown[], Out>(name: string, run: (...args: Args) => Out): Task<Args, Awaited<Out>, Args>
  task(
    name: string,
    optionsOrRun: (TaskOptions & { input?: StandardSchemaV1; bind?: boolean }) | AnyFunction,
    runOrNothing?: AnyFunction,
  ): Task<unknown[], unknown, unknown> {
    const [options, run] = typeof optionsOrRun === 'function' ? [{}, optionsOrRun] : [optionsOrRun, runOrNothing]
    const { input, bind = false, ...own } = options
    const runner = runnerOf(name, input, bind, run as (...args: unknown[]) => unknown)
    return this.#define(name, input, own, run, {
      run: (args, kwargs, ctx) =>
        this.#isRunWatched ? this.#runWatched(runner, args, kwargs, ctx) : runner(args, kwargs, ctx),
    })
  }

  /**
   * Defines a task whose calls are run many at a time. Each call is a message, has a result and is acknowledged, retried
   * and redriven by itself; what the function throws ends all that are in its hands. It returns nothing, or a list with
   * the results of the items.
   * @example const ship = app.batch('ship', { maxSize: 10, maxWait: '2s' }, async (orders: Order[]) => truck.load(orders))
   * @throws CeleriacError `CONFIG_INVALID`, `TASK_DUPLICATE`
   */
  batch<Input extends StandardSchemaV1, Out = void>(
    name: string,
    options: BatchOptions<StandardSchemaV1.InferInput<Input>> & { readonly input: Input },
    run: (items: StandardSchemaV1.InferOutput<Input>[], ctx: BatchContext) => BatchReturn<Out>,
  ): Task<[StandardSchemaV1.InferInput<Input>], Out, StandardSchemaV1.InferInput<Input>>
  batch<Item, Out = void>(
    name: string,
    options: BatchOptions<Item>,
    run: (items: Item[], ctx: BatchContext) => BatchReturn<Out>,
  ): Task<[Item], Out, [Item]>
  batch(
    name: string,
    { input, ...options }: BatchOptions<never> & { input?: StandardSchemaV1 },
    run: (items: never[], ctx: BatchContext) => unknown,
  ): Task<unknown[], unknown, unknown> {
    const { sizes, key } = checkBatchOptions(name, options)
    const { maxSize: _maxSize, maxWait: _maxWait, key: _key, ...own } = options
    const runItems = run as (items: readonly unknown[], ctx: BatchContext) => unknown
    return this.#define(name, input, own, run, {
      run: () => {
        throw new CeleriacError('UNSUPPORTED', `'${name}' runs its calls in batches only`)
      },
      batching: {
        ...sizes,
        keyOf: (args, kwargs) => (key === undefined ? '' : batchKey(name, key(inputFromWire(args, kwargs)))),
        read: (args, kwargs) => {
          const item = inputFromWire(args, kwargs)
          return input === undefined ? item : validate(input, item, name)
        },
        run: (items, ctx) =>
          this.#isRunWatched ? this.#runWatched(() => runItems(items, ctx), [items], {}, ctx) : runItems(items, ctx),
      },
    })
  }

  /**
   * A task that is defined elsewhere, by its name: in another service, or in Python.
   * Its calls with a countdown or eta are sent at once and kept by the worker that gets them, as Celery does it.
   * @example const add = app.remote<[number, number], number>('proj.tasks.add', { queue: 'python' })
   * @throws CeleriacError `CONFIG_INVALID`
   */
  remote<Args extends unknown[], Out>(name: string, options: CallOptions = {}): Task<Args, Out, Args> {
    return new Task(name, 'args', this.#sender, checkCallOptions(options))
  }

  /** Puts something around every send and every run, inside of what was put there before. */
  use(middleware: Middleware): void {
    this.#middleware.push(middleware)
  }

  /** What happens here, in Celery's names. @example app.signals.on('taskFailure', ({ task, error }) => report(task, error)) */
  get signals(): Signals {
    return this.#signals
  }

  /**
   * Adds a way to write and read bodies, to be named in `serializer` and `acceptContent`. To be called before the
   * application is opened.
   * @throws CeleriacError `CONFIG_INVALID` where there is one for the name or the content type
   */
  registerSerializer(serializer: Serializer): void {
    this.#serializers.register(serializer)
  }

  /** How bodies are written and read here. @throws CeleriacError `CONFIG_INVALID` for a serializer that is not there */
  get content(): Content {
    if (this.#content === undefined) {
      const { serializer, acceptContent } = this.config
      this.#serializers.get(serializer) // Refuses one that is not there, before the first call does.
      this.#content = new Content(this.#serializers, acceptContent)
    }
    return this.#content
  }

  /** The result of a call by its id. The application must be open. */
  result(id: string): AsyncResult {
    return this.#open.producer.result(id)
  }

  /**
   * The result of a group by its id: of one that was sent, of the header of a chord, or of one that was saved, also by
   * Python. Undefined where nothing is known of it. The application must be open.
   */
  group(id: string): Promise<GroupResult | undefined> {
    return this.#open.producer.group(id)
  }

  /**
   * Chords that wait for members of their header, the oldest first, and why; `isStuck` marks those that nothing will
   * complete any more. The application must be open.
   * @throws CeleriacError `RESULTS_DISABLED`, `UNSUPPORTED` for results that cannot be joined
   */
  waitingJoins(): Promise<WaitingJoin[]> {
    return this.#open.producer.waitingJoins()
  }

  /** The broker. The application must be open. */
  get broker(): Broker {
    return this.#open.broker
  }

  /** The result store, if results are kept. The application must be open. */
  get results(): ResultStore | undefined {
    return this.#open.results
  }

  /** What was given up. The application must be open. */
  get deadLetters(): DeadLetters {
    return this.#open.deadLetters
  }

  /**
   * Events and remote control. Connects where that has not been done; closes with the application.
   * @throws CeleriacError the broker's error
   */
  bus(): Promise<Bus> {
    this.#bus ??= this.#openBus().catch((error) => {
      this.#bus = undefined
      throw error
    })
    return this.#bus
  }

  /** Asks the workers of the broker, and tells them what to do; also those of other applications, and Python's. */
  get control(): Control {
    this.#control ??= new Control({
      bus: () => this.bus(),
      lamport: new LamportClock(),
      clock: this.#clock,
      remember: async (ids) => {
        const [{ broker }, bus] = await Promise.all([this.#connect(), this.bus()])
        await remember(ids, { broker, bus, clock: this.#clock })
      },
    })
    return this.#control
  }

  /**
   * Declares what is to be sent periodically, by name. A beat brings it into the broker when it starts: `celeriac beat`,
   * `celeriac worker -B`, or `startBeat`.
   *
   * @example app.beat({ 'tidy up': { task: tidyUp, schedule: crontab({ minute: 0, hour: 3 }), args: [30] } })
   * @throws CeleriacError `CONFIG_INVALID` for a name that was declared before
   */
  beat(entries: Readonly<Record<string, BeatEntry>>): void {
    for (const [name, entry] of Object.entries(entries)) {
      if (this.#beatEntries.has(name)) {
        throw new CeleriacError('CONFIG_INVALID', `the schedule entry '${name}' was declared twice`)
      }
      this.#beatEntries.set(name, entry)
    }
  }

  /** Whether anything was declared with `beat`. */
  get hasSchedule(): boolean {
    return this.#beatEntries.size > 0
  }

  /** The schedule, as the broker has it: to look at, and to change while beats run. */
  get schedules(): Schedules {
    this.#schedules ??= new Schedules({
      scope: this.name,
      timezone: this.config.timezone,
      store: () => this.#openScheduleStore(),
      bus: () => this.bus(),
      keepsResults: async () =>
        (await this.#connect()).results?.replyTo === undefined && this.config.results !== undefined,
      send: (task, { args, kwargs }, options) =>
        this.#sender.send(new Signature<[], unknown>({ task, args, kwargs, options, immutable: false }, this.#sender)),
      clock: this.#clock,
      logger: this.config.logger,
    })
    return this.#schedules
  }

  /**
   * Starts a beat in this process, after bringing what is declared into the broker. Any number of them may run anywhere:
   * one sends, the others are there in case it dies. Stops with the application.
   *
   * @throws CeleriacError `CONFIG_INVALID`, or a broker's error
   */
  async startBeat({ logger = this.config.logger }: { readonly logger?: Logger } = {}): Promise<Beat> {
    const own = new Map<string, Schedule>()
    for (const [name, entry] of this.#beatEntries) {
      const schedule = ownSchedule(entry)
      if (schedule !== undefined) own.set(name, schedule)
    }
    await this.schedules.declare(Object.fromEntries(this.#beatEntries))
    const { producer, results } = await this.#connect()
    const beat = new Beat({
      scope: this.name,
      store: await this.#openScheduleStore(),
      bus: () => this.bus(),
      producer,
      results,
      revoke: (id) => this.control.revoke(id, { terminate: true }),
      own,
      clock: this.#clock,
      logger,
    })
    this.#beats.add(beat)
    beat.start()
    return beat
  }

  /** Queues that this application's tasks go to. */
  get queues(): string[] {
    return [...new Set([this.config.defaultQueue, ...this.registry.names().map((name) => this.queueOf(name))])]
  }

  /** The queue of a task's calls that say none themselves; also of a task that is defined elsewhere. */
  queueOf(task: string): string {
    return this.registry.get(task)?.options.queue ?? this.#router(task, [], {}).queue ?? this.config.defaultQueue
  }

  /** Connects. Sending and workers do it by themselves. @throws CeleriacError the broker's or the store's error */
  async open(): Promise<this> {
    await this.#connect()
    return this
  }

  /** Starts a worker in this process. */
  async worker(options: WorkerOptions = {}): Promise<Worker> {
    if (isInChild()) {
      throw new CeleriacError(
        'CONFIG_INVALID',
        'the module of an application started a worker while a child of one was loading it; start workers elsewhere',
      )
    }
    const config = resolveWorkerConfig(options, this.config)
    const { broker, results, producer, content } = await this.#connect()
    const name = config.name ?? `celeriac-${process.pid}@${hostname()}`
    const parts: WorkerParts = {
      broker,
      results,
      producer,
      registry: this.registry,
      content,
      clock: this.#clock,
      logger: config.logger,
      worker: name,
      revoked: new Revoked(this.#clock),
      limiter: this.#usesLimits() ? await this.#openLimiter() : undefined,
    }
    const worker = new Worker({ ...config, name, queues: config.queues ?? this.queues }, parts)
    worker.observe(signalObserver(this.#signals))
    this.#signals.send('workerInit', { worker: name })
    worker.stopping.addEventListener('abort', () => {
      this.#signals.send('workerShuttingDown', { worker: name })
      void worker.stop().then(() => this.#signals.send('workerShutdown', { worker: name }))
    })
    const node = config.remoteControl ? await this.#nodeOf(worker, broker, config) : undefined
    try {
      await worker.start()
    } catch (error) {
      await node?.stop()
      throw error
    }
    this.#workers.set(worker, node)
    this.#signals.send('workerReady', { worker: name })
    return worker
  }

  /** Stops this process's beats and workers, then lets go of the connections. Harmless when closed. */
  async close(): Promise<void> {
    const opening = this.#opening
    if (opening === undefined) return
    await Promise.all(Array.from(this.#beats, (beat) => beat.stop()))
    this.#beats.clear()
    await Promise.all(Array.from(this.#workers, ([worker, node]) => worker.stop().then(() => node?.stop())))
    this.#workers.clear()
    const bus = this.#bus
    const limiter = this.#limiter
    const scheduleStore = this.#scheduleStore
    this.#scheduleStore = undefined
    this.#opening = undefined
    this.#connected = undefined
    this.#bus = undefined
    this.#limiter = undefined
    const { broker, results } = await opening
    await (await bus?.catch(() => undefined))?.close()
    await (await limiter?.catch(() => undefined))?.close()
    await (await scheduleStore?.catch(() => undefined))?.close()
    await broker.close()
    await results?.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** At once where the application is open: a call must not wait for a turn that it does not need. */
  #withProducer<T>(send: (producer: Producer) => Promise<T>): Promise<T> {
    if (this.#connected !== undefined) return send(this.#connected.producer)
    return this.#connect().then(({ producer }) => send(producer))
  }

  get #open(): Connected {
    if (this.#connected === undefined) {
      throw new CeleriacError('CLOSED', `the application '${this.name}' is not open; await app.open() first`)
    }
    return this.#connected
  }

  #connect(): Promise<Connected> {
    this.#opening ??= this.#openConnections().catch((error) => {
      this.#opening = undefined
      throw error
    })
    return this.#opening
  }

  /** With the signals and the middleware of a run; most applications have neither. */
  /** @param run the user's function, of whatever kind */
  #define(
    name: string,
    input: StandardSchemaV1 | undefined,
    options: TaskOptions,
    run: unknown,
    runs: Pick<TaskDefinition, 'run' | 'batching'>,
  ): Task<unknown[], unknown, unknown> {
    if (typeof name !== 'string' || name === '') {
      throw new CeleriacError('CONFIG_INVALID', `a task's name must be a text, got ${String(name)}`)
    }
    if (typeof run !== 'function') {
      throw new CeleriacError('CONFIG_INVALID', `task '${name}' lacks its function: app.task(name, options, function)`)
    }
    this.registry.add({ name, input, options: resolveTaskOptions(name, options, this.#taskDefaults), ...runs })
    return new Task(name, input === undefined ? 'args' : 'input', this.#sender)
  }

  async #runWatched(
    runner: TaskDefinition['run'],
    args: readonly unknown[],
    kwargs: Readonly<Record<string, unknown>>,
    context: TaskContext,
  ): Promise<unknown> {
    const around = this.#middleware.filter(({ run }) => run !== undefined)
    const runFrom = async (at: number): Promise<unknown> => {
      const next = around[at]?.run
      return next === undefined ? runner(args, kwargs, context) : next(context, () => runFrom(at + 1))
    }
    this.#signals.send('taskPrerun', { context, args, kwargs })
    try {
      const value = await runFrom(0)
      this.#signals.send('taskPostrun', { context, args, kwargs, value, error: undefined })
      return value
    } catch (error) {
      this.#signals.send('taskPostrun', { context, args, kwargs, value: undefined, error })
      throw error
    }
  }

  get #isRunWatched(): boolean {
    return this.#middleware.length > 0 || this.#signals.has('taskPrerun') || this.#signals.has('taskPostrun')
  }

  /** Whether a task is limited in all workers together. */
  #usesLimits(): boolean {
    return this.registry.names().some((name) => {
      const { concurrency, rateLimit } = (this.registry.get(name) as TaskDefinition).options
      return concurrency !== undefined || rateLimit?.scope === 'cluster'
    })
  }

  /** @throws CeleriacError `UNSUPPORTED` where neither broker nor results can keep limits */
  #openLimiter(): Promise<Limiter> {
    this.#limiter ??= this.#connect().then(async ({ limiter }) => {
      if (limiter === undefined) {
        throw new CeleriacError(
          'UNSUPPORTED',
          'limits that hold for all workers together (`concurrency`, `unique`, a `rateLimit` of the cluster) need SQLite or ' +
            'Redis as broker, or for results: RabbitMQ cannot keep them',
        )
      }
      await limiter.open()
      return limiter
    })
    return this.#limiter
  }

  #openScheduleStore(): Promise<ScheduleStore> {
    this.#scheduleStore ??= this.#connect()
      .then(async ({ scheduleStore }) => {
        await scheduleStore.open()
        return scheduleStore
      })
      .catch((error) => {
        this.#scheduleStore = undefined
        throw error
      })
    return this.#scheduleStore
  }

  /** A worker that cannot be heard or told anything is still a worker. */
  async #nodeOf(worker: Worker, broker: Broker, { logger, taskEvents }: WorkerConfig): Promise<WorkerNode | undefined> {
    try {
      const bus = await this.bus()
      const { registry, config } = this
      const parts = { worker, broker, bus, registry, config, clock: this.#clock, logger, sendsTaskEvents: taskEvents }
      const node = new WorkerNode(parts)
      await node.start()
      worker.stopping.addEventListener('abort', () => void worker.stop().then(() => node.stop()))
      return node
    } catch (error) {
      logger.error({ worker: worker.name, error }, 'the worker cannot be controlled: it has no part in the fleet')
      return undefined
    }
  }

  async #openBus(): Promise<Bus> {
    const { bus } = await this.#connect()
    await bus.open()
    return bus
  }

  async #openConnections(): Promise<Connected> {
    const { broker: brokerUrl, results: resultsUrl } = this.config
    const { content } = this
    const options = { ...this.config, clock: this.#clock }
    const connection: Connection = await connect(brokerUrl, options)
    await connection.broker.open()
    const broker = this.#wrapBroker(connection.broker)
    let results: ResultStore | undefined
    let { limiter } = connection
    if (resultsUrl !== undefined) {
      const second = resultsUrl === brokerUrl ? connection : await connect(resultsUrl, options)
      results = second.results
      limiter ??= second.limiter
      await results.open()
    }
    const producer = new Producer({
      broker,
      results,
      registry: this.registry,
      router: this.#router,
      clock: this.#clock,
      content,
      settings: this.config,
      revoke: (ids, options) => this.control.revoke(ids, options),
      limiter: () => this.#openLimiter(),
      signals: this.#signals,
      middleware: this.#middleware,
    })
    const deadLetters = new DeadLetters(broker, results, this.#clock, content)
    const scheduleStore = connection.schedules(this.name)
    this.#connected = { broker, bus: connection.bus, limiter, results, scheduleStore, producer, deadLetters, content }
    return this.#connected
  }
}

/** From arguments on the wire to the user's function. Keyword arguments for a plain function come last, as one object. */
function runnerOf(
  name: string,
  input: StandardSchemaV1 | undefined,
  bind: boolean,
  run: (...args: unknown[]) => unknown,
): TaskDefinition['run'] {
  if (input !== undefined) {
    return (args, kwargs, ctx) => {
      const value = validate(input, inputFromWire(args, kwargs), name)
      return value instanceof Promise ? value.then((checked) => run(checked, ctx)) : run(value, ctx)
    }
  }
  return (args, kwargs, ctx) => {
    const all = bind ? [ctx, ...args] : args
    for (const _key in kwargs) return run(...all, kwargs)
    return run(...all)
  }
}
