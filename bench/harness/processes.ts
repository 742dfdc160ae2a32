/**
 * Measured processes. Every measurement runs in a fresh child that ends by itself; one that does not answer by its
 * deadline is killed, by the handle it was started with, and its measurement fails.
 *
 * A child is told its job in its first message, may say 'ready' and wait for 'go', once or more often, and ends with a
 * result or an error.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { ParamsOf, ResultOf, RoleName } from '../roles/index.ts'
import type { SideName, Store } from '../sides/side.ts'
import { type Deferred, deferred } from './deferred.ts'

export interface Job<N extends RoleName = RoleName> {
  readonly role: N
  readonly side: SideName | 'raw'
  readonly store: Store
  readonly params: ParamsOf<N>
}

export type FromChild =
  | { readonly type: 'ready' }
  | { readonly type: 'result'; readonly result: unknown }
  | { readonly type: 'error'; readonly message: string }

export interface ChildOptions {
  /** Longest life in ms, start to result. @default 120_000 */
  readonly deadlineMs?: number
  /** Node's own flags, such as `--cpu-prof`. */
  readonly execArgv?: readonly string[]
}

export interface Child<R> {
  /** The child's first 'ready', and with every further call the one after it. */
  ready(): Promise<void>
  readonly result: Promise<R>
  go(): void
}

const entry = fileURLToPath(new URL('../child.ts', import.meta.url))
const loader = fileURLToPath(new URL('../../scripts/run-ts.mjs', import.meta.url))
const living = new Set<ChildProcess>()
/** Set for good by `killChildren`: what waits for a child then waits until the benchmark's end. */
let isStopping = false

/** Starts a child on a job. Its promises reject when it fails, ends early or outlives its deadline. */
export function startChild<N extends RoleName>(job: Job<N>, options: ChildOptions = {}): Child<ResultOf<N>> {
  const { deadlineMs = 120_000, execArgv = [] } = options
  const child = fork(loader, [entry], { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  living.add(child)
  const what = `${job.side} ${job.role}`

  /** One for each 'ready' that was told or is waited for, whichever came first. */
  const readies: Deferred<void>[] = []
  let told = 0
  let awaited = 0
  const ready = (index: number): Deferred<void> => {
    readies[index] ??= guarded(deferred<void>())
    return readies[index]
  }
  const result = guarded(deferred<ResultOf<N>>())
  let failure: Error | undefined
  const fail = (message: string): void => {
    failure ??= new Error(`${what}: ${message}`)
    for (const waiting of readies) waiting.reject(failure)
    result.reject(failure)
  }

  const deadline = setTimeout(() => {
    fail(`no result within ${deadlineMs} ms, killed`)
    child.kill('SIGKILL')
  }, deadlineMs)

  let answer: ResultOf<N> | undefined
  child.on('message', (message: FromChild) => {
    if (message.type === 'ready') ready(told++).resolve()
    else if (message.type === 'error') fail(message.message)
    else answer = message.result as ResultOf<N>
  })
  // It may have died before it could be told something.
  child.on('error', ({ message }) => fail(message))
  // The result counts once the process is gone: the next one then has the machine, and the store, to itself.
  child.on('exit', (code, signal) => {
    clearTimeout(deadline)
    living.delete(child)
    if (isStopping) return
    if (answer === undefined) fail(`ended with ${signal ?? `exit code ${code}`} and no result`)
    else result.resolve(answer)
  })
  child.send(job)
  return {
    ready: () => (failure === undefined ? ready(awaited++).promise : Promise.reject(failure)),
    result: result.promise,
    go: () => child.send('go'),
  }
}

/** A child that fails before anybody looks at a promise of it must not end the benchmark. */
function guarded<T>(waiting: Deferred<T>): Deferred<T> {
  waiting.promise.catch(() => {})
  return waiting
}

/** Starts a child and waits for its result. */
export function runChild<N extends RoleName>(job: Job<N>, options?: ChildOptions): Promise<ResultOf<N>> {
  return startChild(job, options).result
}

/** After a measurement that failed: its other children would take part in the next one. */
export function endLeftovers(): void {
  for (const child of living) child.kill('SIGKILL')
}

/** For an interrupted benchmark: nothing it started outlives it. */
export function killChildren(): void {
  isStopping = true
  endLeftovers()
}
