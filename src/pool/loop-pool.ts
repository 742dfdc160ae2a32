/** The pools on this event loop: `async` runs many tasks at once, `solo` one. */
import type { Execution, Job } from './job.ts'
import type { Pool } from './pool.ts'
import { Run, type RunParts } from './run.ts'

export class LoopPool<J extends Job> implements Pool<J> {
  readonly kind: 'async' | 'solo'
  readonly #parts: RunParts<J>
  #size: number

  constructor(kind: 'async' | 'solo', size: number, parts: RunParts<J>) {
    this.kind = kind
    this.#size = size
    this.#parts = parts
  }

  get size(): number {
    return this.#size
  }

  get capacity(): number {
    return this.#size
  }

  get recycled(): undefined {
    return undefined
  }

  async start(): Promise<void> {}

  execute(job: J): Execution {
    return new Run(job, this.#parts)
  }

  resize(size: number): void {
    this.#size = size
  }

  recycle(): void {}

  pids(): number[] {
    return []
  }

  async stop(): Promise<void> {}
}
