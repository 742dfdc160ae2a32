/**
 * Joins: what members of chords have come to is told to the result store, and whoever completes a join, or is the first
 * to fail it, takes the outcome of the chord along in its own settlement.
 *
 * The order is: begin joins and add parts → store, send, acknowledge → close. Killed after the first, the member runs
 * again and its part counts once; the join is still open, so the same member completes it again. Killed before the close,
 * the join stays open until it expires, and a late copy of a member sends the body a second time, under its one id.
 */
import type { Effects, OutgoingMessage } from '../broker/broker.ts'
import { fromJsonValue } from '../json.ts'
import type { GroupMember, JoinPart, ResultRecord, ResultStore, StoredError } from '../result/result-store.ts'
import type { TaskState } from '../result/states.ts'
import { describeError, nameAndMessage } from '../result/stored-error.ts'
import { flat } from '../result/tree.ts'
import { expand, type Started, type StartedGroup } from '../send/composite.ts'
import { afterFailure } from '../send/continuation.ts'
import { derivedIds } from '../send/derived-id.ts'
import { beginGroups, refuseJoins } from '../send/joins.ts'
import type { TaskMessage } from '../send/message.ts'
import { firstOf, placesOfUnsent, reportersOf } from '../send/places.ts'
import type { Producer } from '../send/producer.ts'
import type { WireOptions, WireSignature } from '../send/wire.ts'
import { withoutFate } from '../send/wire-shape.ts'
import { type RecordParts, unsentRecords } from './records.ts'

/** A member of a chord's header that has ended, or will never run. */
export interface MemberEnd {
  readonly groupId: string
  readonly body: WireSignature
  readonly part: JoinPart
}

/** What an outcome comes to, before joins are asked. */
export interface Ending extends Effects {
  /** Groups that are started with it. */
  readonly groups?: readonly StartedGroup[]
  readonly ends?: readonly MemberEnd[]
}

/** The same with what the joins came to. */
export interface Joined extends Effects {
  /** To be closed after it is settled. */
  readonly closing: readonly string[]
  /** Tasks nobody wants any more. */
  readonly cancelled: readonly string[]
}

export interface JoiningParts extends RecordParts {
  readonly results: ResultStore | undefined
  readonly producer: Producer
  /** The queue of the member. */
  readonly queue: string
}

/** Whether there is anything to ask for. */
export function asksJoins({ groups = [], ends = [] }: Ending): boolean {
  return groups.length + ends.length > 0
}

/** Its own end as a member, if it is one. */
export function endOf(message: TaskMessage, state: TaskState, result: unknown, added: number): MemberEnd[] {
  const { groupId, groupIndex, embed } = message
  if (embed.chord === null || groupId === null) return []
  const part = partOf(message.id, groupIndex, state, result)
  return [{ groupId, body: embed.chord, part: added === 0 ? part : { ...part, added } }]
}

/** Those of tasks that will never run. */
export function endsOf(reporters: readonly WireSignature[], state: TaskState, error: StoredError): MemberEnd[] {
  return reporters.flatMap(({ options: { task_id, group_id, group_index, chord } }) => {
    if (!task_id || !group_id || !chord) return []
    return [{ groupId: group_id, body: chord, part: partOf(task_id, group_index ?? null, state, error) }]
  })
}

/** Members without a place come last. */
function partOf(memberId: string, index: number | null, state: TaskState, result: unknown): JoinPart {
  return { memberId, index: index ?? Number.MAX_SAFE_INTEGER, state, result }
}

export function joining(ending: Ending, message: TaskMessage, parts: JoiningParts): Promise<Joined> {
  return new Joining(ending, message, parts).run()
}

class Joining {
  readonly #message: TaskMessage
  readonly #parts: JoiningParts
  readonly #publish: OutgoingMessage[]
  readonly #save: ResultRecord[]
  readonly #closing: string[] = []
  readonly #cancelled: string[] = []
  readonly #ends: MemberEnd[]
  readonly #groups: readonly StartedGroup[]

  constructor({ publish = [], save = [], groups = [], ends = [] }: Ending, message: TaskMessage, parts: JoiningParts) {
    this.#message = message
    this.#parts = parts
    this.#publish = [...publish]
    this.#save = [...save]
    this.#groups = groups
    this.#ends = [...ends]
  }

