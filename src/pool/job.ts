/** What a pool is given to run, and what it says back while it runs. */
import type { Message } from '../broker/broker.ts'
import type { CeleriacError } from '../errors.ts'
import type { TaskMessage } from '../send/message.ts'
import type { TaskDefinition } from '../task/registry.ts'
import type { BatchOutcome, RunOutcome } from './outcome.ts'

/** One run of a task. */
export interface Job {
  readonly message: TaskMessage
  /** The message as it came. */
  readonly wire: Message
  readonly definition: TaskDefinition
  /** Queue the message came from. */
  readonly queue: string
  /** See `TaskContext.deliveryCount`. */
  readonly deliveryCount: number
  /** Ids of the tasks it has sent while running. */
  readonly children: string[]
  /** Names of the durable steps that it has come to. */
  readonly steps?: string[]
  /** All calls of a batch, this one first. Its run is one job. */
  readonly batch?: readonly Job[]
}

/** A job under way. */
export interface Execution {
  /** Never rejects. To be asked for once: in this process, it is what starts the run. */
  outcome(): Promise<RunOutcome | BatchOutcome>
  /** Aborts `ctx.signal`; what the task then throws ends it as the reason says. */
  abort(reason: CeleriacError): void
  /** Ends it whether it heeds its signal or not, where the pool can; tells whether it could. */
  kill(reason: CeleriacError): boolean
  /** Process id of where it runs; null where nobody else should signal it. */
  readonly pid: number | null
}

/** How long a run may take. */
export interface Limits {
  /** In ms; undefined = none. */
  readonly softMs: number | undefined
  readonly hardMs: number | undefined
}

/** The limits of a job: its message's own, else its task's. */
export function limitsOf({ message, definition: { options } }: Job): Limits {
  return {
    softMs: message.softTimeLimitS === null ? options.softTimeLimitMs : message.softTimeLimitS * 1_000,
    hardMs: message.timeLimitS === null ? options.timeLimitMs : message.timeLimitS * 1_000,
  }
}
