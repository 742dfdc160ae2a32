/**
 * What signatures, chains, groups and chords have in common: they are data, never changed but copied; what they are told
 * (`set`, `link`, `linkError`, `stamp`) is kept beside them; and they are sent by whoever made their tasks.
 */
import { CeleriacError } from '../errors.ts'
import type { AsyncResult } from '../result/async-result.ts'
import type { GroupResult } from '../result/group-result.ts'
import { type CallOptions, checkCallOptions } from '../task/call-options.ts'
import type { Chain } from './chain.ts'
import type { Chord } from './chord.ts'
import type { Callback } from './fit.ts'
import type { Group } from './group.ts'
import type { Signature } from './signature.ts'

/** Whether it ends in one task, or in the members of a group. */
export type End = 'task' | 'group'

export type ResultOf<Gives, Ends extends End> = Ends extends 'group' ? GroupResult<Gives> : AsyncResult<Gives>

/* biome-ignore-start lint/suspicious/noExplicitAny: anything at all, whatever it takes and gives */
export type AnySignature = Signature<any, any>
export type AnyGroup = Group<any, any>
export type AnyCanvas = AnySignature | Chain<any, any, any> | AnyGroup | Chord<any, any, any>
/* biome-ignore-end lint/suspicious/noExplicitAny: to here */

/** Puts composed calls on their way. The application is one. */
export interface Sender {
  send<Gives, Ends extends End>(canvas: Canvas<[], Gives, Ends>, options?: CallOptions): Promise<ResultOf<Gives, Ends>>
}

/** What a canvas was told, beside what it is made of. */
export interface Told {
  readonly options: CallOptions
  /** Sent after its success, with its value. */
  readonly links: readonly AnyCanvas[]
  /** Sent after a failure anywhere in it, with the id of the task that failed. */
  readonly errorLinks: readonly AnyCanvas[]
  /** Marks on every task in it. */
  readonly stamps: Readonly<Record<string, unknown>>
}

export const nothing: Told = { options: {}, links: [], errorLinks: [], stamps: {} }

export abstract class Canvas<Takes extends unknown[], Gives, Ends extends End> {
  /** Only for the types: which value fits in, which comes out, and from how many tasks. */
  declare readonly types: { readonly takes: (...values: Takes) => void; readonly gives: Gives; readonly ends: Ends }
  abstract readonly kind: 'signature' | 'chain' | 'group' | 'chord'
  readonly sender: Sender
  readonly told: Told

  constructor(sender: Sender, told: Told) {
    this.sender = sender
    this.told = told
  }

  /** The same, told something else. */
  protected abstract copy(told: Told): this

  clone(): this {
    return this.copy(this.told)
  }

  /**
   * The same with further options, which concern what starts: the first step of a chain, every member of a group or of
   * the header of a chord. `taskId` is the id of its result.
   * @throws CeleriacError `CONFIG_INVALID`
   */
  set(options: CallOptions): this {
    return this.copy({ ...this.told, options: { ...this.told.options, ...checkCallOptions(options) } })
  }

  /**
   * The same with a callback: sent with the value once it has succeeded. Of a group, each member calls it back; of a
   * chain its last step, of a chord its body.
   * @throws CeleriacError `CANVAS_INVALID`
   */
  link(callback: Callback<Ends extends 'group' ? unknown : Gives>): this {
    checkCanvas(callback, 'a callback')
    return this.copy({ ...this.told, links: [...this.told.links, callback] })
  }

  /**
   * The same with an error callback: sent with the id of the task that failed, for each step of a chain and each member of
   * a group; of a chord for its body, once, whatever failed.
   * @throws CeleriacError `CANVAS_INVALID`
   */
  linkError(callback: Callback<string>): this {
    checkCanvas(callback, 'an error callback')
    return this.copy({ ...this.told, errorLinks: [...this.told.errorLinks, callback] })
  }

  /** As `linkError`, in Celery's other word. */
  onError(callback: Callback<string>): this {
    return this.linkError(callback)
  }

  /** The same with marks on every task in it, to be found in events and to be revoked by. JSON data. */
  stamp(stamps: Readonly<Record<string, unknown>>): this {
    return this.copy({ ...this.told, stamps: { ...this.told.stamps, ...stamps } })
  }

  /** Sends it. Only what has all its arguments can be sent. @throws CeleriacError as `Task.delay` */
  delay(this: Canvas<[], Gives, Ends>): Promise<ResultOf<Gives, Ends>> {
    return this.sender.send(this)
  }

  /** `set` and `delay` in one. */
  async applyAsync(this: Canvas<[], Gives, Ends>, options: CallOptions): Promise<ResultOf<Gives, Ends>> {
    return this.sender.send(this, checkCallOptions(options))
  }
}

/** @throws CeleriacError `CANVAS_INVALID` */
export function checkCanvas(value: unknown, what: string): void {
  if (value instanceof Canvas) return
  throw new CeleriacError('CANVAS_INVALID', `${what} is not a signature; use task.s(…)`)
}
