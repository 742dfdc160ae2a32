/** What a running task knows and may do, and which task is running here. */
import { AsyncLocalStorage } from 'node:async_hooks'
import type { Duration } from '../duration.ts'
import type { CeleriacError, Retry } from '../errors.ts'
import type { Logger } from '../logger.ts'

/** Given to a task as its last parameter (schema form) or first one (`bind: true`). */
export interface TaskContext {
  readonly taskId: string
  readonly name: string
  /** Queue the message came from. */
  readonly queue: string
  /** Retries so far: 0 on the first run. */
  readonly retries: number
  /** 1, and one more for each worker that was lost while it had this message. */
  readonly deliveryCount: number
  readonly rootId: string
  readonly parentId: string | null
  readonly groupId: string | null
  /** Headers of the message, the caller's own among them. */
  readonly headers: Readonly<Record<string, unknown>>
  /** Node name of the worker. */
  readonly worker: string
  /** Aborts at the soft time limit and when the worker must stop now. Pass it to whatever you wait for. */
  readonly signal: AbortSignal
  /** Logs with the task's name and id. */
  readonly logger: Logger
  /** Stores a state of the task's own, e.g. `('PROGRESS', { done: 3, of: 10 })`. Nothing without a result store. */
  updateState(state: string, meta?: unknown): Promise<void>
  /**
   * Does something once, however often the task is run: its result is kept, and later runs are given that. Killed between
   * its effect and the keeping, it is done again.
   * @param name no other step of this task may have it
   * @throws CeleriacError `STEP_INVALID`, `RESULTS_DISABLED` without a store to keep it in, `PAYLOAD_INVALID`
   * @example const charge = await ctx.step('charge', () => bank.charge(order))
   */
  step<T>(name: string, work: () => T | Promise<T>): Promise<T>
  /**
   * Gives the slot back for so long: the run ends here, and the task is run again from its beginning when the time is over,
   * past the steps that it has done. Costs no retry. What it throws is not to be caught.
   * @param name where the number of sleeps before this one may differ from run to run
   * @throws CeleriacError `STEP_INVALID` within a step, `RESULTS_DISABLED`
   */
  sleep(duration: Duration, name?: string): Promise<void>
  /** An error to throw: run this task again later. @example throw ctx.retry({ countdown: '30s', cause: error }) */
  retry(options?: { countdown?: Duration; maxRetries?: number; cause?: unknown }): Retry
  /**
   * An error to throw: go on as something else, whose result becomes this task's; callbacks, the rest of its chain and the
   * chord it belongs to follow that. Of a group it is the list of its values.
   * @example throw ctx.replace(group(pages.map((page) => fetchPage.s(page))))
   */
  replace(canvas: Composed): CeleriacError
  /**
   * Adds a member to the chord whose header this task is in: sent once this task has succeeded. Its value comes after those
   * of the header.
   * @throws CeleriacError `CANVAS_INVALID` where it is in none
   */
  addToChord(canvas: Composed): void
}

/** A signature, chain, group or chord with all its arguments. */
export interface Composed {
  readonly kind: 'signature' | 'chain' | 'group' | 'chord'
  readonly types: { readonly takes: () => void }
}

/** What calls from inside a running task inherit. */
export interface RunningTask {
  readonly taskId: string
  readonly rootId: string
  /** Takes down what this run has sent. */
  addChild(taskId: string): void
}

/**
 * Follows a run through everything it awaits. Below Node 24 that makes every promise of the process three times as dear
 * while it is on (measured: 0.7 instead of 0.24 µs for an `await`), and most of what a worker does is promises. So tasks
 * whose function returns no promise do without it: they are over before anything else runs.
 */
const following = new AsyncLocalStorage<RunningTask>()
let isFollowing = false
/** Runs under way that are followed. */
let followed = 0
/** The run whose function is on the stack, where it is not followed. */
let onStack: RunningTask | undefined
/** By task, how many of its first runs returned no promise. */
const plainRuns = new WeakMap<object, number>()
/** After so many a task is taken for one that never returns a promise; if it does, it is followed from then on. */
const enoughPlainRuns = 20

/** The task in whose run this code is called, if any. */
export function runningTask(): RunningTask | undefined {
  return onStack ?? following.getStore()
}

/** @param definition what tells this task from others */
export function runAs<T>(task: RunningTask, definition: object, work: () => T): T {
  const plain = plainRuns.get(definition) ?? 0
  const result = plain < enoughPlainRuns ? follow(task, work) : runOnStack(task, work)
  const isPromise = typeof (result as { then?: unknown } | null | undefined)?.then === 'function'
  if (isPromise) plainRuns.set(definition, Number.NEGATIVE_INFINITY)
  else if (plain < enoughPlainRuns) plainRuns.set(definition, plain + 1)
  return result
}

function follow<T>(task: RunningTask, work: () => T): T {
  isFollowing = true
  followed += 1
  const end = (): void => {
    followed -= 1
  }
  try {
    const result = following.run(task, work)
    Promise.resolve(result).then(end, end)
    return result
  } catch (error) {
    end()
    throw error
  }
}

function runOnStack<T>(task: RunningTask, work: () => T): T {
  if (isFollowing && followed === 0) {
    following.disable()
    isFollowing = false
  }
  const outer = onStack
  onStack = task
  try {
    return work()
  } finally {
    onStack = outer
  }
}
