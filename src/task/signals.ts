/**
 * What happens in an application, told to its own code in Celery's names (docs, "Signals"). Listeners are called at once
 * and not waited for; what they throw is logged, and never costs a task.
 */
import type { Logger } from '../logger.ts'
import type { TaskContext } from './context.ts'

interface About {
  readonly task: string
  readonly id: string
  readonly queue: string
}

type Arguments = {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

interface OfWorker {
  /** Its node name. */
  readonly worker: string
}

export interface SignalTypes {
  /** A message is being made, in whatever process. What is put into `headers` goes along. */
  beforeTaskPublish: About & Arguments & { readonly headers: Record<string, unknown> }
  /** The broker holds it. Not for what a finished task sends on. */
  afterTaskPublish: About
  /** A worker has it, and starts it now. */
  taskReceived: About
  /** Where the task runs: in the child, if it runs in one. */
  taskPrerun: Arguments & { readonly context: TaskContext }
  /** The same. `error` is what it threw; `value` what it returned. */
  taskPostrun: Arguments & { readonly context: TaskContext; readonly value: unknown; readonly error: unknown }
  taskSuccess: About & { readonly value: unknown; readonly runMs: number }
  taskRetry: About & { readonly error: unknown; readonly countdownMs: number }
  /** It was given up; its message is with the dead letters. */
  taskFailure: About & { readonly error: unknown; readonly reason: string }
  taskRevoked: About & { readonly terminated: boolean; readonly expired: boolean }
  /** It goes back to its queue: the worker stops, or lost the child that ran it. */
  taskRejected: About
  /** Before it consumes. */
  workerInit: OfWorker
  workerReady: OfWorker
  /** It takes no more tasks; those that run may end. */
  workerShuttingDown: OfWorker
  workerShutdown: OfWorker
  /** In each child of a pool, once it has loaded the application. */
  workerProcessInit: { readonly pid: number }
  workerProcessShutdown: { readonly pid: number }
}

export type SignalName = keyof SignalTypes

type Listener<Name extends SignalName> = (signal: SignalTypes[Name]) => unknown

export class Signals {
  readonly #listeners = new Map<SignalName, Set<Listener<SignalName>>>()
  readonly #logger: Logger

  constructor(logger: Logger) {
    this.#logger = logger
  }

  /** @returns stops telling. @example app.signals.on('taskFailure', ({ task, error }) => report(task, error)) */
  on<Name extends SignalName>(name: Name, listener: Listener<Name>): () => void {
    const listeners = this.#listeners.get(name) ?? new Set()
    this.#listeners.set(name, listeners)
    listeners.add(listener as Listener<SignalName>)
    return () => {
      listeners.delete(listener as Listener<SignalName>)
      if (listeners.size === 0) this.#listeners.delete(name)
    }
  }

  /** Whether it is worth making one. */
  has(name: SignalName): boolean {
    return this.#listeners.size > 0 && this.#listeners.has(name)
  }

  send<Name extends SignalName>(name: Name, signal: SignalTypes[Name]): void {
    for (const listener of this.#listeners.get(name) ?? []) {
      try {
        const answer = listener(signal)
        if (answer instanceof Promise) answer.catch((error) => this.#complain(name, error))
      } catch (error) {
        this.#complain(name, error)
      }
    }
  }

  #complain(signal: SignalName, error: unknown): void {
    this.#logger.error({ signal, error }, 'a listener to a signal failed')
  }
}
