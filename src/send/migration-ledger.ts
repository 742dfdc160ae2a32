/**
 * The books of a migration: which messages are on the target already, although the source may still have them. They
 * come from markers: messages on a queue of the target, each published together with a batch in one atomic step. A
 * marker is on the target, then, exactly if its batch is; whoever finds one knows what was moved.
 *
 * A message of a marker that comes back from the source has been delivered once more than when it was moved, since the
 * consumer that held it was lost. That tells it from a twin, alike in every byte, that was never moved. Not every source
 * counts so well (`Entry`).
 */
import { randomUUID } from 'node:crypto'
import type { Delivery, OutgoingMessage } from '../broker/broker.ts'
import { CeleriacError } from '../errors.ts'

/** Where markers lie, on every target. Nobody but migrations consumes it. */
export const markerQueue = 'celeriac.migration'

/**
 * A message of a batch: its fingerprint, and how often it had been delivered when it was moved. 0 = whatever has this
 * fingerprint is this message, as often as it comes: for sources that may double a message when a consumer is lost.
 */
export type Entry = readonly [fingerprint: string, deliveryCount: number]

interface MarkerBody {
  readonly version: number
  /** Where the batch came from, as the migration names it. */
  readonly source: string
  readonly queue: string
  readonly entries: readonly Entry[]
}

/** To change with the meaning of `MarkerBody`. */
const version = 1

export interface Marker {
  readonly id: string
  readonly source: string
  readonly queue: string
  /** Messages of the batch that the source may still have. */
  open: number
  /** Whether messages of it may come twice, so that it is in force to the end of its queue. */
  isKept: boolean
  /** Our loans of the marker, once it was fetched. */
  readonly deliveries: Delivery[]
}

/** A message that the source may deliver again, and that is not to be moved again. */
export interface Debt {
  readonly marker: Marker
  readonly entry: Entry
}

export class Ledger {
  readonly #markers = new Map<string, Marker>()
  readonly #debts = new Map<string, Debt[]>()

  /** The batch of this marker is on the target. */
  enter(marker: Marker): void {
    this.#markers.set(marker.id, marker)
  }

  /**
   * Takes in a marker that was fetched. One that is not in the books is of a run that was killed: all of its messages
   * may come back. @throws CeleriacError `MESSAGE_INVALID`, `UNSUPPORTED`
   */
  receive(delivery: Delivery): void {
    const known = this.#markers.get(String(delivery.message.headers.id))
    if (known !== undefined) {
      known.deliveries.push(delivery)
      return
    }
    const { id, source, queue, entries } = readMarker(delivery)
    const marker: Marker = { id, source, queue, open: entries.length, isKept: false, deliveries: [delivery] }
    this.enter(marker)
    for (const entry of entries) this.owe({ marker, entry })
  }

  /** The source will deliver this message again, or may. */
  owe(debt: Debt): void {
    const [fingerprint, deliveryCount] = debt.entry
    const debts = this.#debts.get(fingerprint)
    const isAnyDelivery = deliveryCount === 0
    if (isAnyDelivery) debt.marker.isKept = true
    if (debts === undefined) this.#debts.set(fingerprint, [debt])
    else if (!isAnyDelivery || !debts.some(({ entry }) => entry[1] === 0)) debts.push(debt)
  }

  /** Strikes out the debt that this delivery is for. If there was one, the message is on the target already. */
  strike([fingerprint, deliveryCount]: Entry): Debt | undefined {
    const debts = this.#debts.get(fingerprint)
    if (debts === undefined) return undefined
    let struck: Debt | undefined
    for (const debt of debts) {
      const count = debt.entry[1]
      // Of twins the one that was delivered most often: the others may come back with smaller counts.
      if (count < deliveryCount && count >= (struck?.entry[1] ?? 0)) struck = debt
    }
    if (struck !== undefined && struck.entry[1] > 0) this.#keep(fingerprint, (debt) => debt !== struck)
    return struck
  }

  /** Whether messages of this queue may come back. */
  owes(source: string, queue: string): boolean {
    return this.#of(source, queue).some((marker) => !isSettled(marker))
  }

  /** Nothing of this queue can come back any more. */
  close(source: string, queue: string): void {
    for (const marker of this.#of(source, queue)) {
      marker.open = 0
      marker.isKept = false
    }
    for (const fingerprint of this.#debts.keys()) this.#keep(fingerprint, ({ marker }) => !isSettled(marker))
  }

  /** Markers whose messages have all left the source: they are to go. */
  get settled(): Marker[] {
    return [...this.#markers.values()].filter(isSettled)
  }

  /** Loans of markers to us. */
  get held(): number {
    return [...this.#markers.values()].reduce((sum, { deliveries }) => sum + deliveries.length, 0)
  }

  /** The marker is off the target. */
  forget({ id }: Marker): void {
    this.#markers.delete(id)
  }

  #of(source: string, queue: string): Marker[] {
    return [...this.#markers.values()].filter((marker) => marker.source === source && marker.queue === queue)
  }

  #keep(fingerprint: string, isKept: (debt: Debt) => boolean): void {
    const left = this.#debts.get(fingerprint)?.filter(isKept) ?? []
    if (left.length === 0) this.#debts.delete(fingerprint)
    else this.#debts.set(fingerprint, left)
  }
}

/** A marker for a batch that is about to be published, and the message that stands for it on the target. */
export function newMarker(
  source: string,
  queue: string,
  entries: readonly Entry[],
): { marker: Marker; message: OutgoingMessage } {
  const id = randomUUID()
  const body: MarkerBody = { version, source, queue, entries }
  const message: OutgoingMessage = {
    queue: markerQueue,
    headers: { task: markerQueue, id },
    properties: { contentType: 'application/json', contentEncoding: 'utf-8', correlationId: id },
    body: JSON.stringify(body),
  }
  return { marker: { id, source, queue, open: entries.length, isKept: false, deliveries: [] }, message }
}

function isSettled({ open, isKept }: Marker): boolean {
  return open <= 0 && !isKept
}

function readMarker({ message: { headers, body } }: Delivery): MarkerBody & { id: string } {
  let read: Partial<MarkerBody>
  try {
    read = JSON.parse(typeof body === 'string' ? body : Buffer.from(body).toString('utf8')) as Partial<MarkerBody>
  } catch (cause) {
    const text = `a message on the target's queue '${markerQueue}' is none of a migration; see who sends there, and purge it`
    throw new CeleriacError('MESSAGE_INVALID', text, { cause })
  }
  if (read.version === version) return { ...(read as MarkerBody), id: String(headers.id) }
  throw new CeleriacError(
    'UNSUPPORTED',
    `a migration was begun by another release of celeriac, whose notes on '${markerQueue}' have version ` +
      `${read.version} where this one knows ${version}: finish it with that release`,
  )
}
