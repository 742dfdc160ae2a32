/**
 * A call as data: a task, some or all of its arguments, and options. Composed by `chain`, sent by `delay`.
 *
 * `Takes` is what it still needs from the step before it (`[]` nothing, `[T]` one value, `[] | [unknown]` whatever comes),
 * `Gives` what it returns.
 */
import type { AsyncResult } from '../result/async-result.ts'
import { type CallOptions, checkCallOptions } from '../task/call-options.ts'
import type { Chain } from './chain.ts'

/** Puts composed calls on their way. The application is one. */
export interface Sender {
  send<Gives>(canvas: Signature<[], Gives> | Chain<Gives>, options?: CallOptions): Promise<AsyncResult<Gives>>
}

export interface SignatureParts {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: CallOptions
  /** An immutable signature ignores the result of the step before it. */
  readonly immutable: boolean
}

export class Signature<Takes extends unknown[], Gives> {
  /** Only for the types: which value fits in, and which comes out. */
  declare readonly types: { readonly takes: (...values: Takes) => void; readonly gives: Gives }
  readonly kind = 'signature'
  readonly parts: SignatureParts
  readonly sender: Sender

  constructor(parts: SignatureParts, sender: Sender) {
    this.parts = parts
    this.sender = sender
  }

  /** The same call with further options. */
  set(options: CallOptions): this {
    const parts = { ...this.parts, options: { ...this.parts.options, ...checkCallOptions(options) } }
    return new Signature<Takes, Gives>(parts, this.sender) as this
  }

  /** Sends it. Only what has all its arguments can be sent. */
  delay(this: Signature<[], Gives>): Promise<AsyncResult<Gives>> {
    return this.sender.send(this)
  }

  async applyAsync(this: Signature<[], Gives>, options: CallOptions): Promise<AsyncResult<Gives>> {
    return this.sender.send(this, checkCallOptions(options))
  }
}
