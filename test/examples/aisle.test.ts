import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import Database from 'libsql'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AisleBusy, type AisleOptions, Aisles, OutOfStock } from '../../examples/warehouse/aisle.ts'
import type { Order } from '../../examples/warehouse/order.ts'
import type { Sku } from '../../examples/warehouse/orders/skus.ts'

const shelf = (sku: string, aisle: string, stock: number): Sku => ({
  sku,
  aisle,
  stock,
  name: 'Oak lamp',
  weightG: 100,
  sizeMm: [100, 100, 100],
})
const lamp = 'SKU-0001'
const rug = 'SKU-0002'
const sold = 'SKU-0003'

let folder: string
let opened: Aisles[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'aisles-'))
  opened = []
})
afterEach(() => {
  for (const aisles of opened) aisles.close()
  rmSync(folder, { recursive: true })
})

function openAisles(options: AisleOptions = {}): Aisles {
  const aisles = new Aisles(join(folder, 'aisles.db'), { walkMs: 0, patienceMs: 0, ...options })
  opened.push(aisles)
  aisles.fill([shelf(lamp, 'A', 5), shelf(rug, 'B', 3), shelf(sold, 'C', 0)])
  return aisles
}

function orderOf(id: string, ...lines: [sku: string, quantity: number][]): Order {
  return { id, customer: 'Ada', city: 'Lund', lines: lines.map(([sku, quantity]) => ({ sku, quantity })) }
}

function left(aisles: Aisles): Record<string, number> {
  return Object.fromEntries(aisles.stock().map((stock) => [stock.sku, stock.left]))
}

/** As a picker does that is killed in aisle A. */
function leaveLock(untilMs: number): void {
  const db = new Database(join(folder, 'aisles.db'))
  db.prepare("UPDATE aisles SET picker = 'dead', locked_until_ms = ? WHERE aisle = 'A'").run(untilMs)
  db.close()
}

describe('the aisles', () => {
  it('take the goods of an order and write down that it has them', async () => {
    const aisles = openAisles()

    const route = await aisles.take(orderOf('O-1', [lamp, 2], [rug, 1]), 'run 1')

    expect(route).toEqual(['A', 'B'])
    expect(left(aisles)).toEqual({ [lamp]: 3, [rug]: 2, [sold]: 0 })
    expect(aisles.picks()).toEqual([
      { orderId: 'O-1', sku: lamp, quantity: 2 },
      { orderId: 'O-1', sku: rug, quantity: 1 },
    ])
  })

  it('take nothing again when a task runs again, in this process or another', async () => {
    const aisles = openAisles()
    const order = orderOf('O-1', [lamp, 2])

    await aisles.take(order, 'run 1')
    await aisles.take(order, 'run 2')
    await openAisles().take(order, 'run 3')

    expect(left(aisles)[lamp]).toBe(3)
    expect(aisles.picks()).toHaveLength(1)
  })

  it('take once when two runs of an order reach the shelf at the same time, its first lock having lapsed', async () => {
    const aisles = openAisles({ walkMs: 5, lockMs: -1 })
    const order = orderOf('O-1', [lamp, 2])

    await Promise.all([aisles.take(order, 'run 1'), aisles.take(order, 'run 2')])

    expect(left(aisles)[lamp]).toBe(3)
  })

  it('take all lines of an order or none', async () => {
    const aisles = openAisles()

    await expect(aisles.take(orderOf('O-1', [lamp, 1], [sold, 1]), 'run 1')).rejects.toThrow(OutOfStock)

    expect(left(aisles)).toEqual({ [lamp]: 5, [rug]: 3, [sold]: 0 })
    expect(aisles.picks()).toEqual([])
  })

  it('take the goods of several orders on one trip, whatever becomes of one of them', async () => {
    const aisles = openAisles()
    await aisles.take(orderOf('O-1', [lamp, 1]), 'run 1')

    const taken = await aisles.takeAll(
      [orderOf('O-1', [lamp, 1]), orderOf('O-2', [lamp, 2], [rug, 1]), orderOf('O-3', [rug, 1], [sold, 1])],
      'run 2',
    )

    expect(taken.map((aislesOrError) => aislesOrError instanceof Error)).toEqual([false, false, true])
    expect(taken[2]).toBeInstanceOf(OutOfStock)
    expect(left(aisles)).toEqual({ [lamp]: 2, [rug]: 2, [sold]: 0 })
    expect(aisles.trips()).toEqual({ trips: 2, orders: 3 })
  })

  it('never go below zero, however many want the last pieces', async () => {
    const aisles = openAisles({ walkMs: 1, lockMs: -1 })
    const orders = Array.from({ length: 8 }, (_, index) => orderOf(`O-${index}`, [lamp, 2]))

    const outcomes = await Promise.allSettled(orders.map((order) => aisles.take(order, order.id)))

    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(2)
    expect(left(aisles)[lamp]).toBe(1)
  })

  it('let one picker in at a time, and leave no lock behind', async () => {
    const aisles = openAisles({ walkMs: 5 })

    const first = aisles.take(orderOf('O-1', [lamp, 1]), 'run 1')
    await expect(aisles.take(orderOf('O-2', [rug, 1], [lamp, 1]), 'run 2')).rejects.toThrow(AisleBusy)
    await aisles.take(orderOf('O-3', [rug, 1]), 'run 3')
    await first
    await aisles.take(orderOf('O-2', [rug, 1], [lamp, 1]), 'run 4')

    expect(left(aisles)).toEqual({ [lamp]: 3, [rug]: 1, [sold]: 0 })
  })

  it('let the next picker in who waits a moment', async () => {
    const aisles = openAisles({ walkMs: 5, patienceMs: 5_000 })

    await Promise.all(['O-1', 'O-2', 'O-3'].map((id) => aisles.take(orderOf(id, [lamp, 1]), id)))

    expect(left(aisles)[lamp]).toBe(2)
  })

  it('leave no lock behind a picker who finds the shelf empty', async () => {
    const aisles = openAisles()

    await expect(aisles.take(orderOf('O-1', [sold, 1]), 'run 1')).rejects.toThrow(OutOfStock)

    await expect(aisles.take(orderOf('O-2', [sold, 1]), 'run 2')).rejects.toThrow(OutOfStock)
  })

  it('are open again once the lock of a dead picker has lapsed', async () => {
    const aisles = openAisles()
    const order = orderOf('O-1', [lamp, 1])

    leaveLock(Date.now() + 60_000)
    await expect(aisles.take(order, 'run 1')).rejects.toThrow(AisleBusy)
    leaveLock(Date.now() - 1)
    await aisles.take(order, 'run 2')

    expect(left(aisles)[lamp]).toBe(4)
  })

  it('are busy, which is worth another try, while somebody else writes to the database', async () => {
    const aisles = openAisles()
    const other = new Database(join(folder, 'aisles.db'))
    other.exec('BEGIN IMMEDIATE')

    await expect(aisles.take(orderOf('O-1', [lamp, 1]), 'run 1')).rejects.toThrow(AisleBusy)

    other.exec('ROLLBACK')
    other.close()
    await aisles.take(orderOf('O-1', [lamp, 1]), 'run 2')
    expect(left(aisles)[lamp]).toBe(4)
  })

  it('tell what lies on a shelf after it was filled, and know no shelf they do not have', () => {
    const aisles = openAisles()

    expect(aisles.restock(sold, 10)).toBe(10)
    expect(aisles.restock('SKU-9999', 10)).toBeUndefined()
    expect(aisles.stock().find(({ sku }) => sku === sold)).toEqual({ sku: sold, received: 10, left: 10 })
  })
})
