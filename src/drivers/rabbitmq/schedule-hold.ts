/**
 * The schedule of one scope, held: a durable queue whose messages are pages of entries, all of them on loan to one
 * exclusive consumer. So the queue is memory and lock in one, and the lock ends with the holder's connection.
 *
 * The pages are a log: entries that change together are published as a new page, and a page none of whose entries counts
 * any more is acknowledged, in one AMQP transaction with what became due. Of an entry that is in several pages the latest
 * revision counts. An entry that is removed must be in none, so what else was in its pages is written anew; and so is, bit
 * by bit, what is left of pages that are half out of date.
 *
 * A holder that dies leaves all of a change or nothing. A server that dies amidst a commit may keep the new page and the
 * old ones, since RabbitMQ promises no more for several queues.
 */
import { randomUUID } from 'node:crypto'
import type { Channel, ConsumeMessage, Message } from 'amqplib'
import type { StoredEntry } from '../../broker/schedule-store.ts'
import type { Clock } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import { closeChannel } from './close-channel.ts'
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

/** Entries in one message, at most. */
const pageSize = 500

interface Page {
  /** Of its delivery; undefined while it is on its way to us. The message itself is let go: it is as large as the page. */
  tag: number | undefined
  /** Of all entries in it. */
  readonly names: string[]
  /** Entries that are in no later page. */
  current: number
}

type PageContent = { readonly entries: readonly StoredEntry[] } | { readonly marker: string }

interface HeldEntry extends StoredEntry {
  /** The latest it is in. */
  readonly page: Page
}

