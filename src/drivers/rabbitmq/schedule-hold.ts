/**
 * The schedule of one scope, held: a durable queue with a message for each entry, all of them on loan to one exclusive
 * consumer. So the queue is memory and lock in one, and the lock ends with the holder's connection.
 *
 * An entry is changed by publishing its new message and acknowledging the old one in one AMQP transaction, and what
 * became due is published in the same. A holder that dies leaves all of it or nothing. A server that dies amidst a commit
 * may keep the one and not the other, since RabbitMQ promises no more for several queues; of an entry that is there twice
 * the later revision counts.
 */
import { randomUUID } from 'node:crypto'
import type { Channel, ConsumeMessage, Message } from 'amqplib'
import type { StoredEntry } from '../../broker/schedule-store.ts'
import type { Clock } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import type { Outbound } from './message.ts'
import type { Session } from './session.ts'
import { beginTransactions, commit } from './transaction.ts'
import { write } from './write.ts'

/** What becomes of an entry, and what is published with it. */
export interface HeldChange {
  readonly name: string
  /** 0 for an entry that is not there. */
  readonly revision: number
  /** Null removes it. */
  readonly value: string | null
  readonly publish: readonly Outbound[]
}

export interface HoldParts {
  readonly session: Session
  readonly clock: Clock
  readonly queue: string
  /** Takes a message whose queue was gone: it was not published. */
  readonly onReturned: (message: Message) => void
}

/** The server takes a consumer that keeps messages for half an hour for dead; so often they are lent anew. In ms. */
const renewLoansMs = 600_000
/** A hundred thousand entries come within a few seconds. */
const readTimeoutMs = 30_000

interface HeldEntry extends StoredEntry {
  /** Undefined while its message is on its way to us. */
  readonly message: ConsumeMessage | undefined
}

export class ScheduleHold {
  readonly #parts: HoldParts
  readonly #channel: Channel
  readonly #entries = new Map<string, HeldEntry>()
  /** Waits for messages on their way. */
  #arrived: () => void = () => undefined
  #marker: string | undefined
  #outdated: ConsumeMessage[] = []
  #isAlive = true
  #lentAtMs: number
  #last: Promise<unknown> = Promise.resolve()

