/**
 * Measured processes. Every measurement runs in a fresh child that ends by itself; one that does not answer by its
 * deadline is killed, by the handle it was started with, and its measurement fails.
 *
 * A child is told its job in its first message, may say 'ready' and wait for 'go', and ends with a result or an error.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import type { ParamsOf, ResultOf, RoleName } from '../roles/index.ts'
import type { SideName, Store } from '../sides/side.ts'
import { deferred } from './deferred.ts'

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
  readonly ready: Promise<void>
  readonly result: Promise<R>
  go(): void
}

const entry = fileURLToPath(new URL('../child.ts', import.meta.url))
const loader = fileURLToPath(new URL('../../scripts/run-ts.mjs', import.meta.url))
const living = new Set<ChildProcess>()
/** Set for good by `killChildren`: what waits for a child then waits until the benchmark's end. */
let isStopping = false

/** Starts a child on a job. Both promises reject when it fails, ends early or outlives its deadline. */
export function startChild<N extends RoleName>(job: Job<N>, options: ChildOptions = {}): Child<ResultOf<N>> {
  const { deadlineMs = 120_000, execArgv = [] } = options
  const child = fork(loader, [entry], { execArgv: [...execArgv], stdio: ['ignore', 'inherit', 'inherit', 'ipc'] })
  living.add(child)
  const what = `${job.side} ${job.role}`

  const ready = deferred<void>()
  const result = deferred<ResultOf<N>>()
  const fail = (message: string): void => {
    ready.reject(new Error(`${what}: ${message}`))
    result.reject(new Error(`${what}: ${message}`))
  }
  // A child that fails before anybody looks at one of the two must not end the benchmark.
  ready.promise.catch(() => {})
  result.promise.catch(() => {})

  const deadline = setTimeout(() => {
    fail(`no result within ${deadlineMs} ms, killed`)
    child.kill('SIGKILL')
  }, deadlineMs)

  let answer: ResultOf<N> | undefined
  child.on('message', (message: FromChild) => {
    if (message.type === 'ready') ready.resolve()
    else if (message.type === 'error') fail(message.message)
    else answer = message.result as ResultOf<N>
  })
  // The result counts once the process is gone: the next one then has the machine, and the store, to itself.
  child.on('exit', (code, signal) => {
    clearTimeout(deadline)
    living.delete(child)
    if (isStopping) return
    if (answer === undefined) fail(`ended with ${signal ?? `exit code ${code}`} and no result`)
    else result.resolve(answer)
  })
  child.send(job)
  return { ready: ready.promise, result: result.promise, go: () => child.send('go') }
}

/** Starts a child and waits for its result. */
export function runChild<N extends RoleName>(job: Job<N>, options?: ChildOptions): Promise<ResultOf<N>> {
  return startChild(job, options).result
}

/** For an interrupted benchmark: nothing it started outlives it. */
export function killChildren(): void {
  isStopping = true
  for (const child of living) child.kill('SIGKILL')
}
