/**
 * Publishes with confirmations, many at a time: what one turn of the event loop asks for leaves together, and a window
 * of unconfirmed messages keeps the server busy without filling our memory.
 *
 *     queue ── there is a channel, no alarm, room in the window, and the target is declared ──→ in flight ──→ confirmed
 *       ↑                                                                                         │
 *       └──────────────── the channel or connection broke before the confirmation ────────────────┘
 *
 * What is written again may have arrived the first time: a broken connection can double a message, and loses none.
 */
import type { ConfirmChannel, Message as ReturnedMessage } from 'amqplib'
import type { Clock, Timer } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Connection } from './connection.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import type { Outbound } from './message.ts'
import { type Entry, PublishCall } from './publish-call.ts'
import type { Requests } from './requests.ts'
import type { Session } from './session.ts'
import type { Topology } from './topology.ts'
import { isClosing, write } from './write.ts'

/** Most that is unconfirmed at a time. */
const window = { messages: 2_000, bytes: 16 * 1024 * 1024 }
/** Most that is taken in while the server takes nothing. */
const buffer = { messages: 10_000, bytes: 64 * 1024 * 1024 }
/** A message that closed its channel, or was sent back, so often is refused. */
const maxFailures = 3

export interface PublisherParts {
  readonly connection: Connection
  readonly topology: Topology
  readonly requests: Requests
  readonly clock: Clock
  /** How long a call waits for its confirmations, in ms. */
  readonly timeoutMs: number
}

export class Publisher {
  readonly #parts: PublisherParts
  #queue: Entry[] = []
  #queuedBytes = 0
  readonly #inFlight = new Set<Entry>()
  #inFlightBytes = 0
  readonly #calls = new Set<PublishCall>()
  #channel: ConfirmChannel | undefined
  /** What the last channel left behind. */
  #unconfirmed: readonly Entry[] = []
  #isPreparing = false
  #deadline: Timer | undefined
  #onSettled: (() => void) | undefined
  /** The server's limit, once it has told it by refusing a message. */
  #learnedLargest = Number.POSITIVE_INFINITY

  constructor(parts: PublisherParts) {
    this.#parts = parts
    parts.connection.listen({
      onUp: (session) => {
        // A server that restarted may have lost what was not durable, or have been replaced by another.
        parts.topology.forgetAll()
        void this.#openChannel(session)
      },
      onBlocked: () => this.#drain(),
    })
  }

  /** Largest message the server is known to take, in bytes; Infinity until it has refused one. */
  get learnedLargest(): number {
    return this.#learnedLargest
  }

  /** @throws CeleriacError `PUBLISH_TIMEOUT`, `BROKER_BUSY`, `BROKER_AUTH`, `STORAGE_FULL`, `PAYLOAD_TOO_LARGE` */
  publish(outbounds: readonly Outbound[]): Promise<void> {
    const { clock, timeoutMs, connection } = this.#parts
    connection.start()
    const bytes = outbounds.reduce((sum, { content }) => sum + content.length, 0)
    const refusal = this.#refusal(outbounds.length, bytes)
    if (refusal !== undefined) return Promise.reject(refusal)
    const call = new PublishCall(outbounds.length, clock.monotonic() + timeoutMs)
    for (const outbound of outbounds) this.#queue.push({ outbound, call, failures: 0, isReturned: false })
    this.#queuedBytes += bytes
    this.#calls.add(call)
    this.#watchDeadlines()
    this.#drain()
    return call.done
  }

  /** Waits until every call is answered. */
  async settled(): Promise<void> {
    if (this.#calls.size === 0) return
    await new Promise<void>((resolve) => {
      this.#onSettled = resolve
    })
  }

  #refusal(messages: number, bytes: number): CeleriacError | undefined {
    if (this.#channel !== undefined && this.#parts.connection.blockedBecause === undefined) return undefined
    const waiting = this.#queue.length + this.#inFlight.size
    const waitingBytes = this.#queuedBytes + this.#inFlightBytes
    if (waiting + messages <= buffer.messages && waitingBytes + bytes <= buffer.bytes) return undefined
    return new CeleriacError(
      'BROKER_BUSY',
      `${waiting} messages (${waitingBytes} bytes) wait already, of ${buffer.messages} (${buffer.bytes} bytes) at most: ${this.#why()}`,
    )
  }

  /** What publishing waits for, in words. */
  #why(): string {
    const { connection } = this.#parts
    if (connection.blockedBecause !== undefined) {
      return `RabbitMQ takes no messages because of an alarm (${connection.blockedBecause}); free memory or disk on its host`
    }
    if (connection.session === undefined) return connection.lastError?.message ?? 'RabbitMQ has not answered yet'
    return 'RabbitMQ has not confirmed what was sent'
  }

  async #openChannel(session: Session): Promise<void> {
    try {
      const channel = await session.openConfirmChannel()
      channel.on('return', (message) => this.#returned(message))
      channel.once('close', () => this.#closed())
      session.watch(channel, (failure) => this.#closedAlone(session, failure))
      this.#channel = channel
      this.#unconfirmed = []
      this.#drain()
    } catch {
      // Without a channel the session is of no use; the next one begins with a try at this.
      session.destroy('no channel for publishing could be opened')
    }
  }

  /** What was not confirmed waits at the front again, in its old order. */
  #closed(): void {
    this.#channel = undefined
    this.#unconfirmed = [...this.#inFlight]
    this.#inFlight.clear()
    this.#inFlightBytes = 0
    this.#putBack(this.#unconfirmed)
  }

  /** The server closed the channel, and not the connection. */
  #closedAlone(session: Session, failure: Error | undefined): void {
    if (failure !== undefined) this.#blame(this.#unconfirmed, failure)
    void this.#openChannel(session)
  }

