/** The staff of the warehouse: its workers, each of which is started again when it ends without being asked to. */
import type { Random } from './random.ts'
import type { Stage } from './stages.ts'
import { WorkerProcess } from './worker-process.ts'

export interface StaffOptions {
  readonly stages: readonly Stage[]
  readonly workersPerStage: number
  /** Folder for each worker's log. */
  readonly logs: string
  /** Environment of the workers, besides our own. */
  readonly environment: Record<string, string>
  /** Told what happens to the workers. */
  readonly say: (text: string) => void
  /** Told when a worker cannot be kept running. */
  readonly onHopeless: (error: Error) => void
}

/** A worker that does not get ready this often in a row never will. */
const maxFalseStarts = 3
/** How long a worker may take to finish its tasks before it is killed, in ms. */
const stopTimeoutMs = 10_000

export class Staff {
  readonly #options: StaffOptions
  readonly #workers = new Map<string, WorkerProcess>()
  readonly #killed = new Set<WorkerProcess>()
  #stopping = false
  #crashes = 0

  constructor(options: StaffOptions) {
    this.#options = options
  }

  /** Workers killed by `killOne`. */
  get kills(): number {
    return this.#killed.size
  }

  /** Workers that ended by themselves. */
  get crashes(): number {
    return this.#crashes
  }

  /** The workers of this moment. */
  list(): { name: string; pid: number | undefined }[] {
    return [...this.#workers.values()].map(({ name, pid }) => ({ name, pid }))
  }

  /** Resolves when every worker is ready to take tasks. @throws Error with the last words of the one that is not */
  async start(): Promise<void> {
    const { stages, workersPerStage } = this.#options
    const started = stages.flatMap((stage) =>
      Array.from({ length: workersPerStage }, (_, index) => this.#employ(`${stage.queue}-${index + 1}`, stage)),
    )
    await Promise.all(started.map((worker) => worker.ready))
    // From here on, who leaves is replaced; before, it is an error of the start.
    for (const worker of started) void this.#replaceWhenGone(worker, 0)
  }

  /** Kills one of the workers that are ready, as a power cut would. Nobody is killed while nobody is. */
  killOne(random: Random): void {
    const ready = [...this.#workers.values()].filter(({ isReady }) => isReady)
    if (ready.length === 0 || this.#stopping) return
    const victim = random.pick(ready)
    this.#killed.add(victim)
    victim.kill()
  }

  /** Lets the workers finish what they are doing; kills those that take too long. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all([...this.#workers.values()].map((worker) => worker.stop(stopTimeoutMs)))
  }

  /** Kills them all, without waiting. */
  abandon(): void {
    this.#stopping = true
    for (const worker of this.#workers.values()) worker.kill()
  }

  #employ(name: string, stage: Stage): WorkerProcess {
    const { logs, environment } = this.#options
    const worker = new WorkerProcess({ name, stage, logs, environment })
    this.#workers.set(name, worker)
    return worker
  }

  async #replaceWhenGone(worker: WorkerProcess, falseStarts: number): Promise<void> {
    const end = await worker.ended
    if (this.#stopping) return
    if (!this.#killed.has(worker)) {
      this.#crashes++
      this.#options.say(`${worker.name} ended by itself (${end}) and is started again:\n${worker.lastWords}`)
    }
    const failed = worker.wasReady ? 0 : falseStarts + 1
    if (failed >= maxFalseStarts) return this.#options.onHopeless(worker.failure())
    void this.#replaceWhenGone(this.#employ(worker.name, worker.stage), failed)
  }
}