  async run(): Promise<Joined> {
    const { results } = this.#parts
    if (results?.joins !== true) refuseJoins(this.#groups)
    else {
      await beginGroups(this.#groups, results)
      // The end of one chord may be that of a member of another.
      for (let end = this.#ends.shift(); end !== undefined; end = this.#ends.shift()) await this.#join(end, results)
    }
    return { publish: this.#publish, save: this.#save, closing: this.#closing, cancelled: this.#cancelled }
  }

  async #join({ groupId, body, part }: MemberEnd, results: ResultStore): Promise<void> {
    const fate = body.options.celeriac?.onError
    const settles = fate === 'settle'
    const { parts, failed } = await results.join(groupId, { part, settles })
    if (!settles && part.state !== 'SUCCESS') {
      // Only the first one fails the chord, also when it comes a second time.
      if (failed !== part.memberId) return
      await this.#fail(body, chordError(part))
      if (fate === 'cancel') await this.#cancel(groupId, part.memberId, results)
      return
    }
    if (parts === undefined) return
    const bad = settles ? undefined : parts.find(({ state }) => state !== 'SUCCESS')
    if (bad !== undefined) {
      // One of Python's, which leaves the failure to whoever comes last. Of ours the first has seen to it.
      if (failed === undefined) await this.#fail(body, chordError(bad))
      return
    }
    await this.#complete(groupId, body, parts, settles, results)
  }

  async #complete(
    groupId: string,
    body: WireSignature,
    parts: readonly JoinPart[],
    settles: boolean,
    results: ResultStore,
  ): Promise<void> {
    const values = arranged((await results.loadGroup(groupId))?.members, parts, settles ? settled : valueIn)
    this.#closing.push(groupId)
    try {
      await this.#start(
        expand({ signature: withoutFate(body), partialArgs: [values], chain: null }, derivedIds(groupId)),
        results,
      )
    } catch (error) {
      // Values that cannot be handed on will not be others the next time.
      const { name, message } = nameAndMessage(error)
      await this.#fail(body, { exc_type: name, exc_message: [message], exc_module: 'celery.exceptions' })
    }
  }

  /** Ends a body that will never be sent, with all that follows it. */
  async #fail(body: WireSignature, error: StoredError): Promise<void> {
    const { results, clock } = this.#parts
    let first: WireSignature[] = []
    try {
      this.#save.push(...unsentRecords(placesOfUnsent(body), this.#message, 'FAILURE', error, clock))
      this.#ends.push(...endsOf(reportersOf(body), 'FAILURE', error))
      first = firstOf(body)
    } catch {
      // A body that cannot be read has nobody who could be told.
    }
    for (const { options } of first) {
      // Callbacks that cannot be sent must not keep the failure from being stored.
      await this.#callBack(options, results as ResultStore).catch(() => undefined)
    }
  }

  async #callBack({ task_id: id = '', link_error: errbacks }: WireOptions, results: ResultStore): Promise<void> {
    await this.#start(afterFailure(id, errbacks ?? null), results)
  }

  async #start(started: Started, results: ResultStore): Promise<void> {
    const { rootId, parentId, replyTo } = this.#message
    const { producer, queue } = this.#parts
    const { publish, save, groups } = producer.successors({ rootId, id: parentId, replyTo, queue }, started)
    await beginGroups(groups, results)
    this.#publish.push(...publish)
    this.#save.push(...save)
  }

  async #cancel(groupId: string, failedId: string, results: ResultStore): Promise<void> {
    const group = await results.loadGroup(groupId)
    if (group === undefined) return
    const ids = new Set([...flat(group.members), ...(group.starts ?? [])])
    ids.delete(failedId)
    ids.delete(this.#message.id)
    this.#cancelled.push(...ids)
  }
}

/** As Celery says it. */
function chordError({ memberId, result }: JoinPart): StoredError {
  const { type, message } = describeError(result)
  const text = `Dependency ${memberId} raised ${type}(${JSON.stringify(message)})`
  return { exc_type: 'ChordError', exc_message: [text], exc_module: 'celery.exceptions' }
}

/** The parts in their order, or, where the group has lists within lists, in those; members it does not list at the end. */
function arranged(
  members: readonly GroupMember[] | undefined,
  parts: readonly JoinPart[],
  give: (part: JoinPart) => unknown,
): unknown[] {
  if (members === undefined || members.every((member) => typeof member === 'string')) return parts.map(give)
  const left = new Map(parts.map((part) => [part.memberId, part]))
  const take = (member: GroupMember): unknown => {
    if (typeof member !== 'string') return member.members.map(take)
    const part = left.get(member)
    left.delete(member)
    return part === undefined ? null : give(part)
  }
  return [...members.map(take), ...Array.from(left.values(), give)]
}

function valueIn({ result }: JoinPart): unknown {
  return fromJsonValue(result)
}

/** How a member ended, as `Promise.allSettled` has it. */
function settled(part: JoinPart): unknown {
  if (part.state === 'SUCCESS') return { status: 'fulfilled', value: valueIn(part) }
  const { type, message } = describeError(part.result)
  return { status: 'rejected', reason: { type, message } }
}
