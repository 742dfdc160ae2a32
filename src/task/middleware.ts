/** What an application puts around every send and every run. */
import type { TaskContext } from './context.ts'

/** A call on its way out. */
export interface SentCall {
  readonly task: string
  readonly id: string
  readonly queue: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  /** The caller's own. */
  readonly headers: Readonly<Record<string, unknown>>
}

export interface Middleware {
  /**
   * Around the sending of calls. `next` sends them, with the headers that are given to it, and resolves once the broker
   * holds them. Throwing before it refuses them. Steps that follow a finished task are sent by its worker, without it;
   * the signal `beforeTaskPublish` sees those too.
   */
  send?(calls: readonly SentCall[], next: (calls: readonly SentCall[]) => Promise<void>): Promise<void>
  /** Around a run, where the task runs. `next` runs it and gives what it returns or throws. */
  run?(context: TaskContext, next: () => Promise<unknown>): unknown
}
