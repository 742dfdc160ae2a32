/**
 * Which queue a task is in. Most events do not say it: it is learned from those that do, from messages seen in their
 * queues, and from workers that consume one queue alone.
 */

/** Names of tasks remembered; what was learned of longest ago is forgotten. */
const maxNames = 10_000

export class Places {
  readonly #byName = new Map<string, string>()
  readonly #queuesByWorker = new Map<string, readonly string[]>()

  learn(task: string | null, queue: string): void {
    if (task === null || this.#byName.get(task) === queue) return
    this.#byName.delete(task)
    this.#byName.set(task, queue)
    if (this.#byName.size > maxNames) this.#byName.delete(this.#byName.keys().next().value as string)
  }

  consumes(worker: string, queues: readonly string[]): void {
    this.#queuesByWorker.set(worker, queues)
  }

  forgetWorker(worker: string): void {
    this.#queuesByWorker.delete(worker)
  }

  /** Null where nothing tells. */
  queueOf(task: string | null, worker: string | null): string | null {
    const known = task === null ? undefined : this.#byName.get(task)
    if (known !== undefined) return known
    const queues = worker === null ? undefined : this.#queuesByWorker.get(worker)
    return queues?.length === 1 ? (queues[0] ?? null) : null
  }
}
