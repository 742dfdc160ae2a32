/**
 * A consumer: fetches by script, and between fetches waits in the cheapest way that loses nothing.
 *
 *     fetch → script → deliveries
 *               ↓ nothing there
 *             wait → a blocker has moved a message to the inbox → handed out at once, recorded right after
 *                  → a key changed, a delay is over, a second has passed → fetch again
 *
 * What it holds is known here and in the server under its id. After a broken connection the two may differ, so it goes
 * on under a new id and takes along what is known here (`succeedScript`).
 */
import { randomUUID } from 'node:crypto'
import { AbortWatch } from '../../abort-watch.ts'
import type { Consumer, Delivery, Effects, FetchOptions } from '../../broker/broker.ts'
import { sleep } from '../../clock.ts'
import { CeleriacError, LeaseLostError } from '../../errors.ts'
import { Blocker } from './blocker.ts'
import type { RedisClient } from './client.ts'
import { type Loan, RedisDelivery } from './delivery.ts'
import { ConnectionLost, isPassing, translate } from './failures.ts'
import type { KeyWatch } from './key-watch.ts'
import { listKey, steps } from './keys.ts'
import type { LeaseKeeper } from './lease-keeper.ts'
import { pausedKey } from './pausing.ts'
import {
  adoptScript,
  declineScript,
  enrolScript,
  extendScript,
  fetchScript,
  leaveScript,
  succeedScript,
} from './scripts.ts'
import type { Held, Settlements } from './settlements.ts'

const defaultWaitMs = 5_000
/** The net under every way of being told. */
const lookAgainMs = 1_000
/** A consumer of what is delayed is told by nobody. */
const lookForDelayedMs = 200
/** Waiting takes a connection for each queue; beyond so many, changes of keys are heard of instead. */
const mostBlockers = 8
/** A fetch that was answered longer ago may not know of a pause; see `pausing.ts`. */
const freshMs = 50
const failurePauseMs = 100
/** Shorter leases might lapse before the thread that renews them runs. */
const shortLeaseMs = 5_000

export interface ConsumerParts {
  readonly client: RedisClient
  readonly settlements: Settlements
  readonly leases: LeaseKeeper
  readonly keyWatch: KeyWatch
  readonly onClose: (consumer: RedisConsumer) => void
  /** Makes a queue known, once. */
  readonly onQueue: (queue: string) => void
  /** Told ms until the next delayed message is due. */
  readonly onDelayed: (nextMs: number) => void
}

export interface ConsumerSettings {
  readonly leaseMs: number
  readonly name: string
  readonly delayed: boolean
}

/** See `fetchScript`. */
type FetchReply = [nextDueMs: number, paused: number[], runs: number[], waits: number[], texts: string[]] | null

export class RedisConsumer implements Consumer, Loan {
  readonly #parts: ConsumerParts
  readonly #aborts = new AbortWatch()
  readonly #settings: ConsumerSettings
  readonly #queues: string[]
  /** All it ever consumed: there may be inboxes of them. */
  readonly #everConsumed: Set<string>
  readonly #blockers = new Map<string, Blocker>()
  readonly #held = new Set<number>()
  readonly #stops: (() => void)[] = []
  #id = newId()
  #number = 0
  #turn = 0
  /** What the server holds for this id may not be what is held here. */
  #isUncertain = false
  #succession: Promise<void> | undefined
  #isWatching = false
  #isFetching = false
  #isClosed = false
  readonly #arrived: Delivery[] = []
  /** Records what was handed out from an inbox; to be sent before anything is said of it. */
  readonly #unrecorded: (() => void)[] = []
  #wake: (() => void) | undefined
  #closing: Promise<void> | undefined

  constructor(parts: ConsumerParts, queues: readonly string[], settings: ConsumerSettings) {
    this.#parts = parts
    this.#settings = settings
    this.#queues = [...new Set(queues)]
    this.#everConsumed = new Set(this.#queues)
  }

  get id(): string {
    return this.#id
  }

