/** How composed things fit together, for the compiler: what each takes from the one before it, and gives to the next. */
import type { AnyCanvas, End } from './canvas.ts'

/** What a canvas gives: a value; of a group the list of its members' values. */
export type Gives<Step> = Step extends { readonly types: { readonly gives: infer G } } ? G : never

/** What it still needs: `[]` nothing, `[T]` one value, `[] | [unknown]` whatever comes. */
export type Takes<Step> = Step extends { readonly types: { readonly takes: (...values: infer T) => void } } ? T : never

/** Whether its result is that of one task, or of a group. */
export type Ends<Step> = Step extends { readonly types: { readonly ends: infer E extends End } } ? E : never

/** Stands where a step does not fit; its text is what the compiler shows. */
export interface Mismatch<Problem extends string, Given, Taken> {
  readonly '‼': Problem
  readonly given: Given
  readonly taken: Taken
}

/** `Step` where it takes one `Given`, else what is wrong. */
export type NextStep<Step, Given> =
  Takes<Step> extends []
    ? Mismatch<'this step has all its arguments already; use si() to ignore the step before it', Given, Takes<Step>>
    : Step extends { readonly types: { readonly takes: (value: Given) => void } }
      ? Step
      : Mismatch<'this step does not take what the step before it gives', Given, Takes<Step>[0]>

/** Each step, or what is wrong with it. The first may lack an argument: then the chain takes it. */
export type Fitting<Steps extends readonly unknown[]> = Steps extends readonly [infer Step, ...infer Rest]
  ? [Step, ...Following<Rest, Gives<Step>>]
  : Unchecked<Steps>

type Following<Steps extends readonly unknown[], Given> = Steps extends readonly [infer Step, ...infer Rest]
  ? [NextStep<Step, Given>, ...Following<Rest, Gives<Step>>]
  : Unchecked<Steps>

/** Steps whose number the compiler does not know are checked by nobody. */
type Unchecked<Steps extends readonly unknown[]> = number extends Steps['length'] ? [...Steps] : []

export type First<Steps extends readonly unknown[]> = Steps extends readonly [infer Step, ...unknown[]]
  ? Step
  : Steps[number]
export type Last<Steps extends readonly unknown[]> = Steps extends readonly [...unknown[], infer Step]
  ? Step
  : Steps[number]

/** What the members of a group give, in their order. */
export type GivesAll<Members extends readonly unknown[]> = { -readonly [At in keyof Members]: Gives<Members[At]> }

/** What all of the members take. Where some need a value and others have all they need, nothing fits. */
export type TakesAll<Members extends readonly unknown[]> = number extends Members['length']
  ? Takes<Members[number]>
  : [MeetAll<Members, [] | [unknown]>] extends [never]
    ? [Mismatch<'the members of this group do not take the same', never, Takes<Members[number]>>]
    : MeetAll<Members, [] | [unknown]>

type MeetAll<Members extends readonly unknown[], Taken> = Members extends readonly [infer Member, ...infer Rest]
  ? MeetAll<Rest, Meet<Taken, Takes<Member>>>
  : Taken

/** What fits both of two. */
type Meet<A, B> = A extends []
  ? B extends []
    ? []
    : never
  : A extends [infer X]
    ? B extends [infer Y]
      ? [X & Y]
      : never
    : never

/** How a member of a header ended, as the body of a chord that settles gets it. */
export type Settled<Value> =
  | { readonly status: 'fulfilled'; readonly value: Value }
  | { readonly status: 'rejected'; readonly reason: { readonly type: string; readonly message: string } }

export type SettledAll<Values> = Values extends readonly unknown[]
  ? { -readonly [At in keyof Values]: Settled<Values[At]> }
  : never

/** A callback that takes what comes, or nothing. */
export type Callback<Given> = AnyCanvas & { readonly types: { readonly takes: (value: Given) => void } }
