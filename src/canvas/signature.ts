/**
 * A call as data: a task, some or all of its arguments, and options. Composed by `chain`, `group` and `chord`, sent by
 * `delay`.
 *
 * `Takes` is what it still needs from the step before it (`[]` nothing, `[T]` one value, `[] | [unknown]` whatever comes),
 * `Gives` what it returns.
 */
import type { CallOptions } from '../task/call-options.ts'
import { type AnyCanvas, Canvas, nothing, type Sender, type Told } from './canvas.ts'
import { Chain } from './chain.ts'
import type { Ends, Gives as GivesOf, NextStep } from './fit.ts'

export interface SignatureParts {
  readonly task: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
  readonly options: CallOptions
  /** An immutable signature ignores the result of the step before it. */
  readonly immutable: boolean
}

export class Signature<Takes extends unknown[], Gives> extends Canvas<Takes, Gives, 'task'> {
  readonly kind = 'signature'
  readonly parts: SignatureParts

  constructor(parts: SignatureParts, sender: Sender, told: Told = { ...nothing, options: parts.options }) {
    super(sender, told)
    this.parts = parts
  }

  /** The chain of this and a next step, which takes what this gives. */
  pipe<const Next extends AnyCanvas>(next: Next & NextStep<Next, Gives>): Chain<GivesOf<Next>, Takes, Ends<Next>> {
    return new Chain([this, next], this.sender)
  }

  protected copy(told: Told): this {
    return new Signature<Takes, Gives>({ ...this.parts, options: told.options }, this.sender, told) as this
  }
}
