/**
 * Keeps the markers on the target's queue `celeriac.migration`, and sees to it that only one migration writes to a
 * target: whoever consumes that queue. A run that was killed goes on consuming until its lease lapses; by then what it
 * held on the source is on its way back too.
 */
import type { Broker, Consumer, OutgoingMessage } from '../broker/broker.ts'
import type { Clock } from '../clock.ts'
import { sleep } from '../clock.ts'
import { CeleriacError, LeaseLostError } from '../errors.ts'
import { type Entry, Ledger, type Marker, markerQueue, newMarker } from './migration-ledger.ts'

export interface DeskParts {
  readonly source: Broker
  readonly target: Broker
  readonly sourceName: string
  readonly clock: Clock
  readonly leaseMs: number
}

const pollMs = 100
/** Lapsed leases are taken back by whoever looks next: so much later at most, in ms. */
export const lapseGraceMs = 5_000
/** Markers fetched at once; there are seldom more than two. */
const fetchMax = 100
/** A marker is fetched soon after it was published, in ms. If it does not come, it is dropped with a later one. */
const ownMarkerWaitMs = 2_000

export class MarkerDesk {
  readonly ledger = new Ledger()
  readonly #parts: DeskParts
  #consumer: Consumer | undefined

  constructor(parts: DeskParts) {
    this.#parts = parts
  }

  /**
   * Takes the target for this migration and reads the markers of those before. `onWait` is told if a lease must lapse first.
   * @throws CeleriacError `MIGRATION_BUSY`; `CONFIG_INVALID` when source and target are the same
   */
  async open(onWait: () => void): Promise<void> {
    const { target, clock, leaseMs } = this.#parts
    const deadlineMs = clock.monotonic() + leaseMs + lapseGraceMs
    const isInTime = async (): Promise<boolean> => {
      if (clock.monotonic() > deadlineMs) return false
      onWait()
      await sleep(clock, pollMs)
      return true
    }
    while ((await this.#consumers()) > 0) if (!(await isInTime())) throw busy()
    const isSame = await this.#leadsBack()
    this.#consumer = await target.consume([markerQueue], { leaseMs, name: 'celeriac migrate' })
    if ((await this.#consumers()) > 1) {
      await this.close()
      throw busy()
    }
    do await this.collect(pollMs)
    while (!(await this.#hasAll()) && (await isInTime()))
    await this.clear()
    if (!isSame) return
    await this.close()
    throw new CeleriacError('CONFIG_INVALID', 'source and target are the same broker: there is nothing to move')
  }

  /** Publishes a batch with its marker, both or neither. */
  async publish(queue: string, messages: readonly OutgoingMessage[], entries: readonly Entry[]): Promise<Marker> {
    const { marker, message } = newMarker(this.#parts.sourceName, queue, entries)
    await this.#parts.target.publish([...messages, message], { atomic: true })
    this.ledger.enter(marker)
    return marker
  }

  /** Fetches the markers that have come since. */
  async collect(waitMs: number): Promise<void> {
    for (;;) {
      const deliveries = (await this.#consumer?.fetch(fetchMax, { waitMs })) ?? []
      for (const delivery of deliveries) this.ledger.receive(delivery)
      if (deliveries.length < fetchMax) return
    }
  }

  /** Takes the markers off the target that have served. */
  async clear(): Promise<void> {
    const { clock } = this.#parts
    const deadlineMs = clock.monotonic() + ownMarkerWaitMs
    for (;;) {
      const missing = this.ledger.settled.some(({ deliveries }) => deliveries.length === 0)
      if (missing) await this.collect(pollMs)
      await Promise.all(this.ledger.settled.map((marker) => this.#drop(marker)))
      if (this.ledger.settled.length === 0 || clock.monotonic() > deadlineMs) return
    }
  }

  /** Leaves the target to others. What is not settled stays there for the next run. */
  async close(): Promise<void> {
    await this.clear()
    await this.#consumer?.close()
    this.#consumer = undefined
  }

  async #drop(marker: Marker): Promise<void> {
    const deliveries = marker.deliveries.splice(0)
    if (deliveries.length === 0) return // It has not come yet.
    try {
      await Promise.all(deliveries.map((delivery) => delivery.ack()))
      this.ledger.forget(marker)
    } catch (error) {
      // Otherwise the lease was lost, and it will be delivered again.
      if (!(error instanceof LeaseLostError)) throw error
    }
  }

  async #consumers(): Promise<number> {
    const queues = await this.#parts.target.queues()
    return queues.find(({ queue }) => queue === markerQueue)?.consumers ?? 0
  }

  /** Whether every marker on the target is in our hands. */
  async #hasAll(): Promise<boolean> {
    const { ready, inFlight } = await this.#parts.target.depth(markerQueue)
    return ready === 0 && inFlight <= this.ledger.held
  }

  /** Whether what is sent to the target shows up at the source: URLs need not be alike to mean one broker. */
  async #leadsBack(): Promise<boolean> {
    const { source, target, sourceName } = this.#parts
    const { marker, message } = newMarker(sourceName, '', [])
    await target.publish([message])
    this.ledger.enter(marker)
    const { ready } = await source.depth(markerQueue)
    if (ready === 0) return false
    const peeked = await source.peek(markerQueue, ready)
    return peeked.some(({ headers }) => headers.id === marker.id)
  }
}

function busy(): CeleriacError {
  return new CeleriacError(
    'MIGRATION_BUSY',
    'another migration to this target is under way; wait for its end, or end it, then run this one again',
  )
}
