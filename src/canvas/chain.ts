/**
 * Tasks one after the other: each step is a message of its own, on the queue of its task, and receives the value of the
 * step before it. The steps that follow travel inside the message, as Celery has it, so there is nothing to keep
 * elsewhere and a step that is redriven goes on with the rest. A group with a step behind it is a chord.
 */
import { CeleriacError } from '../errors.ts'
import { type AnyCanvas, Canvas, checkCanvas, type End, nothing, type Sender, type Told } from './canvas.ts'
import type { Ends as EndsOf, First, Fitting, Gives as GivesOf, Last, NextStep, Takes as TakesOf } from './fit.ts'
import { senderOf } from './nobody.ts'

/** `Takes` is what its first step still needs; a chain that is sent needs nothing. */
export class Chain<Gives, Takes extends unknown[] = [], Ends extends End = 'task'> extends Canvas<Takes, Gives, Ends> {
  readonly kind = 'chain'
  readonly steps: readonly AnyCanvas[]

  constructor(steps: readonly AnyCanvas[], sender: Sender, told: Told = nothing) {
    for (const [index, step] of steps.entries()) checkCanvas(step, `step ${index + 1} of the chain`)
    super(sender, told)
    this.steps = steps
  }

  /** The chain with a further step, which takes what its last one gives. */
  pipe<const Next extends AnyCanvas>(next: Next & NextStep<Next, Gives>): Chain<GivesOf<Next>, Takes, EndsOf<Next>> {
    // What this one was told holds for its own steps.
    const steps = this.told === nothing ? [...this.steps, next] : [this as AnyCanvas, next]
    return new Chain(steps, this.sender)
  }

  protected copy(told: Told): this {
    return new Chain<Gives, Takes, Ends>(this.steps, this.sender, told) as this
  }
}

/**
 * Steps may be signatures, groups, chords and chains. One that lacks its first argument takes it from the step before it.
 * @example const fulfil = chain(pick.s(order), pack.s(), deliver.s())
 * @throws CeleriacError `CANVAS_INVALID` for no steps, or for what is not a signature
 */
export function chain<const Steps extends readonly AnyCanvas[]>(
  ...steps: Steps & Fitting<Steps>
): Chain<GivesOf<Last<Steps>>, TakesOf<First<Steps>>, EndsOf<Last<Steps>>> {
  if (steps.length === 0) throw new CeleriacError('CANVAS_INVALID', 'a chain needs at least one step')
  return new Chain(steps as readonly AnyCanvas[], senderOf(steps as readonly AnyCanvas[]))
}
