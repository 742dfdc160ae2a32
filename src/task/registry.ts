/** The tasks an application defines, by name. */
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import type { Batching } from './batch.ts'
import { builtinTasks } from './builtins.ts'
import type { TaskContext } from './context.ts'
import type { ResolvedTaskOptions, Schema } from './options.ts'

/** A task: a name, a function, and how it is to be run. */
export interface TaskDefinition {
  readonly name: string
  readonly options: ResolvedTaskOptions
  /** Schema of its one input; without one the function takes the positional arguments. */
  readonly input: Schema | undefined
  /** Runs it with arguments as they came off the wire. @throws what the function throws, or `INPUT_INVALID` */
  readonly run: (args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>, ctx: TaskContext) => unknown
  /** How its calls are run many at a time, in place of `run`; undefined for tasks that run one by one. */
  readonly batching?: Batching
}

export class Registry {
  readonly #tasks = new Map<string, TaskDefinition>()
  readonly #builtin = new Map<string, TaskDefinition>()
  #namesPools = false

  /** Whether some task says in which pool it runs. */
  get namesPools(): boolean {
    return this.#namesPools
  }

  /** @throws CeleriacError `TASK_DUPLICATE` */
  add(task: TaskDefinition): void {
    if (this.#tasks.has(task.name)) {
      throw new CeleriacError('TASK_DUPLICATE', `a task named '${task.name}' is registered already; names are unique`)
    }
    this.#tasks.set(task.name, task)
    this.#namesPools ||= task.options.pool !== undefined
  }

  /** Also one that every worker has, such as `celery.map`; these are in no list, and an application may define its own. */
  get(name: string): TaskDefinition | undefined {
    return this.#tasks.get(name) ?? this.#builtins().get(name)
  }

  names(): string[] {
    return [...this.#tasks.keys()].sort()
  }

  #builtins(): ReadonlyMap<string, TaskDefinition> {
    if (this.#builtin.size === 0) for (const task of builtinTasks(this)) this.#builtin.set(task.name, task)
    return this.#builtin
  }

  /** What to say of a name that is not here. */
  unknown(name: string): CeleriacError {
    const guess = nearest(name, this.names())
    const advice =
      guess === undefined
        ? `this application defines ${this.names().join(', ') || 'no tasks'}`
        : `did you mean '${guess}'?`
    return new CeleriacError('TASK_UNKNOWN', `no task is named '${name}'; ${advice}`)
  }
}
