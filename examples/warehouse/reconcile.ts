/**
 * The reconciliation: do the books of receiver, aisles, packing table, courier and dead-letter queues agree?
 * Pure. Every book was written by somebody else, so a fault in one of them shows against the others.
 */
import type { OrderLine } from './order.ts'

/** What each party has on record once the warehouse is quiet. */
export interface Books {
  /** Ids of the orders whose senders were answered 202. */
  readonly answered: readonly string[]
  /** The receiver's ledger. */
  readonly accepted: readonly { readonly id: string; readonly lines: readonly OrderLine[] }[]
  /** The aisles: goods taken for an order, and the shelves. */
  readonly picks: readonly { readonly orderId: string; readonly sku: string; readonly quantity: number }[]
  readonly stock: readonly { readonly sku: string; readonly received: number; readonly left: number }[]
  /** Orders with a packing slip, and whether its checksum is right. */
  readonly slips: ReadonlyMap<string, boolean>
  /** The courier's book, a line per parcel taken over. */
  readonly deliveries: readonly { readonly key: string; readonly lines: readonly OrderLine[] }[]
  readonly deadLetters: readonly { readonly orderId: string; readonly queue: string; readonly reason: string }[]
}

export interface Check {
  readonly check: string
  readonly holds: boolean
  /** The first few cases against it. */
  readonly against: readonly string[]
}

export interface Reconciliation {
  readonly holds: boolean
  readonly checks: readonly Check[]
  /** Units that left the shelves, and where they are. `taken` is the sum of the others when all is well. */
  readonly units: { readonly taken: number; readonly delivered: number; readonly inDeadLetters: number }
  /** Delivered orders whose last attempt lost the courier's answer, so that they are among the dead letters as well. */
  readonly deliveredUnawares: number
}

/** More cases than this say nothing new. */
const shown = 5

export function reconcile(books: Books): Reconciliation {
  const accepted = new Map(books.accepted.map(({ id, lines }) => [id, lines]))
  const parcels = groupBy(books.deliveries, ({ key }) => key)
  const dead = new Set(books.deadLetters.map(({ orderId }) => orderId))
  const picked = groupBy(books.picks, ({ orderId }) => orderId)

  /** A dead letter whose parcel is on its way holds no goods: they are with the courier. */
  const isStuck = (id: string): boolean => dead.has(id) && !parcels.has(id)
  const takenOf = (id: string): string => contents(picked.get(id) ?? [])

  const taken = sum(books.stock.map(({ received, left }) => received - left))
  const delivered = sum(books.deliveries.flatMap(({ lines }) => lines.map(({ quantity }) => quantity)))
  const inDeadLetters = sum(books.picks.filter(({ orderId }) => isStuck(orderId)).map(({ quantity }) => quantity))

  const checks = [
    check('every order that was answered 202 is in the ledger', missing(books.answered, accepted)),
    check(
      'every accepted order is delivered or stands in a dead-letter queue',
      [...accepted.keys()].filter((id) => !parcels.has(id) && !dead.has(id)),
    ),
    check(
      'no order is delivered twice',
      [...parcels].filter(([, same]) => same.length > 1).map(([id, same]) => `${id} ${same.length} times`),
    ),
    check(
      'only accepted orders are picked, delivered or dead-lettered',
      missing([...picked.keys(), ...parcels.keys(), ...dead], accepted),
    ),
    check(
      'what is delivered is what was ordered and what was taken from the shelves',
      books.deliveries
        .filter(({ key, lines }) => {
          const content = contents(lines)
          return content !== contents(accepted.get(key) ?? []) || content !== takenOf(key)
        })
        .map(({ key }) => key),
    ),
    check(
      'an order that found its shelf empty took nothing',
      books.deadLetters.filter(({ orderId, reason }) => reason === 'OutOfStock' && picked.has(orderId)).map(named),
    ),
    check(
      'an order dead-lettered after picking has its goods',
      books.deadLetters.filter(({ orderId, queue }) => queue !== 'picking' && !picked.has(orderId)).map(named),
    ),
    check('every shelf has lost what was picked from it, and none went below zero', wrongShelves(books)),
    check(
      `units taken = units delivered + units in dead letters: ${taken} = ${delivered} + ${inDeadLetters}`,
      taken === delivered + inDeadLetters ? [] : [`difference of ${taken - delivered - inDeadLetters}`],
    ),
    check(
      'every delivered order has a packing slip with the right checksum',
      [...parcels.keys()].filter((id) => books.slips.get(id) !== true),
    ),
  ]

  return {
    holds: checks.every(({ holds }) => holds),
    checks,
    units: { taken, delivered, inDeadLetters },
    deliveredUnawares: [...dead].filter((id) => parcels.has(id)).length,
  }
}

function check(name: string, against: readonly string[]): Check {
  const more = against.length - shown
  return {
    check: name,
    holds: against.length === 0,
    against: more > 0 ? [...against.slice(0, shown), `and ${more} more`] : against,
  }
}

function wrongShelves({ stock, picks }: Books): string[] {
  const pickedOf = groupBy(picks, ({ sku }) => sku)
  const wrong = stock.filter(({ sku, received, left }) => {
    const pickedUnits = sum((pickedOf.get(sku) ?? []).map(({ quantity }) => quantity))
    return left < 0 || received - left !== pickedUnits
  })
  const shelves = new Set(stock.map(({ sku }) => sku))
  return [...wrong.map(({ sku }) => sku), ...[...pickedOf.keys()].filter((sku) => !shelves.has(sku))]
}

function missing(ids: readonly string[], known: ReadonlyMap<string, unknown>): string[] {
  return [...new Set(ids)].filter((id) => !known.has(id))
}

/** Goods as comparable text, whatever their order. */
function contents(lines: readonly { readonly sku: string; readonly quantity: number }[]): string {
  return lines
    .map(({ sku, quantity }) => `${sku}x${quantity}`)
    .sort()
    .join(';')
}

function groupBy<T>(list: readonly T[], key: (item: T) => string): Map<string, T[]> {
  const groups = new Map<string, T[]>()
  for (const item of list) {
    const group = groups.get(key(item))
    if (group === undefined) groups.set(key(item), [item])
    else group.push(item)
  }
  return groups
}

function named({ orderId, queue }: { orderId: string; queue: string }): string {
  return `${orderId} in ${queue}`
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