export class ScheduleHold {
  readonly #parts: HoldParts
  readonly #channel: Channel
  readonly #entries = new Map<string, HeldEntry>()
  readonly #pages = new Set<Page>()
  /** Those of them that are to be written anew. */
  readonly #halfEmpty = new Set<Page>()
  /** Those that we have sent and not got back yet, by message id. */
  readonly #onTheWay = new Map<string, Page>()
  /** Waits for messages on their way. */
  #arrived: () => void = () => undefined
  #marker: string | undefined
  #outdated: number[] = []
  #isAlive = true
  #isReleased = false
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
    const opening = withDeadline(clock, requestTimeoutMs, what, session.openChannel())
    const channel = await opening.catch((error) => {
      throw requestFailure(error, what)
    })
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
    return this.#isAlive && !this.#isReleased
  }

  /** @throws LeaseLostError, as all that look at entries */
  get(name: string): StoredEntry | undefined {
    this.#assertAlive()
    const entry = this.#entries.get(name)
    return entry === undefined ? undefined : plain(entry)
  }

  /** All of them, so many at a time. What is changed meanwhile may come twice. */
  *entries(atOnce: number): Generator<StoredEntry[]> {
    let entries: StoredEntry[] = []
    for (const entry of this.#entries.values()) {
      entries.push(plain(entry))
      if (entries.length < atOnce) continue
      yield entries
      entries = []
      // All that is left may have gone since.
      this.#assertAlive()
    }
    yield entries
  }

  /** Up to so many entries whose names come behind, in the order of the names. */
  entriesBehind(behind: string, max: number): StoredEntry[] {
    this.#assertAlive()
    const names = [...this.#entries.keys()].filter((name) => name > behind).sort()
    return names.slice(0, max).map((name) => plain(this.#entries.get(name) as HeldEntry))
  }

  /**
   * Makes the changes of entries that have their revisions, in one step. Answers the names of the others.
   * @throws LeaseLostError when it is not held any more; after another error it is not known whether it happened
   */
  change(changes: readonly HeldChange[]): Promise<string[]> {
    return this.#inTurn(async () => {
      await this.#until(() => this.#onTheWay.size === 0)
      const { valid, refused } = this.#check(changes)
      this.#parts.session.gather()
      for (const { publish } of valid) for (const outbound of publish) write(this.#channel, outbound)
      this.#publish(
        valid.flatMap(({ name, revision, value }) =>
          // Begins with the time, so that an entry which is made anew has no revision of its predecessor's.
          value === null ? [] : { name, revision: revision === 0 ? this.#parts.clock.now() : revision + 1, value },
        ),
      )
      this.#remove(valid.flatMap(({ name, value }) => (value === null ? name : [])))
      this.#tidy()
      this.#ackOutdated()
      await commit(this.#channel)
      return refused
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
      this.#forgetPages()
      const lent: Page = { tag: undefined, names: [], current: this.#entries.size }
      for (const entry of this.#entries.values()) this.#entries.set(entry.name, heldIn(lent, entry))
      await this.#channel.recover()
      await this.#readAll()
    })
  }

  /** Lets others have it, once what was begun is done. */
  async release(): Promise<void> {
    this.#isReleased = true
    await this.#last
    this.#end()
    await closeChannel(this.#channel)
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
    this.#send({ marker }, marker)
    await commit(this.#channel)
    await this.#until(() => this.#marker !== marker)
    this.#ackOutdated()
    await commit(this.#channel)
  }

  /** Not when they come: while a commit is under way the server takes no other word on the channel. */
  #ackOutdated(): void {
    for (const deliveryTag of this.#outdated.splice(0)) this.#channel.ack({ fields: { deliveryTag } } as Message)
  }

  #check(changes: readonly HeldChange[]): { readonly valid: HeldChange[]; readonly refused: string[] } {
    const valid = new Map<string, HeldChange>()
    const refused: string[] = []
    for (const change of changes) {
      const { name, revision } = change
      const isValid = !valid.has(name) && (this.#entries.get(name)?.revision ?? 0) === revision
      if (isValid) valid.set(name, change)
      else refused.push(name)
    }
    return { valid: [...valid.values()], refused }
  }

  #publish(entries: readonly StoredEntry[]): void {
    for (let at = 0; at < entries.length; at += pageSize) {
      const content = entries.slice(at, at + pageSize)
      const messageId = randomUUID()
      this.#send({ entries: content }, messageId)
      this.#onTheWay.set(messageId, this.#put(content))
    }
  }

  #send(content: PageContent, messageId: string): void {
    const options = { persistent: true, contentType: 'application/json', messageId }
    this.#channel.publish('', this.#parts.queue, Buffer.from(JSON.stringify(content)), options)
  }

  #remove(names: readonly string[]): void {
    if (names.length === 0) return
    const gone = new Set(names)
    for (const name of gone) {
      const entry = this.#entries.get(name)
      this.#entries.delete(name)
      if (entry !== undefined) this.#outdate(entry.page)
    }
    // Also pages in which it is out of date: it would count again, without a later revision.
    const touched = [...this.#pages].filter((page) => page.names.some((name) => gone.has(name)))
    this.#publish(touched.flatMap((page) => this.#currentIn(page)))
  }

  /** A page's worth at a time, so that no change takes much longer than others. */
  #tidy(): void {
    const left: StoredEntry[] = []
    for (const page of this.#halfEmpty) {
      if (left.length + page.current > pageSize) break
      left.push(...this.#currentIn(page))
    }
    this.#publish(left)
  }

  #currentIn(page: Page): StoredEntry[] {
    return page.names.flatMap((name) => {
      const entry = this.#entries.get(name)
      return entry?.page === page ? plain(entry) : []
    })
  }

  #take(message: ConsumeMessage): void {
    if (!this.#isAlive) return
    const { deliveryTag } = message.fields
    const messageId = String(message.properties.messageId)
    const own = this.#onTheWay.get(messageId)
    const content = own ?? contentOf(message)
    if ('marker' in content) {
      // Also one of a holder that died while he waited for it.
      this.#outdated.push(deliveryTag)
      if (content.marker === this.#marker) this.#marker = undefined
    } else {
      const page = 'entries' in content ? this.#put(content.entries) : content
      this.#onTheWay.delete(messageId)
      page.tag = deliveryTag
      this.#pages.add(page)
      this.#review(page)
    }
    this.#arrived()
  }

  /** Entries of a page count from now on, unless there are later ones. */
  #put(entries: readonly StoredEntry[]): Page {
    const page: Page = { tag: undefined, names: [], current: 0 }
    for (const entry of entries) {
      const known = this.#entries.get(entry.name)
      page.names.push(known?.name ?? entry.name)
      if (known !== undefined && known.revision > entry.revision) continue
      if (known !== undefined) this.#outdate(known.page)
      this.#entries.set(known?.name ?? entry.name, heldIn(page, entry))
      page.current += 1
    }
    return page
  }

  /** One entry fewer of it counts. */
  #outdate(page: Page): void {
    page.current -= 1
    this.#review(page)
  }

  #review(page: Page): void {
    // What is on its way is looked at when it has come.
    if (page.tag === undefined) return
    if (page.current === 0) {
      this.#pages.delete(page)
      this.#halfEmpty.delete(page)
      this.#outdated.push(page.tag)
    } else if (2 * page.current < page.names.length) this.#halfEmpty.add(page)
  }

  #forgetPages(): void {
    this.#outdated = []
    this.#pages.clear()
    this.#halfEmpty.clear()
    this.#onTheWay.clear()
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
    if (this.#isReleased) return Promise.reject(lost())
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
    if (!this.#isAlive) throw lost()
  }

  /** Those who were told to call this keep us for as long as the connection lives, but not what we held. */
  #end(): void {
    this.#isAlive = false
    this.#entries.clear()
    this.#forgetPages()
    this.#arrived()
  }
}

function lost(): LeaseLostError {
  return new LeaseLostError('the schedule is not held any more; another beat may lead')
}

/** Whatever others have put there is an entry without a task, which nobody can read and everybody leaves alone. */
function contentOf({ content, fields }: ConsumeMessage): PageContent {
  try {
    const read = JSON.parse(content.toString('utf8')) as { readonly entries?: unknown; readonly marker?: unknown }
    if (typeof read.marker === 'string') return { marker: read.marker }
    if (Array.isArray(read.entries) && read.entries.length > 0 && read.entries.every(isEntry)) {
      return { entries: [...new Map(read.entries.map((entry) => [entry.name, entry])).values()] }
    }
  } catch {
    // As below.
  }
  return { entries: [{ name: `unreadable ${fields.deliveryTag}`, revision: 1, value: '' }] }
}

function isEntry(read: unknown): read is StoredEntry {
  const { name, revision, value } = (read ?? {}) as Partial<StoredEntry>
  return typeof name === 'string' && typeof revision === 'number' && typeof value === 'string'
}

function plain({ name, revision, value }: StoredEntry): StoredEntry {
  return { name, revision, value }
}

/** By a literal: V8 gives objects that are spread a hidden class each, which is larger than they are. */
function heldIn(page: Page, { name, revision, value }: StoredEntry): HeldEntry {
  return { name, revision, value, page }
}
