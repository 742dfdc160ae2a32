/**
 * For tests of applications, with any test runner: the real code on a broker in memory, by a clock that moves when told to.
 * See docs/testing.md.
 */
import { isDeepStrictEqual } from 'node:util'
import { type Celeriac, stage } from '../app.ts'
import type { Broker } from '../broker/broker.ts'
import type { WorkerOptions } from '../config.ts'
import { type Duration, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { isReady } from '../result/states.ts'
import type { Worker } from '../work/worker.ts'
import { type FlakyOptions, flakyBroker } from './flaky-broker.ts'
import { ManualClock } from './manual-clock.ts'

export { ManualClock } from './manual-clock.ts'
export type { FlakyOptions }

export interface TestOptions {
  /** Of the worker that runs what is sent; false for none, so that everything stays in its queue. @default all queues */
  readonly worker?: WorkerOptions | false
  /** A broker that fails now and then. @default one that does not */
  readonly flaky?: FlakyOptions
  /** @default 2025-01-01T00:00:00Z */
  readonly clock?: ManualClock
}

/** A call on its way. */
export interface Enqueued {
  readonly task: string
  readonly id: string
  readonly queue: string
  /** As they travel: an object's input is `kwargs`, parameters are `args`. */
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/** A run that is over. */
export interface Ran {
  readonly task: string
  readonly id: string
  readonly outcome: 'success' | 'retry' | 'failure' | 'revoked'
  /** What it returned. */
  readonly value?: unknown
  /** What it threw. */
  readonly error?: unknown
}

/** A task by its handle or its name. */
export type TaskName = { readonly name: string } | string

/** What can be waited for. */
export type Awaited = { state(): Promise<string> } | (() => boolean | Promise<boolean>)

let tests = 0
/** What is under way in real time, such as a file that is read, may take so long, in ms. */
const realMs = 5_000

export class TestApp {
  readonly app: Celeriac
  readonly clock: ManualClock
  readonly #sent: Enqueued[] = []
  readonly #ran: Ran[] = []
  readonly #failures = new Map<string, unknown[]>()
  readonly #stopListening: (() => void)[]
  readonly #worker: Worker | undefined

  constructor(app: Celeriac, clock: ManualClock, worker: Worker | undefined) {
    this.app = app
    this.clock = clock
    this.#worker = worker
    const { signals } = app
    const note = (outcome: Ran['outcome']) => {
      return ({ task, id, value, error }: { task: string; id: string; value?: unknown; error?: unknown }) =>
        void this.#ran.push({ task, id, outcome, ...(outcome === 'success' ? { value } : { error }) })
    }
    this.#stopListening = [
      signals.on('beforeTaskPublish', ({ task, id, queue, args, kwargs }) => {
        this.#sent.push({ task, id, queue, args, kwargs })
      }),
      signals.on('taskSuccess', note('success')),
      signals.on('taskRetry', note('retry')),
      signals.on('taskFailure', note('failure')),
      signals.on('taskRevoked', note('revoked')),
    ]
    app.use({
      run: (context, next) => {
        const failures = this.#failures.get(context.name)
        if (failures === undefined || failures.length === 0) return next()
        throw failures.shift()
      },
    })
  }

  /** What was sent so far, the steps of canvases included, in that order. */
  sent(task?: TaskName): Enqueued[] {
    return task === undefined ? [...this.#sent] : this.#sent.filter((call) => call.task === nameOf(task))
  }

  /** Runs that are over, in that order. */
  ran(task?: TaskName): Ran[] {
    return task === undefined ? [...this.#ran] : this.#ran.filter((run) => run.task === nameOf(task))
  }

  /**
   * A call of the task was sent, with these arguments where some are given: a list is all positional ones, an object is some
   * of the input's fields.
   * @returns the last such call @throws Error that lists what was sent instead
   */
  expectEnqueued(task: TaskName, expected?: readonly unknown[] | Readonly<Record<string, unknown>>): Enqueued {
    const calls = this.sent(task)
    const found = calls.filter((call) => expected === undefined || matches(call, expected)).at(-1)
    if (found !== undefined) return found
    const wanted = expected === undefined ? '' : ` with ${JSON.stringify(expected)}`
    const others = calls.map(({ args, kwargs }) => `  ${JSON.stringify(args)} ${JSON.stringify(kwargs)}`)
    const instead = others.length > 0 ? `; these were:\n${others.join('\n')}` : `; sent were: ${this.#names()}`
    throw new Error(`no call of '${nameOf(task)}'${wanted} was sent${instead}`)
  }

  /** The next runs of the task throw this instead of running. @param times @default 1 */
  failNext(task: TaskName, error: unknown, times = 1): void {
    const failures = this.#failures.get(nameOf(task)) ?? []
    failures.push(...Array.from({ length: times }, () => error))
    this.#failures.set(nameOf(task), failures)
  }

  /** Until nothing more can happen before time goes on. @throws Error when tasks run for longer than 5 s of real time */
  async run(): Promise<void> {
    const start = performance.now()
    for (let quietTurns = 0; quietTurns < 3; ) {
      await this.clock.advance(0)
      quietTurns = (await this.#isBusy()) ? 0 : quietTurns + 1
      if (performance.now() - start > realMs)
        throw new Error(`tasks still run after ${realMs} ms: ${await this.#running()}`)
    }
  }

  /** Lets time pass: what falls due on the way runs when it does. */
  async advance(duration: Duration): Promise<void> {
    await this.run()
    for (let leftMs = toMs(duration, 'duration'); leftMs > 0; ) leftMs -= await this.#pass(leftMs)
  }

  /**
   * Lets time pass until a result is there, whatever it is, or something holds.
   * @param within of the clock's time. @default '1d'
   * @throws Error when it does not come
   */
  async waitFor(what: Awaited, within: Duration = '1d'): Promise<void> {
    const untilMs = this.clock.monotonic() + toMs(within, 'within')
    await this.run()
    while (!(await holds(what))) {
      const leftMs = untilMs - this.clock.monotonic()
      if (leftMs <= 0) throw new Error(`it did not happen within ${String(within)}; sent were: ${this.#names()}`)
      await this.#pass(leftMs)
    }
  }

  /** Stops the worker and closes the application. */
  async close(): Promise<void> {
    for (const stop of this.#stopListening) stop()
    await this.app.close()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  /** Until something happens, but not for longer. @returns how long it was, in ms */
  async #pass(mostMs: number): Promise<number> {
    const queues = await this.app.broker.queues()
    let passMs = mostMs
    for (const { queue, ready, delayed } of queues) {
      if (delayed === 0) continue
      const [next] = await this.app.broker.peek(queue, 1, ready)
      if (next?.state === 'delayed') passMs = Math.min(passMs, next.at - this.clock.now())
    }
    // A batch waits for a timer, which shows nowhere else.
    if (this.#worker !== undefined && this.#worker.reserved().length > 0) {
      passMs = Math.min(passMs, this.clock.nextTimerMs ?? passMs)
    }
    passMs = Math.max(1, Math.ceil(passMs))
    await this.clock.leap(passMs)
    await this.run()
    return passMs
  }

  /** What the worker has and does not run waits for time to pass: calls of a batch, for others. */
  async #isBusy(): Promise<boolean> {
    const queues = await this.app.broker.queues()
    const waiting = this.#worker?.reserved().length ?? 0
    const held = queues.reduce((sum, { inFlight }) => sum + inFlight, 0)
    return held > waiting || queues.some(({ ready, consumers, paused }) => ready > 0 && consumers > 0 && !paused)
  }

  async #running(): Promise<string> {
    const queues = await this.app.broker.queues()
    return queues.map(({ queue, ready, inFlight }) => `${queue}: ${ready} ready, ${inFlight} running`).join('; ')
  }

  #names(): string {
    return this.#sent.map(({ task }) => task).join(', ') || 'none'
  }
}

/**
 * Takes an application, as its module exports it, to a broker in memory and to a clock of its own, and starts a worker.
 * To be called before it has sent anything.
 * @example await using test = await testApp(app)
 * @throws CeleriacError `CONFIG_INVALID` where it is open already
 */
export async function testApp(app: Celeriac, options: TestOptions = {}): Promise<TestApp> {
  const { worker = {}, flaky, clock = new ManualClock() } = options
  tests += 1
  const wrapBroker = (broker: Broker): Broker => (flaky === undefined ? broker : flakyBroker(broker, flaky))
  app[stage]({ broker: `memory://test-${tests}`, clock, wrapBroker })
  await app.open()
  return new TestApp(app, clock, worker === false ? undefined : await app.worker({ remoteControl: false, ...worker }))
}

function nameOf(task: TaskName): string {
  return typeof task === 'string' ? task : task.name
}

function matches(
  { args, kwargs }: Enqueued,
  expected: readonly unknown[] | Readonly<Record<string, unknown>>,
): boolean {
  if (Array.isArray(expected)) return isDeepStrictEqual(args, expected)
  const input = args.length === 0 ? kwargs : (args[0] as Readonly<Record<string, unknown>> | null)
  return Object.entries(expected).every(([key, value]) => isDeepStrictEqual(input?.[key], value))
}

async function holds(what: Awaited): Promise<boolean> {
  if (typeof what === 'function') return what()
  try {
    return isReady(await what.state())
  } catch (error) {
    if (error instanceof CeleriacError && error.code === 'RESULTS_DISABLED') throw error
    return false
  }
}