  async open(): Promise<void> {
    const { client, leases, keyWatch, onQueue } = this.#parts
    for (const queue of this.#queues) onQueue(queue)
    const running = leases.start()
    if (this.#settings.leaseMs < shortLeaseMs) await running
    await this.#enrol()
    leases.hold(this.#id, this.#settings.leaseMs)
    this.#stops.push(
      client.onUp(() => this.#doubt()),
      keyWatch.onChange(() => {
        this.#isWatching = false
        this.#wake?.()
      }),
    )
  }

  async fetch(max: number, { waitMs = defaultWaitMs, signal }: FetchOptions = {}): Promise<Delivery[]> {
    this.#refuseClosed()
    this.#isFetching = true
    try {
      return await this.#fetch(max, waitMs, signal)
    } finally {
      this.#isFetching = false
      for (const blocker of this.#blockers.values()) if (blocker.isWaiting) void blocker.stop()
      // More than was asked for.
      for (const delivery of this.#arrived.splice(0)) delivery.release().catch(() => undefined)
    }
  }

  async add(queue: string): Promise<void> {
    this.#refuseClosed()
    if (!this.#queues.includes(queue)) this.#queues.push(queue)
    this.#everConsumed.add(queue)
    this.#parts.onQueue(queue)
    await this.#enrol()
    this.#isWatching = false
    this.#wake?.()
  }

  async cancel(queue: string): Promise<void> {
    this.#refuseClosed()
    const index = this.#queues.indexOf(queue)
    if (index >= 0) this.#queues.splice(index, 1)
    const blocker = this.#blockers.get(queue)
    this.#blockers.delete(queue)
    await blocker?.close()
    await this.#enrol()
    this.#wake?.()
  }

  close(): Promise<void> {
    this.#closing ??= this.#leave()
    return this.#closing
  }

  /** Lets the lease lapse without giving anything back, as a killed process does. For tests. */
  abandon(): void {
    this.#end()
    for (const blocker of this.#blockers.values()) blocker.abandon()
  }

  ack(held: Held, effects: Effects | undefined): Promise<void> {
    this.#record()
    return this.#parts.settlements.ack(held, effects)
  }

  release(held: Held, delayMs: number): Promise<void> {
    this.#record()
    return this.#parts.settlements.release(held, delayMs)
  }

  forget(number: number): void {
    this.#held.delete(number)
  }

  async extend(leaseMs: number): Promise<void> {
    const { client } = this.#parts
    const isHeld = await client.script(extendScript, [], [client.prefix, this.#id, Math.ceil(leaseMs)])
    if (isHeld === 0) throw new LeaseLostError()
  }

  async #fetch(max: number, waitMs: number, signal: AbortSignal | undefined): Promise<Delivery[]> {
    const { clock } = this.#parts.client
    const deadline = clock.monotonic() + waitMs
    for (;;) {
      if (signal?.aborted || this.#isClosed) return []
      if (this.#arrived.length > 0) return this.#arrived.splice(0, max)
      const found = await this.#look(max, deadline, signal)
      const leftMs = deadline - clock.monotonic()
      if (found === undefined) {
        if (leftMs <= 0) return []
        continue
      }
      const { deliveries } = found
      deliveries.push(...this.#arrived.splice(0, max - deliveries.length))
      if (deliveries.length > 0 || leftMs <= 0) return deliveries
      if (signal?.aborted || this.#isClosed) return []
      await this.#sleep(found, leftMs, signal)
    }
  }

  /** One look by script; undefined when there was no answer to go by. */
  async #look(
    max: number,
    deadline: number,
    signal: AbortSignal | undefined,
  ): Promise<{ deliveries: Delivery[]; nextDueMs: number; open: string[]; at: number } | undefined> {
    const { client, settlements } = this.#parts
    const { clock } = client
    try {
      await this.#beCertain(deadline, signal)
      const queues = this.#inTurn()
      const args = [client.prefix, this.#id, max, this.#number, this.#settings.delayed ? '1' : '0', ...queues]
      this.#number += max
      const first = this.#number - max
      const reply = (await client.together(() => {
        // What was settled before this fetch goes ahead of it.
        this.#record()
        settlements.flush()
        return client.scriptOnce(fetchScript, [], args)
      })) as FetchReply
      if (reply === null) {
        this.#isUncertain = true
        return undefined
      }
      const [nextDueMs, paused] = reply
      if (nextDueMs >= 0) this.#parts.onDelayed(nextDueMs)
      const open = queues.filter((_, index) => !paused.includes(index))
      return { deliveries: this.#deliveries(reply, queues, first), nextDueMs, open, at: clock.monotonic() }
    } catch (error) {
      this.#isUncertain = true
      if (!isPassing(error)) throw translate(error, client.where)
      if (this.#isClosed) return undefined
      const leftMs = deadline - clock.monotonic()
      if (leftMs <= 0) throw translate(error, client.where)
      await sleep(clock, Math.min(leftMs, failurePauseMs), signal)
      return undefined
    }
  }

  #deliveries([, , runs, waits, texts]: NonNullable<FetchReply>, queues: readonly string[], first: number): Delivery[] {
    const deliveries: Delivery[] = []
    for (let run = 0; run < runs.length; run += 2) {
      const queue = queues[runs[run] as number] as string
      const end = deliveries.length + (runs[run + 1] as number)
      for (let at = deliveries.length; at < end; at++) {
        const number = first + at + 1
        this.#held.add(number)
        const text = texts[at] as string
        deliveries.push(new RedisDelivery(this, { queue, number, delayMs: waits[at] ?? 0, text }))
      }
    }
    return deliveries
  }

  /** Until something may be there, or the wait is over. */
  #sleep(
    found: { nextDueMs: number; open: readonly string[]; at: number },
    leftMs: number,
    signal?: AbortSignal,
  ): Promise<void> {
    const { clock } = this.#parts.client
    const { delayed } = this.#settings
    const dueMs = found.nextDueMs < 0 || delayed ? Number.POSITIVE_INFINITY : found.nextDueMs + 1
    return new Promise((resolve) => {
      const wake = (): void => {
        if (this.#wake !== wake) return
        this.#wake = undefined
        timer.cancel()
        this.#aborts.stop()
        resolve()
      }
      const timer = clock.after(Math.min(leftMs, dueMs, delayed ? lookForDelayedMs : lookAgainMs), wake)
      this.#aborts.start(signal, wake)
      this.#wake = wake
      if (!delayed && clock.monotonic() - found.at < freshMs) this.#listen(found.open)
    })
  }

  /** Waits for the plain lists by blocking, and for all others by hearing of changes. */
  #listen(open: readonly string[]): void {
    const { client, keyWatch } = this.#parts
    const blocked = open.slice(0, mostBlockers)
    for (const blocker of this.#blockers.values()) {
      if (blocker.isWaiting && !blocked.includes(blocker.queue)) void blocker.stop()
    }
    for (const queue of blocked) this.#blockerOf(queue).wait(this.#id)
    if (this.#isWatching || open.length === 0) return
    this.#isWatching = true
    const keys = open.flatMap((queue) =>
      steps.filter((step) => step > 0 || !blocked.includes(queue)).map((step) => listKey(client.prefix, queue, step)),
    )
    keyWatch.look(keys, pausedKey(client)).then(
      (isThere) => {
        if (!isThere) return
        this.#isWatching = false
        this.#wake?.()
      },
      () => {
        this.#isWatching = false
      },
    )
  }

  #blockerOf(queue: string): Blocker {
    let blocker = this.#blockers.get(queue)
    if (blocker === undefined) {
      blocker = new Blocker(this.#parts.client, queue, this.#settings.name, {
        onMessage: (from, envelope, id) => this.#receive(from, envelope, id),
        onNothing: () => this.#wake?.(),
        onLost: () => this.#doubt(),
      })
      this.#blockers.set(queue, blocker)
    }
    return blocker
  }

  /** A message was moved to the inbox. If a fetch is open, it is handed out; its record follows in the same turn. */
  #receive(queue: string, text: string, id: string): void {
    const { client } = this.#parts
    if (!this.#isFetching || this.#isUncertain || id !== this.#id) {
      client.ordered(declineScript, [client.prefix, id, queue, text], Number.POSITIVE_INFINITY).catch(() => undefined)
      return
    }
    this.#number += 1
    const number = this.#number
    const delivery = new RedisDelivery(this, { queue, number, delayMs: 0, text })
    const adopt = (isOut: boolean): Promise<string> =>
      client.ordered(
        adoptScript,
        [client.prefix, this.#id, queue, number - 1, isOut ? 1 : 0, text],
        Number.POSITIVE_INFINITY,
      )
    const handOut = (): void => {
      this.#held.add(number)
      if (!this.#isFetching) delivery.release().catch(() => undefined)
      else this.#arrived.push(delivery)
      this.#wake?.()
    }
    if (delivery.deliveryCount === 1) {
      // It can run meanwhile: the inbox keeps it as well as the record will.
      this.#unrecorded.push(() => adopt(true).catch(() => this.#doubt()))
      setImmediate(() => this.#record())
      handOut()
      return
    }
    adopt(false).then(
      (known) => (known === '' ? this.#wake?.() : handOut()),
      () => this.#doubt(),
    )
  }

  #record(): void {
    for (const record of this.#unrecorded.splice(0)) record()
  }

  /** What the server holds for us must be compared with what we know of. */
  #doubt(): void {
    this.#isUncertain = true
    this.#isWatching = false
    this.#wake?.()
  }

  /** Before a fetch after a broken connection. @throws ConnectionLost it is still broken */
  async #beCertain(deadline: number, signal: AbortSignal | undefined): Promise<void> {
    const { client } = this.#parts
    if (!client.isUp) throw new ConnectionLost(client.lastError.message)
    if (this.#isUncertain) {
      this.#isUncertain = false
      const succession = this.#succeed().finally(() => {
        if (this.#succession === succession) this.#succession = undefined
      })
      this.#succession = succession
      // When the client closes first, nobody may be waiting for it any more.
      succession.catch(() => undefined)
    }
    if (this.#succession === undefined) return
    const { clock } = client
    const over = new AbortController()
    const stop = (): void => over.abort()
    signal?.addEventListener('abort', stop)
    try {
      await Promise.race([this.#succession, sleep(clock, deadline - clock.monotonic(), over.signal)])
    } finally {
      // The sleep goes on otherwise, and many that follow upon each other would add up.
      signal?.removeEventListener('abort', stop)
      stop()
    }
    if (this.#succession !== undefined) throw new ConnectionLost('the server has not answered yet')
  }

  async #succeed(): Promise<void> {
    const { client, leases } = this.#parts
    this.#record()
    const old = this.#id
    const id = newId()
    this.#parts.settlements.flush()
    // From here on settlements speak of the new id: they are sent after this.
    this.#id = id
    leases.drop(old)
    leases.hold(id, this.#settings.leaseMs)
    const { leaseMs, name } = this.#settings
    const args = [client.prefix, old, id, Math.ceil(leaseMs), name, ...this.#queuesJson(), ...this.#held]
    await client.ordered(succeedScript, args, Number.POSITIVE_INFINITY)
  }

  async #enrol(): Promise<void> {
    const { client } = this.#parts
    const { leaseMs, name } = this.#settings
    const args = [client.prefix, this.#id, Math.ceil(leaseMs), name, ...this.#queuesJson()]
    await client.ordered(enrolScript, args, client.publishTimeoutMs)
  }

  async #leave(): Promise<void> {
    const { client, settlements } = this.#parts
    this.#end()
    await Promise.all(Array.from(this.#blockers.values(), (blocker) => blocker.close()))
    this.#record()
    settlements.flush()
    await client.ordered(leaveScript, [client.prefix, this.#id], client.publishTimeoutMs)
  }

  #end(): void {
    this.#isClosed = true
    this.#parts.leases.drop(this.#id)
    for (const stop of this.#stops.splice(0)) stop()
    this.#parts.onClose(this)
    this.#wake?.()
  }

  /** Each queue comes first in its turn. */
  #inTurn(): string[] {
    const queues = this.#queues
    if (queues.length < 2) return [...queues]
    this.#turn = (this.#turn + 1) % queues.length
    return [...queues.slice(this.#turn), ...queues.slice(0, this.#turn)]
  }

  /** Those it consumes, and those it may have inboxes of. */
  #queuesJson(): [consumed: string, inboxes: string] {
    return [JSON.stringify(this.#queues), JSON.stringify([...this.#everConsumed])]
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new CeleriacError('CLOSED', 'the consumer is closed')
  }
}

function newId(): string {
  return randomUUID()
}
