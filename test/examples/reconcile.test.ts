import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type Books, reconcile } from '../../examples/warehouse/reconcile.ts'

const lamp = 'SKU-0001'
const rug = 'SKU-0002'
const lines = [
  { sku: lamp, quantity: 2 },
  { sku: rug, quantity: 1 },
]

/** A delivered order, one that the courier would not take, and one that found its shelf empty. */
const books: Books = {
  answered: ['O-1', 'O-2', 'O-3'],
  accepted: [
    { id: 'O-1', lines },
    { id: 'O-2', lines },
    { id: 'O-3', lines: [{ sku: 'SKU-0003', quantity: 1 }] },
  ],
  picks: ['O-1', 'O-2'].flatMap((orderId) => lines.map((line) => ({ orderId, ...line }))),
  stock: [
    { sku: lamp, received: 10, left: 6 },
    { sku: rug, received: 2, left: 0 },
    { sku: 'SKU-0003', received: 0, left: 0 },
  ],
  slips: new Map([
    ['O-1', true],
    ['O-2', true],
  ]),
  deliveries: [{ key: 'O-1', lines: [...lines].reverse() }],
  deadLetters: [
    { orderId: 'O-2', queue: 'delivering', reason: 'CourierError' },
    { orderId: 'O-3', queue: 'picking', reason: 'OutOfStock' },
  ],
}

function broken(change: Partial<Books>): string[] {
  const { holds, checks } = reconcile({ ...books, ...change })
  const failing = checks.filter((check) => !check.holds).map(({ check }) => check)
  expect(holds).toBe(failing.length === 0)
  return failing
}

describe('the reconciliation', () => {
  it('holds when all books agree', () => {
    const reconciliation = reconcile(books)

    expect(reconciliation.checks.filter(({ holds }) => !holds)).toEqual([])
    expect(reconciliation).toMatchObject({
      holds: true,
      units: { taken: 6, delivered: 3, inDeadLetters: 3 },
      deliveredUnawares: 0,
    })
  })

  it('holds for an empty warehouse', () => {
    expect(
      broken({ answered: [], accepted: [], picks: [], stock: [], deliveries: [], deadLetters: [], slips: new Map() }),
    ).toEqual([])
  })

  it('counts an order that is delivered and dead-lettered, its last answer lost, as delivered once', () => {
    const deadLetters = [...books.deadLetters, { orderId: 'O-1', queue: 'delivering', reason: 'CourierError' }]

    const reconciliation = reconcile({ ...books, deadLetters })

    expect(reconciliation).toMatchObject({ holds: true, units: { inDeadLetters: 3 }, deliveredUnawares: 1 })
  })

  it('notices an order that is nowhere', () => {
    expect(broken({ deliveries: [] })).toContain('every accepted order is delivered or stands in a dead-letter queue')
    expect(broken({ deadLetters: books.deadLetters.slice(0, 1) })).toContain(
      'every accepted order is delivered or stands in a dead-letter queue',
    )
  })

  it('notices an order that was answered 202 and forgotten', () => {
    expect(broken({ answered: [...books.answered, 'O-4'] })).toEqual([
      'every order that was answered 202 is in the ledger',
    ])
  })

  it('notices a parcel delivered twice', () => {
    expect(broken({ deliveries: [...books.deliveries, ...books.deliveries] })).toContain('no order is delivered twice')
  })

  it('notices orders nobody has accepted', () => {
    const stranger = 'only accepted orders are picked, delivered or dead-lettered'

    expect(broken({ deliveries: [...books.deliveries, { key: 'O-9', lines: [] }] })).toContain(stranger)
    expect(broken({ picks: [...books.picks, { orderId: 'O-9', sku: lamp, quantity: 1 }] })).toContain(stranger)
    expect(
      broken({ deadLetters: [...books.deadLetters, { orderId: 'O-9', queue: 'packing', reason: 'TypeError' }] }),
    ).toContain(stranger)
  })

  it('notices a parcel with other goods in it', () => {
    expect(broken({ deliveries: [{ key: 'O-1', lines: [{ sku: lamp, quantity: 2 }] }] })).toContain(
      'what is delivered is what was ordered and what was taken from the shelves',
    )
  })

  it('notices goods delivered that were never taken from a shelf', () => {
    expect(broken({ picks: books.picks.slice(2) })).toContain(
      'what is delivered is what was ordered and what was taken from the shelves',
    )
  })

  it('notices stock taken for an order that found its shelf empty', () => {
    expect(broken({ picks: [...books.picks, { orderId: 'O-3', sku: lamp, quantity: 1 }] })).toContain(
      'an order that found its shelf empty took nothing',
    )
  })

  it('notices a dead letter without its goods', () => {
    expect(broken({ picks: books.picks.slice(0, 2) })).toContain('an order dead-lettered after picking has its goods')
  })

  it('notices a shelf that lost more or less than was picked, or went below zero', () => {
    const shelf = 'every shelf has lost what was picked from it, and none went below zero'
    const withLamps = (received: number, left: number) => [{ sku: lamp, received, left }, ...books.stock.slice(1)]

    expect(broken({ stock: withLamps(10, 5) })).toContain(shelf)
    expect(broken({ stock: withLamps(10, 7) })).toContain(shelf)
    expect(broken({ stock: withLamps(3, -1) })).toEqual([shelf])
    expect(broken({ stock: books.stock.slice(1) })).toContain(shelf)
  })

  it('notices units that are neither delivered nor in dead letters', () => {
    const { checks } = reconcile({ ...books, deliveries: [] })

    expect(checks.find(({ check }) => check.startsWith('units taken'))).toEqual({
      check: 'units taken = units delivered + units in dead letters: 6 = 0 + 3',
      holds: false,
      against: ['difference of 3'],
    })
  })

  it('notices a packing slip that is missing or torn', () => {
    const slip = 'every delivered order has a packing slip with the right checksum'

    expect(broken({ slips: new Map() })).toEqual([slip])
    expect(broken({ slips: new Map([['O-1', false]]) })).toEqual([slip])
  })

  it('names a few cases and counts the others', () => {
    const answered = Array.from({ length: 12 }, (_, index) => `X-${index}`)

    const [first] = reconcile({ ...books, answered }).checks

    expect(first?.against).toEqual(['X-0', 'X-1', 'X-2', 'X-3', 'X-4', 'and 7 more'])
  })

  it('breaks whichever single entry is lost from one of the books', () => {
    const books_ = ['accepted', 'picks', 'stock', 'deliveries', 'deadLetters'] as const
    const entries = books_.flatMap((book) => books[book].map((_, index) => ({ book, index })))
    // A shelf nobody took from is no evidence of anything.
    const telling = entries.filter(({ book, index }) => !(book === 'stock' && index === 2))

    fc.assert(
      fc.property(fc.constantFrom(...telling), ({ book, index }) => {
        expect(broken({ [book]: books[book].toSpliced(index, 1) })).not.toEqual([])
      }),
    )
  })
})
