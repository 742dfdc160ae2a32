/** What `app.task()` returns: the typed way to call a task. */
import { Group } from './canvas/group.ts'
import { Signature } from './canvas/signature.ts'
import { CeleriacError } from './errors.ts'
import { wholeNumber } from './options.ts'
import type { AsyncResult } from './result/async-result.ts'
import type { Producer } from './send/producer.ts'
import { mapTask, starmapTask } from './task/builtins.ts'
import { type CallOptions, checkCallOptions } from './task/call-options.ts'
import { argsToWire, inputToWire, type WireArguments } from './task/input.ts'

/** Sends what a handle makes; the application's producer, once it is connected. */
export type HandleSender = Pick<Producer, 'send' | 'sendMany'>

type Rest<Args extends unknown[]> = Args extends [unknown, ...infer R] ? R : never
type First<Args extends unknown[]> = Args extends [infer F, ...unknown[]] ? F : never

/**
 * `Args` = the parameters of a call; `Out` = what it returns; `Call` = one call as data, for `applyAsync` and
 * `delayMany`: the input of a task with a schema, the list of arguments of a plain function.
 */
export class Task<Args extends unknown[], Out, Call> {
  readonly name: string
  readonly #form: 'input' | 'args'
  readonly #sender: HandleSender
  readonly #options: CallOptions

  constructor(name: string, form: 'input' | 'args', sender: HandleSender, options: CallOptions = {}) {
    this.name = name
    this.#form = form
    this.#sender = sender
    this.#options = options
  }

  /**
   * Sends one call. Resolves once the broker holds it.
   * @throws CeleriacError `INPUT_INVALID`, `PAYLOAD_INVALID`, `PAYLOAD_TOO_LARGE`, or a broker's error; nothing was sent
   */
  delay(...args: Args): Promise<AsyncResult<Out>> {
    return this.#sender.send(this.#signature(this.#argsToWire(args), false))
  }

  /** Sends one call with options. */
  async applyAsync(call: Call, options: CallOptions = {}): Promise<AsyncResult<Out>> {
    return this.#sender.send(this.#signature(this.#callToWire(call), false), checkCallOptions(options))
  }

  /** Sends many calls in one round trip: all of them or none. */
  async delayMany(calls: readonly Call[], options: CallOptions = {}): Promise<AsyncResult<Out>[]> {
    checkCallOptions(options)
    if (options.taskId !== undefined) {
      throw new CeleriacError('CONFIG_INVALID', '`taskId` is for one call; delayMany sends many')
    }
    const wires = calls.map((call) => this.#callToWire(call))
    const results = await this.#sender.sendMany(this.name, wires, { ...this.#options, ...options })
    return results as AsyncResult<Out>[]
  }

  /**
   * The call as data, to be composed. Without its first argument (for a task with a schema: without its input) it takes
   * that from the step before it.
   */
  s(...args: Args): Signature<[], Out>
  s(...args: Rest<Args>): Signature<[First<Args>], Out>
  s(...args: unknown[]): Signature<[], Out> {
    return this.#signature(this.#argsToWire(args), false)
  }

  /** The call as data with all its arguments; it ignores the result of the step before it. */
  si(...args: Args): Signature<[] | [unknown], Out> {
    return this.#signature(this.#argsToWire(args), true)
  }

  /**
   * One message that runs the task for each item, one after the other, and gives the list of what they returned. An item
   * is the one argument, or the input of a task with a schema.
   * @example await normalise.map(['A ', 'b']).delay()
   */
  map(items: readonly (Args extends [infer First, ...unknown[]] ? First : never)[]): Signature<[], Out[]> {
    return this.#forEach(mapTask, items)
  }

  /** The same with an argument list for each. */
  starmap(calls: readonly Args[]): Signature<[], Out[]> {
    return this.#forEach(starmapTask, calls)
  }

  /**
   * Many calls in few messages: a group of `starmap`s of at most `size` calls each.
   * @param size at least 1
   * @example const sums = (await (await add.chunks(pairs, 100).delay()).get()).flat()
   * @throws CeleriacError `CONFIG_INVALID`
   */
  chunks(calls: readonly Args[], size: number): Group<Out[][]> {
    wholeNumber(size, 'size', 1)
    const members: Signature<[], Out[]>[] = []
    for (let at = 0; at < calls.length; at += size) members.push(this.starmap(calls.slice(at, at + size)))
    return new Group(members, this.#sender)
  }

  #forEach(task: string, it: readonly unknown[]): Signature<[], Out[]> {
    const each = { task: this.name, args: [], kwargs: {}, options: {}, subtask_type: null, immutable: false }
    return new Signature(
      { task, args: [], kwargs: { task: each, it }, options: this.#options, immutable: false },
      this.#sender,
    )
  }

  #signature({ args, kwargs }: WireArguments, immutable: boolean): Signature<[], Out> {
    return new Signature({ task: this.name, args, kwargs, options: this.#options, immutable }, this.#sender)
  }

  #argsToWire(args: readonly unknown[]): WireArguments {
    return this.#form === 'input' && args.length > 0 ? inputToWire(args[0]) : argsToWire(args)
  }

  #callToWire(call: Call): WireArguments {
    return this.#form === 'input' ? inputToWire(call) : argsToWire(call as readonly unknown[])
  }
}
