/**
 * Moves what waits on one broker to another: ready and delayed messages of a queue, in batches. Killed at any point and
 * run again, it loses nothing and doubles nothing.
 *
 * | step | killed after it, the next run |
 * |---|---|
 * | fetch a batch: on loan from the source | finds the batch at the source, when the lease has lapsed |
 * | publish it with its marker on the target, in one atomic step | finds the marker, and the batch at the source |
 * | acknowledge it at the source | finds the marker, and what was not acknowledged yet |
 * | drop the marker | finds nothing |
 *
 * What a marker names is acknowledged when the source delivers it again, and not published. A batch's marker is dropped
 * before the next batch is fetched: a message that was delivered more often than a marker says is the one that was moved,
 * and no twin of it, alike in every byte. (Twins of a batch whose run was killed are told apart once; if the next run is
 * killed as well, while it holds one, they are not. A task id makes every message its own.)
 */
import type { Broker, Delivery, OutgoingMessage } from '../broker/broker.ts'
import { type Clock, sleep, systemClock } from '../clock.ts'
import { CeleriacError, LeaseLostError } from '../errors.ts'
import { lapseGraceMs, MarkerDesk } from './migration-desk.ts'
import { type Intake, type Moved, openIntake } from './migration-intake.ts'
import type { Entry, Marker } from './migration-ledger.ts'
import { entryOf, parcelOf } from './migration-message.ts'
import { newTally, type QueueReport, refuse, type Tally } from './migration-report.ts'

export interface MigrationOptions {
  readonly source: Broker
  /** Needs `publish` to be atomic when asked. */
  readonly target: Broker
  /** What the source is called in markers: the same in every run, as its address is. */
  readonly sourceName: string
  /** How long what a killed run held stays away, in ms. @default 10_000 */
  readonly leaseMs?: number
  /** Most messages in one batch. @default 500 */
  readonly batchSize?: number
  readonly clock?: Clock
}

export interface QueueOptions {
  /** Ends the run after the batch under way. */
  readonly signal?: AbortSignal
  /** Called after every batch with the messages moved so far in this run. */
  readonly onProgress?: (moved: number) => void
  /** Called now and then while nothing is left but messages on loan, which may come back. */
  readonly onLent?: (lent: number) => void
}

const defaultLeaseMs = 10_000
const defaultBatchSize = 500
/** A batch is made of fewer messages where they are large, so that it stays near this many bytes. */
const batchBytes = 1024 * 1024
const firstBatchSize = 50
const pollMs = 100
/** Looks at a queue that says it has messages and gives none. */
const maxVainLooks = 20
/** So many refused messages are held back, out of the way of the others; then the queue is given up. */
const maxRefused = 1_000

/** A delivery to be moved, with what stands for it in the marker. */
interface Item {
  readonly delivery: Delivery
  readonly entry: Entry
  /** Whether the source may have made a copy of it, which is to come. */
  isDoubtful: boolean
}

export class Migration {
  readonly #source: Broker
  readonly #target: Broker
  readonly #sourceName: string
  readonly #leaseMs: number
  readonly #batchSize: number
  readonly #clock: Clock
  readonly #desk: MarkerDesk
  /** After this, what was on loan to a killed run is back. */
  #lapsedByMs = 0
  /** An earlier run was killed. */
  #follows = false
  #bytesPerMessage = batchBytes / firstBatchSize

  constructor(options: MigrationOptions) {
    const { source, target, sourceName, leaseMs = defaultLeaseMs, clock = systemClock } = options
    this.#source = source
    this.#target = target
    this.#sourceName = sourceName
    this.#leaseMs = leaseMs
    this.#batchSize = options.batchSize ?? defaultBatchSize
    this.#clock = clock
    this.#desk = new MarkerDesk({ source, target, sourceName, clock, leaseMs })
  }