  /** The server closed the channel because of one of these messages, without telling which. */
  #blame(unconfirmed: readonly Entry[], failure: Error): void {
    const limit = /message size \d+ is larger than configured max size (\d+)/.exec(failure.message)?.[1]
    if (limit !== undefined) this.#learnedLargest = Number(limit)
    if (replyCodeOf(failure) === replyCodes.notFound) this.#parts.topology.forgetAll()
    for (const entry of unconfirmed) {
      entry.failures += 1
      const { queue, content } = entry.outbound
      if (content.length > this.#learnedLargest) {
        const message = `a message for ${queue} may have ${limit} bytes on this server (max_message_size), got ${content.length}`
        this.#fail(entry.call, new CeleriacError('PAYLOAD_TOO_LARGE', message, { cause: failure }))
      } else if (entry.failures >= maxFailures) {
        this.#fail(entry.call, requestFailure(failure, `a message for '${queue ?? entry.outbound.routingKey}'`))
      }
    }
  }

  #putBack(entries: readonly Entry[]): void {
    const again = entries.filter(({ call }) => !call.isOver)
    this.#queue = [...again, ...this.#queue]
    for (const { outbound } of again) this.#queuedBytes += outbound.content.length
  }

  #drain(): void {
    const { topology, connection } = this.#parts
    if (this.#isPreparing) return
    let taken = 0
    while (taken < this.#queue.length) {
      const entry = this.#queue[taken] as Entry
      if (!entry.call.isOver) {
        const hasRoom = this.#inFlight.size < window.messages && this.#inFlightBytes < window.bytes
        if (this.#channel === undefined || connection.blockedBecause !== undefined || !hasRoom) break
        if (!topology.isReady(entry.outbound)) {
          this.#prepare(entry)
          break
        }
        if (taken === 0) connection.session?.gather()
        if (!this.#write(this.#channel, entry)) break
      }
      this.#queuedBytes -= entry.outbound.content.length
      taken += 1
    }
    if (taken > 0) this.#queue.splice(0, taken)
  }

  /** Declares what the next message needs; those behind it wait, so that the order stays. */
  #prepare(entry: Entry): void {
    const { topology, requests, connection } = this.#parts
    this.#isPreparing = true
    topology
      .prepare(entry.outbound, requests)
      .catch((error) => {
        // Without a connection it is tried again with the next one, up to the deadline.
        if (connection.session !== undefined) this.#fail(entry.call, error)
      })
      .finally(() => {
        this.#isPreparing = false
        if (connection.session !== undefined) this.#drain()
      })
  }

  /** @returns false when the channel is closing */
  #write(channel: ConfirmChannel, entry: Entry): boolean {
    try {
      write(channel, entry.outbound, (error) => this.#confirmed(entry, error))
    } catch (error) {
      if (isClosing(error)) return false
      this.#fail(entry.call, error)
      return true
    }
    entry.call.written()
    this.#inFlight.add(entry)
    this.#inFlightBytes += entry.outbound.content.length
    return true
  }

  #confirmed(entry: Entry, error: Error | null): void {
    // Those of a channel that closed are put back by `#closed`, all in their order.
    if (error !== null && error.message === 'channel closed') return
    if (!this.#inFlight.delete(entry)) return
    this.#inFlightBytes -= entry.outbound.content.length
    if (error !== null) {
      const message = `the queue '${entry.outbound.queue}' refused a message: it is full (x-max-length with reject-publish), or cannot store it`
      this.#fail(entry.call, new CeleriacError('STORAGE_FULL', message, { cause: error }))
    } else if (entry.isReturned) {
      this.#sendAgain(entry)
    } else if (entry.call.confirmed()) {
      this.#over(entry.call)
    }
    if (this.#queue.length > 0 && this.#inFlight.size <= window.messages / 2) this.#drain()
  }

  /** Its queue was deleted since we declared it. */
  #sendAgain(entry: Entry): void {
    const { queue, delay } = entry.outbound
    entry.isReturned = false
    entry.failures += 1
    if (entry.failures >= maxFailures) {
      const message = `RabbitMQ has no queue for a message for '${queue}', although it was declared ${entry.failures} times`
      return this.#fail(entry.call, new CeleriacError('BROKER_UNAVAILABLE', message))
    }
    if (delay === undefined && queue !== undefined) this.#parts.topology.forget(queue)
    else this.#parts.topology.forgetAll()
    this.#putBack([entry])
    this.#drain()
  }

  /** A message that found no queue comes back before its confirmation; the first like it in flight is the one. */
  #returned({ fields, content }: ReturnedMessage): void {
    for (const entry of this.#inFlight) {
      const { outbound } = entry
      if (entry.isReturned || outbound.routingKey !== fields.routingKey || !outbound.content.equals(content)) continue
      entry.isReturned = true
      return
    }
  }

  #fail(call: PublishCall, error: unknown): void {
    call.fail(error)
    this.#over(call)
  }

  #over(call: PublishCall): void {
    this.#calls.delete(call)
    if (this.#calls.size > 0) return
    this.#deadline?.cancel()
    this.#deadline = undefined
    this.#onSettled?.()
  }

  /** Calls have one timeout, so the first to come is the first to be over. */
  #watchDeadlines(): void {
    if (this.#deadline !== undefined) return
    const [first] = this.#calls
    if (first === undefined) return
    const { clock, timeoutMs } = this.#parts
    this.#deadline = clock.after(first.deadline - clock.monotonic(), () => {
      this.#deadline = undefined
      const now = clock.monotonic()
      for (const call of this.#calls) {
        if (call.deadline > now) break
        call.timeOut(timeoutMs, this.#why())
        this.#over(call)
      }
      this.#drain()
      this.#watchDeadlines()
    })
  }
}
