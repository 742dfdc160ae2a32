/**
 * A group with a body: the body is sent once, with the list of what the members of the group (the header) gave, when the
 * last of them has ended. Needs a result store that can join (memory, SQLite, Redis).
 */
import { CeleriacError } from '../errors.ts'
import { oneOf, refuseUnknown } from '../options.ts'
import {
  type AnyCanvas,
  type AnyGroup,
  Canvas,
  checkCanvas,
  type End,
  nothing,
  type Sender,
  type Told,
} from './canvas.ts'
import { Chain } from './chain.ts'
import type {
  Ends as EndsOf,
  GivesAll,
  Gives as GivesOf,
  Mismatch,
  NextStep,
  SettledAll,
  TakesAll,
  Takes as TakesOf,
} from './fit.ts'
import { Group } from './group.ts'
import { senderOf } from './nobody.ts'

/**
 * What becomes of a chord when a member of its header fails:
 * - `fail`: the body fails at once, with a `ChordError`, and its error callbacks are sent, once; the other members go on;
 * - `cancel`: the same, and the other members are revoked: what waits does not start, what runs has its signal aborted;
 * - `settle`: nothing; the body gets how each member ended.
 */
export const chordFates = ['fail', 'cancel', 'settle'] as const
export type ChordFate = (typeof chordFates)[number]

export interface ChordOptions<Fate extends ChordFate = ChordFate> {
  /** @default 'fail' */
  readonly onError?: Fate
}

export class Chord<Gives, Takes extends unknown[] = [], Ends extends End = 'task'> extends Canvas<Takes, Gives, Ends> {
  readonly kind = 'chord'
  readonly header: AnyGroup
  readonly body: AnyCanvas
  readonly fate: ChordFate

  constructor(header: AnyGroup, body: AnyCanvas, fate: ChordFate, sender: Sender, told: Told = nothing) {
    super(sender, told)
    this.header = header
    this.body = body
    this.fate = fate
  }

  /** The chain of this and a next step, which takes what the body gives. */
  pipe<const Next extends AnyCanvas>(next: Next & NextStep<Next, Gives>): Chain<GivesOf<Next>, Takes, EndsOf<Next>> {
    return new Chain([this, next], this.sender)
  }

  protected copy(told: Told): this {
    return new Chord<Gives, Takes, Ends>(this.header, this.body, this.fate, this.sender, told) as this
  }
}

type Header = AnyGroup | readonly AnyCanvas[]
type HeaderGives<H> = H extends readonly unknown[] ? GivesAll<H> : GivesOf<H>
type HeaderTakes<H> = H extends readonly unknown[] ? TakesAll<H> : TakesOf<H>

type Body<B, Values> =
  TakesOf<B> extends []
    ? Mismatch<'this body has all its arguments already; use si() to ignore what the header gives', Values, TakesOf<B>>
    : B extends { readonly types: { readonly takes: (values: Values) => void } }
      ? B
      : Mismatch<'this body does not take the list of what the header gives', Values, TakesOf<B>[0]>

/**
 * @param header a group, or a list of signatures, chains, chords and groups
 * @param body takes the list of their values
 * @example chord(group(add.s(1, 2), add.s(3, 4)), total.s())
 * @throws CeleriacError `CANVAS_INVALID` for what is not a signature, `CONFIG_INVALID` for unknown options
 */
export function chord<const H extends Header, const B extends AnyCanvas, const Fate extends ChordFate = 'fail'>(
  header: H,
  body: B & Body<B, Fate extends 'settle' ? SettledAll<HeaderGives<H>> : HeaderGives<H>>,
  options: ChordOptions<Fate> = {},
): Chord<GivesOf<B>, HeaderTakes<H>, EndsOf<B>> {
  refuseUnknown(options, ['onError'], 'the options of a chord')
  const fate = options.onError === undefined ? 'fail' : oneOf(options.onError, 'onError', chordFates)
  const members = header as Header
  if (!(members instanceof Group) && !Array.isArray(members)) {
    throw new CeleriacError('CANVAS_INVALID', 'the header of a chord is neither a group nor a list of signatures')
  }
  const group = members instanceof Group ? members : new Group(members, senderOf(members))
  checkCanvas(body, 'the body of the chord')
  return new Chord(group, body as AnyCanvas, fate, senderOf([group, body as AnyCanvas]))
}