  /**
   * Takes the target for this migration. The brokers must be open; they are the caller's to close.
   * @param onWait called now and then while a run that was killed still holds the target, at most for its lease
   * @returns whether there was such a run lately, or one has left something to settle
   * @throws CeleriacError `MIGRATION_BUSY`; `CONFIG_INVALID` when source and target are the same
   */
  async open(onWait: () => void = () => undefined): Promise<boolean> {
    let hasWaited = false
    await this.#desk.open(() => {
      hasWaited = true
      onWait()
    })
    this.#lapsedByMs = this.#clock.monotonic() + this.#leaseMs + lapseGraceMs
    this.#follows = hasWaited || this.#desk.ledger.held > 0
    return this.#follows
  }

  /** Whether an earlier run has left something of this queue to settle. */
  owes(queue: string): boolean {
    return this.#desk.ledger.owes(this.#sourceName, queue)
  }

  /**
   * Moves one queue, until it is empty or the signal aborts.
   * @throws CeleriacError of the brokers. Then messages may be published and not acknowledged: end the process without
   *   closing the source, so that they come back as lost, and run the migration again.
   */
  async run(queue: string, options: QueueOptions = {}): Promise<QueueReport> {
    const { signal, onProgress } = options
    const tally = newTally()
    this.#bytesPerMessage = batchBytes / firstBatchSize
    const intake = await this.#openIntake(queue, signal)
    const isOver = (): boolean => signal?.aborted === true || tally.refusedCount >= maxRefused
    do {
      while (!isOver() && (await this.#moveNext(intake, tally, signal))) onProgress?.(tally.moved)
    } while (!isOver() && (await this.#hasMore(queue, intake, tally, options)))
    await intake.close()
    await this.#desk.clear()
    const { ready, delayed, inFlight } = await this.#source.depth(queue)
    // Not every broker counts what is delayed.
    return { queue, ...tally, left: Math.max(ready + delayed, tally.refusedCount), running: inFlight }
  }

  /** Leaves the target to others. */
  async close(): Promise<void> {
    await this.#desk.close()
  }

  /**
   * What a killed run held goes back to its old place, before what has waited behind it. While nobody else consumes the
   * queue, whatever is on loan is of that kind, and is waited for. A run that was killed a moment ago looks like somebody
   * else, so after one it is waited in any case.
   */
  async #openIntake(queue: string, signal: AbortSignal | undefined): Promise<Intake> {
    const info = (await this.#source.queues()).find((known) => known.queue === queue)
    const options = { leaseMs: this.#leaseMs, name: 'celeriac migrate' }
    const intake = await openIntake(this.#source, queue, options, this.#clock)
    if ((info?.consumers ?? 0) > 0 && !this.#follows) return intake
    while (!signal?.aborted && this.#clock.monotonic() < this.#lapsedByMs) {
      const { inFlight } = await this.#source.depth(queue)
      if (inFlight === 0) break
      await sleep(this.#clock, pollMs, signal)
    }
    return intake
  }

  /** Moves one batch. Tells whether there was any. */
  async #moveNext(intake: Intake, tally: Tally, signal: AbortSignal | undefined): Promise<boolean> {
    const max = Math.max(1, Math.min(this.#batchSize, Math.floor(batchBytes / this.#bytesPerMessage)))
    const deliveries = await intake.next(max, signal)
    if (deliveries.length > 0) await this.#move(intake, deliveries, tally)
    return deliveries.length > 0
  }

  /**
   * Whether to go on after a look that found nothing: messages may be on their way to us, or on loan to a run that was
   * killed (or to a worker: until its leases would have lapsed, nobody can tell). When neither is so, what is still owed
   * cannot come any more.
   */
  async #hasMore(queue: string, intake: Intake, tally: Tally, { signal, onLent }: QueueOptions): Promise<boolean> {
    // Servers that lend by connection need not tell what is on loan.
    const isBlind = this.#source.capabilities.lease === 'connection'
    for (let vainLooks = 0, isQuiet = false; !signal?.aborted; ) {
      // Depth and queue are not seen at one moment: only what is quiet before this look, and then gives nothing, is empty.
      if (await this.#moveNext(intake, tally, signal)) return true
      const { ready, delayed, inFlight } = await this.#source.depth(queue)
      const isLent = inFlight > tally.refusedCount
      if (ready + delayed > 0) {
        vainLooks += 1
        if (vainLooks > maxVainLooks) return false
      } else if (!isLent && !this.owes(queue)) {
        return false
      } else if ((isLent || isBlind) && this.#clock.monotonic() < this.#lapsedByMs) {
        if (isLent) onLent?.(inFlight - tally.refusedCount)
        isQuiet = false
      } else if (isLent) {
        return false // To a worker: the debts stay until it has ended.
      } else if (isQuiet) {
        this.#desk.ledger.close(this.#sourceName, queue)
        return false
      } else {
        isQuiet = true
        continue
      }
      await sleep(this.#clock, pollMs, signal)
    }
    return false
  }

  async #move(intake: Intake, deliveries: readonly Delivery[], tally: Tally): Promise<void> {
    const fetchedMs = this.#clock.monotonic()
    // The last batch of a killed run may still be on its way to the target when this one has begun.
    if (fetchedMs < this.#lapsedByMs) await this.#desk.collect(0)
    const { ledger } = this.#desk
    const fresh: Item[] = []
    const firstOf = new Map<string, Item>()
    const copies: Delivery[] = []
    const moved: Moved[] = []
    for (const delivery of deliveries) {
      const entry = entryOf(delivery, this.#source.capabilities)
      const [fingerprint, countOrAny] = entry
      const item: Item = { delivery, entry, isDoubtful: countOrAny === 0 && delivery.deliveryCount > 1 }
      const debt = ledger.strike([fingerprint, delivery.deliveryCount])
      const first = firstOf.get(fingerprint)
      if (debt !== undefined) {
        moved.push(this.#moved({ ...item, entry: debt.entry }, debt.marker))
      } else if (first !== undefined && (first.isDoubtful || item.isDoubtful)) {
        first.isDoubtful = true
        copies.push(delivery)
      } else {
        fresh.push(item)
        firstOf.set(fingerprint, item)
      }
    }
    tally.settled += moved.length
    await Promise.all([this.#publish(intake, fresh, fetchedMs, tally), intake.settle(moved)])
    // By now their debts are on the books.
    if (copies.length > 0) return this.#move(intake, copies, tally)
    await this.#desk.clear()
  }

  /** Publishes a batch and takes it off the source. If the target refuses it, it goes in halves, to find the culprit. */
  async #publish(intake: Intake, batch: readonly Item[], fetchedMs: number, tally: Tally): Promise<void> {
    const items: Item[] = []
    const messages: OutgoingMessage[] = []
    let bytes = 0
    for (const item of await this.#held(batch, fetchedMs)) {
      const elapsedMs = this.#clock.monotonic() - fetchedMs
      const parcel = parcelOf(item.delivery, elapsedMs, this.#clock.now(), this.#target.capabilities)
      if ('refusal' in parcel) {
        refuse(item.delivery, parcel.refusal, tally)
      } else {
        items.push(item)
        messages.push(parcel.message)
        bytes += parcel.bytes
      }
    }
    const [first] = items
    if (first === undefined) return
    this.#bytesPerMessage = bytes / items.length
    try {
      const entries = items.map(({ entry }) => entry)
      const marker = await this.#desk.publish(first.delivery.queue, messages, entries)
      tally.moved += items.length
      tally.delayed += messages.filter(({ delayMs }) => delayMs !== undefined).length
      await intake.settle(items.map((item) => this.#moved(item, marker)))
    } catch (error) {
      if (!isRefusal(error)) throw error
      if (items.length === 1) return refuse(first.delivery, error.message, tally)
      const half = Math.ceil(items.length / 2)
      await this.#publish(intake, items.slice(0, half), fetchedMs, tally)
      await this.#publish(intake, items.slice(half), fetchedMs, tally)
    }
  }

  /** Those still on loan to us: after a long stop of this process others may have them, and have moved them. */
  async #held(items: readonly Item[], fetchedMs: number): Promise<readonly Item[]> {
    if (this.#clock.monotonic() - fetchedMs < this.#leaseMs / 2) return items
    const isHeld = async ({ delivery }: Item): Promise<boolean> => {
      try {
        await delivery.extend(this.#leaseMs)
        return true
      } catch (error) {
        if (error instanceof LeaseLostError) return false
        throw error
      }
    }
    const held = await Promise.all(items.map(isHeld))
    return items.filter((_item, index) => held[index])
  }

  /** A message of this marker, on the books until the source has let go of it. */
  #moved({ delivery, entry, isDoubtful }: Item, marker: Marker): Moved {
    const { ledger } = this.#desk
    if (isDoubtful) ledger.owe({ marker, entry })
    return {
      delivery,
      confirm: () => {
        marker.open -= 1
      },
      lose: () => ledger.owe({ marker, entry }),
    }
  }
}

/** Whether it is about the message; nothing was published. */
function isRefusal(error: unknown): error is CeleriacError {
  return error instanceof CeleriacError && (error.code === 'PAYLOAD_TOO_LARGE' || error.code === 'PAYLOAD_INVALID')
}
