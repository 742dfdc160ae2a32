/** Durable steps of one run: done once, kept by the worker, and answered from there ever after. */
import type { Clock } from '../clock.ts'
import { CeleriacError } from '../errors.ts'
import { encodeJson, fromJsonValue, toJsonValue } from '../json.ts'

/** Where the results of steps are kept. */
export interface StepStore<J> {
  /** What was kept under a name; undefined where nothing was. */
  readonly loadStep: (job: J, name: string) => Promise<Kept | undefined>
  readonly keepStep: (job: J, name: string, kept: Kept) => Promise<void>
}

/** A step's result; none for a function that returned nothing. */
export interface Kept {
  readonly value?: unknown
}

/** Thrown to leave the task's function. Whoever catches it changes nothing: the run is over. */
class Asleep extends CeleriacError {
  constructor() {
    super('TASK_RETRY', 'the task sleeps, and will be run again; let this error pass')
  }
}

export class Steps<J extends { readonly steps?: string[] }> {
  readonly #job: J
  readonly #store: StepStore<J>
  readonly #clock: Clock
  readonly #kept = new Map<string, Kept>()
  #underway = 0
  #sleeps = 0
  #asleepMs: number | undefined

  constructor(job: J, store: StepStore<J>, clock: Clock) {
    this.#job = job
    this.#store = store
    this.#clock = clock
  }

  /** For so long the task is to be left alone; undefined unless it sleeps. */
  get asleepMs(): number | undefined {
    return this.#asleepMs
  }

  /** The results of the steps that this run has come to, by name, as JSON. */
  get kept(): string {
    return encodeJson(Object.fromEntries(this.#kept))
  }

  async step<T>(name: string, work: () => T | Promise<T>): Promise<T> {
    this.#note(name)
    const kept = await this.#load(name)
    if (kept !== undefined) return kept.value as T
    this.#underway += 1
    try {
      // As later runs will be given it.
      const result: Kept = { value: fromJsonValue(toJsonValue(await work())) }
      await this.#keep(name, result)
      return result.value as T
    } finally {
      this.#underway -= 1
    }
  }

  async sleep(ms: number, name: string | undefined): Promise<void> {
    if (this.#underway > 0) {
      throw new CeleriacError('STEP_INVALID', 'a step is under way, which would be done again; sleep between steps')
    }
    this.#sleeps += 1
    const step = `sleep ${name ?? this.#sleeps}`
    this.#note(step)
    const kept = await this.#load(step)
    const untilMs = kept === undefined ? this.#clock.now() + ms : Number(kept.value)
    if (kept === undefined) await this.#keep(step, { value: untilMs })
    const leftMs = untilMs - this.#clock.now()
    if (leftMs <= 0) return
    this.#asleepMs = leftMs
    throw new Asleep()
  }

  async #load(name: string): Promise<Kept | undefined> {
    const kept = await this.#store.loadStep(this.#job, name)
    if (kept !== undefined) this.#kept.set(name, kept)
    return kept
  }

  async #keep(name: string, kept: Kept): Promise<void> {
    await this.#store.keepStep(this.#job, name, kept)
    this.#kept.set(name, kept)
  }

  #note(name: string): void {
    if (typeof name !== 'string' || name === '') {
      throw new CeleriacError('STEP_INVALID', `a step's name must be a text, got ${String(name)}`)
    }
    if (this.#job.steps?.includes(name)) {
      throw new CeleriacError('STEP_INVALID', `this run has had a step '${name}' already; names are unique`)
    }
    this.#job.steps?.push(name)
  }
}
