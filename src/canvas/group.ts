/**
 * Tasks side by side: each member is a message of its own, and all of them go out together. Its result has those of the
 * members, in their order; a step behind a group gets the list of them.
 */
import { type AnyCanvas, Canvas, checkCanvas, nothing, type Sender, type Told } from './canvas.ts'
import { Chain } from './chain.ts'
import type { Ends, GivesAll, Gives as GivesOf, NextStep, TakesAll } from './fit.ts'
import { senderOf } from './nobody.ts'

/** In seconds. */
export interface SkewOptions {
  /** @default 1 */
  readonly start?: number
  /** @default none */
  readonly stop?: number
  /** @default 1 */
  readonly step?: number
}

/** `Gives` is the list of what its members give; `Takes` what each of them still needs. */
export class Group<Gives, Takes extends unknown[] = []> extends Canvas<Takes, Gives, 'group'> {
  readonly kind = 'group'
  readonly members: readonly AnyCanvas[]

  constructor(members: readonly AnyCanvas[], sender: Sender, told: Told = nothing) {
    for (const [index, member] of members.entries()) checkCanvas(member, `member ${index + 1} of the group`)
    super(sender, told)
    this.members = members
  }

  /** The chord of this group and a body, which takes the list of what the members give. */
  pipe<const Next extends AnyCanvas>(next: Next & NextStep<Next, Gives>): Chain<GivesOf<Next>, Takes, Ends<Next>> {
    return new Chain([this, next], this.sender)
  }

  /**
   * The group with its members starting one after the other, as Celery's `skew`: the first after `start` seconds, each
   * further one `step` seconds later, but none later than `stop`.
   */
  skew({ start = 1, stop = Number.POSITIVE_INFINITY, step = 1 }: SkewOptions = {}): Group<Gives, Takes> {
    const members = this.members.map((member, index) => member.set({ countdown: Math.min(stop, start + index * step) }))
    return new Group<Gives, Takes>(members as readonly AnyCanvas[], this.sender, this.told)
  }

  protected copy(told: Told): this {
    return new Group<Gives, Takes>(this.members, this.sender, told) as this
  }
}

/**
 * Members may be signatures, chains, chords and groups, given one by one or as a list.
 * @example const prices = await (await group(price.s('A'), price.s('B')).delay()).get()
 * @throws CeleriacError `CANVAS_INVALID` for what is not a signature
 */
export function group<const Members extends readonly AnyCanvas[]>(
  members: Members,
): Group<GivesAll<Members>, TakesAll<Members>>
export function group<const Members extends readonly AnyCanvas[]>(
  ...members: Members
): Group<GivesAll<Members>, TakesAll<Members>>
export function group(...given: readonly unknown[]): Group<unknown, never> {
  const [first] = given
  const members = (Array.isArray(first) ? first : given) as readonly AnyCanvas[]
  return new Group(members, senderOf(members))
}