  private constructor(parts: HoldParts, channel: Channel) {
    this.#parts = parts
    this.#channel = channel
    this.#lentAtMs = parts.clock.monotonic()
    channel.on('close', () => this.#end())
    channel.on('return', parts.onReturned)
    void parts.session.ended.then(() => this.#end())
  }

  /** @returns undefined while somebody else holds it */
  static async take(parts: HoldParts): Promise<ScheduleHold | undefined> {
    const { session, clock, queue } = parts
    const what = `holding '${queue}'`
    const channel = await withDeadline(clock, requestTimeoutMs, what, session.openChannel())
    const hold = new ScheduleHold(parts, channel)
    try {
      await withDeadline(clock, readTimeoutMs, what, hold.#begin())
      return hold
    } catch (error) {
      await hold.release()
      if (replyCodeOf(error) === replyCodes.accessRefused && /exclusive/.test((error as Error).message))
        return undefined
      throw requestFailure(error, what)
    }
  }

  get isAlive(): boolean {
    return this.#isAlive
  }

  get(name: string): StoredEntry | undefined {
    const entry = this.#entries.get(name)
    return entry === undefined ? undefined : plain(entry)
  }

  entries(): StoredEntry[] {
    return Array.from(this.#entries.values(), plain)
  }

  /** Up to so many entries whose names come behind, in the order of the names. */
  page(behind: string, max: number): StoredEntry[] {
    const names = [...this.#entries.keys()].filter((name) => name > behind).sort()
    return names.slice(0, max).map((name) => plain(this.#entries.get(name) as HeldEntry))
  }

  /**
   * Makes the changes of entries that have their revisions, in one step. Answers the names of the others.
   * @throws LeaseLostError when it is not held any more; after another error it is not known whether it happened
   */
  change(changes: readonly HeldChange[]): Promise<string[]> {
    return this.#inTurn(async () => {
      const valid = changes.filter(({ name, revision }) => (this.#entries.get(name)?.revision ?? 0) === revision)
      this.#ackOutdated()
      const next: HeldEntry[] = []
      for (const { name, revision, value, publish } of valid) {
        const old = this.#entries.get(name)?.message
        if (old !== undefined) this.#channel.ack(old)
        for (const outbound of publish) write(this.#channel, outbound)
        if (value === null) continue
        // Begins with the time, so that an entry which is made anew has no revision of its predecessor's.
        const entry = {
          name,
          revision: revision === 0 ? this.#parts.clock.now() : revision + 1,
          value,
          message: undefined,
        }
        this.#publish(JSON.stringify(plain(entry)))
        next.push(entry)
      }
      for (const { name } of valid) this.#entries.delete(name)
      for (const entry of next) this.#entries.set(entry.name, entry)
      await commit(this.#channel)
      await this.#until(() => next.every(({ name }) => this.#entries.get(name)?.message !== undefined))
      return changes.filter((change) => !valid.includes(change)).map(({ name }) => name)
    })
  }

  /** Keeps the loans young. To be called now and then. @returns whether it is held */
  async renew(): Promise<boolean> {
    if (this.#isAlive && this.#parts.clock.monotonic() - this.#lentAtMs >= renewLoansMs) await this.lendAnew()
    return this.#isAlive
  }

  /** Gives all messages back and gets them again; nobody else gets in between. */
  lendAnew(): Promise<void> {
    return this.#inTurn(async () => {
      this.#lentAtMs = this.#parts.clock.monotonic()
      this.#outdated = []
      for (const entry of this.#entries.values()) this.#entries.set(entry.name, { ...plain(entry), message: undefined })
      await this.#channel.recover()
      await this.#readAll()
    })
  }

  /** Lets others have it. */
  async release(): Promise<void> {
    this.#end()
    await this.#channel.close().catch(() => undefined)
  }

  async #begin(): Promise<void> {
    const { queue } = this.#parts
    await this.#channel.assertQueue(queue, { durable: true })
    await beginTransactions(this.#channel)
    const take = (message: ConsumeMessage | null): void => {
      if (message === null) this.#end()
      else this.#take(message)
    }
    await this.#channel.consume(queue, take, { exclusive: true })
    await this.#readAll()
  }

  /** What was in the queue has come when a message of ours that is put behind it comes. */
  async #readAll(): Promise<void> {
    const marker = randomUUID()
    this.#marker = marker
    this.#publish(JSON.stringify({ marker }))
    await commit(this.#channel)
    await this.#until(() => this.#marker !== marker)
    this.#ackOutdated()
    await commit(this.#channel)
  }

  /** Not when they come: while a commit is under way the server takes no other word on the channel. */
  #ackOutdated(): void {
    for (const message of this.#outdated.splice(0)) this.#channel.ack(message)
  }

  #publish(text: string): void {
    const options = { persistent: true, contentType: 'application/json' }
    this.#channel.publish('', this.#parts.queue, Buffer.from(text), options)
  }

  #take(message: ConsumeMessage): void {
    const content = contentOf(message)
    if ('marker' in content) {
      // Also one of a holder that died while he waited for it.
      this.#outdated.push(message)
      if (content.marker === this.#marker) this.#marker = undefined
    } else {
      const known = this.#entries.get(content.name)
      if (known !== undefined && known.revision > content.revision) this.#outdated.push(message)
      else {
        if (known?.message !== undefined) this.#outdated.push(known.message)
        this.#entries.set(content.name, { ...content, message })
      }
    }
    this.#arrived()
  }

  /** @throws LeaseLostError */
  async #until(condition: () => boolean): Promise<void> {
    while (!condition()) {
      this.#assertAlive()
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
  }

  /** One after the other: what is written between two commits is one step. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      this.#assertAlive()
      try {
        return await withDeadline(this.#parts.clock, readTimeoutMs, `changing '${this.#parts.queue}'`, work())
      } catch (error) {
        // It is not known what the server has of it, and half of it must not go with the next commit.
        this.#end()
        this.#parts.session.destroy('a change of the schedule was not confirmed')
        throw error instanceof CeleriacError ? error : requestFailure(error, `changing '${this.#parts.queue}'`)
      }
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }

  #assertAlive(): void {
    if (!this.#isAlive) throw new LeaseLostError('the schedule is not held any more; another beat may lead')
  }

  #end(): void {
    this.#isAlive = false
    this.#arrived()
  }
}

/** Whatever others have put there is an entry without a task, which nobody can read and everybody leaves alone. */
function contentOf({ content, fields }: ConsumeMessage): StoredEntry | { readonly marker: string } {
  try {
    const read = JSON.parse(content.toString('utf8')) as Partial<StoredEntry> & { marker?: string }
    if (typeof read.marker === 'string') return { marker: read.marker }
    const { name, revision, value } = read
    if (typeof name === 'string' && typeof revision === 'number' && typeof value === 'string') {
      return { name, revision, value }
    }
  } catch {
    // As below.
  }
  return { name: `unreadable ${fields.deliveryTag}`, revision: 1, value: '' }
}

function plain({ name, revision, value }: StoredEntry): StoredEntry {
  return { name, revision, value }
}
