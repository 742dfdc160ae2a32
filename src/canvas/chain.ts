/**
 * Tasks one after the other: each step is a message of its own, on the queue of its task, and receives the value of the
 * step before it. The steps that follow travel inside the message, as Celery has it, so there is nothing to keep
 * elsewhere and a step that is redriven goes on with the rest.
 */
import { CeleriacError } from '../errors.ts'
import type { AsyncResult } from '../result/async-result.ts'
import { type CallOptions, checkCallOptions } from '../task/call-options.ts'
import { type Sender, Signature } from './signature.ts'

// biome-ignore lint/suspicious/noExplicitAny: any signature at all, whatever it takes and gives
export type AnySignature = Signature<any, any>

/** What a signature gives. */
export type Gives<Step> = Step extends { readonly types: { readonly gives: infer G } } ? G : never

/** Stands where a step does not fit; its text is what the compiler shows. */
export interface Mismatch<Problem extends string, Given, Taken> {
  readonly '‼': Problem
  readonly given: Given
  readonly taken: Taken
}

type Takes<Step> = Step extends { readonly types: { readonly takes: (...values: infer T) => void } } ? T : never

type FirstStep<Step> =
  [] extends Takes<Step> ? Step : Mismatch<'the first step of a chain needs all its arguments', never, Takes<Step>>

type NextStep<Step, Given> =
  Takes<Step> extends []
    ? Mismatch<'this step has all its arguments already; use si() to ignore the step before it', Given, Takes<Step>>
    : Step extends { readonly types: { readonly takes: (value: Given) => void } }
      ? Step
      : Mismatch<'this step does not take what the step before it gives', Given, Takes<Step>[0]>

type Fitting<Steps extends readonly unknown[], Given, IsFirst extends boolean> = Steps extends readonly [
  infer Step,
  ...infer Rest,
]
  ? [IsFirst extends true ? FirstStep<Step> : NextStep<Step, Given>, ...Fitting<Rest, Gives<Step>, false>]
  : []

type Last<Steps extends readonly unknown[]> = Steps extends readonly [...unknown[], infer Step] ? Step : never

export class Chain<Gives> {
  declare readonly types: { readonly gives: Gives }
  readonly kind = 'chain'
  readonly steps: readonly AnySignature[]
  readonly sender: Sender

  constructor(steps: readonly AnySignature[], sender: Sender) {
    this.steps = steps
    this.sender = sender
  }

  /** Sends the first step; resolves with the result of the last. */
  delay(): Promise<AsyncResult<Gives>> {
    return this.sender.send(this)
  }

  /** `taskId` becomes the id of the last step; `countdown`, `eta`, `queue` … concern the first. */
  async applyAsync(options: CallOptions): Promise<AsyncResult<Gives>> {
    return this.sender.send(this, checkCallOptions(options))
  }
}

/**
 * @example const fulfil = chain(pick.s(order), pack.s(), deliver.s())
 * @throws CeleriacError `CANVAS_INVALID` for no steps, or for what is not a signature
 */
export function chain<const Steps extends readonly AnySignature[]>(
  ...steps: Steps & Fitting<Steps, never, true>
): Chain<Gives<Last<Steps>>> {
  const [first] = steps as readonly AnySignature[]
  if (first === undefined) throw new CeleriacError('CANVAS_INVALID', 'a chain needs at least one step')
  for (const [index, step] of (steps as readonly unknown[]).entries()) {
    if (!(step instanceof Signature)) {
      throw new CeleriacError('CANVAS_INVALID', `step ${index + 1} of the chain is not a signature; use task.s(…)`)
    }
  }
  return new Chain(steps as readonly AnySignature[], first.sender)
}
