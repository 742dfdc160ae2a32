/** The contract of what runs tasks. */
import type { PoolKind } from '../pool-kinds.ts'
import type { Execution, Job } from './job.ts'

/** Children that were replaced since the start, by what ended them. */
export interface Recycled {
  /** They had run their share of tasks. */
  readonly tasks: number
  /** They had grown too large. */
  readonly memory: number
  /** A command to restart the pool. */
  readonly command: number
  /** A time limit or a revoke ended what they ran. */
  readonly killed: number
  /** They ended by themselves. */
  readonly lost: number
}

export interface Pool<J extends Job = Job> {
  readonly kind: PoolKind
  /** Jobs it runs at once. */
  readonly size: number
  /** Jobs it takes at once: more than `size` where they wait in a pipeline. */
  readonly capacity: number
  /** Undefined without children. */
  readonly recycled: Recycled | undefined
  /** @throws CeleriacError `APP_NOT_FOUND` … why its children cannot run anything */
  start(): Promise<void>
  /** To be called only while fewer than `capacity` are under way. */
  execute(job: J): Execution
  /** Runs so many at once from now on. What runs already ends in peace. @param size at least 1 */
  resize(size: number): void
  /** Replaces every child once it is idle. Nothing without children. */
  recycle(): void
  /** Process ids of its children; empty without any. */
  pids(): number[]
  /** Ends its children, by force after a grace. */
  stop(): Promise<void>
}
