import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { generate } from '../../examples/warehouse/orders/generate.ts'
import { orderHeader, type ReadLine, readOrders } from '../../examples/warehouse/orders/read.ts'
import { readSkus, skuHeader } from '../../examples/warehouse/orders/skus.ts'

const shipped = join(import.meta.dirname, '../../examples/warehouse/orders')

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'orders-'))
})
afterEach(() => rm(folder, { recursive: true }))

async function readAll(content: string, limit?: number): Promise<ReadLine[]> {
  const file = join(folder, 'orders.csv')
  await writeFile(file, content)
  return collect(readOrders(file, limit))
}

async function collect<T>(from: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const one of from) all.push(one)
  return all
}

describe('the reader of orders', () => {
  it('gives orders with the number of their line', async () => {
    const lines = await readAll(`${orderHeader}\n\nO-1,Ada,Lund,SKU-0001x2;SKU-0002x1\n`)

    expect(lines).toEqual([
      {
        line: 3,
        order: {
          id: 'O-1',
          customer: 'Ada',
          city: 'Lund',
          lines: [
            { sku: 'SKU-0001', quantity: 2 },
            { sku: 'SKU-0002', quantity: 1 },
          ],
        },
      },
    ])
  })

  it.each([
    ['O-1,Ada', 'line has 2 of 4 columns'],
    ['O-1,Ada,Lund,SKU-0001x1,more', 'line has 5 of 4 columns'],
    ['O-1,Ada,Lund,', 'line has no items'],
    ['O-1,Ada,Lund,SKU-0001', "item is not written as 'SKU-0042x2'"],
    ['O-1,Ada,Lund,SKU-0001x1;two lamps', "item is not written as 'SKU-0042x2'"],
  ])('rejects %j with the reason, and reads on', async (text, reason) => {
    const lines = await readAll(`${orderHeader}\n${text}\nO-2,Bo,Lyon,SKU-0001x1\n`)

    expect(lines[0]).toEqual({ line: 2, reason, text })
    expect(lines[1]).toMatchObject({ line: 3, order: { id: 'O-2' } })
  })

  it('leaves it to the receiver whether a quantity is possible', async () => {
    const lines = await readAll(`${orderHeader}\nO-1,Ada,Lund,SKU-0001x-1;SKU-0002x1.5\n`)

    expect(lines[0]).toMatchObject({ order: { lines: [{ quantity: -1 }, { quantity: 1.5 }] } })
  })

  it('stops after the limit, counting rejects and not empty lines', async () => {
    const lines = await readAll(`${orderHeader}\nbroken\n\nO-2,Bo,Lyon,SKU-0001x1\nO-3,Bo,Lyon,SKU-0001x1\n`, 2)

    expect(lines.map(({ line }) => line)).toEqual([2, 4])
  })

  it('reads lines that end as on Windows', async () => {
    const lines = await readAll(`${orderHeader}\r\nO-1,Ada,Lund,SKU-0001x1\r\n`)

    expect(lines).toMatchObject([{ order: { lines: [{ quantity: 1 }] } }])
  })

  it('refuses a file with another header', async () => {
    await expect(readAll('id;name\n')).rejects.toThrow("line 1 must be 'order,customer,city,items'")
  })
})

describe('the catalogue', () => {
  it('names the line that cannot be read', async () => {
    const file = join(folder, 'skus.csv')
    await writeFile(file, `${skuHeader}\nSKU-0001,Oak lamp,A,many,1,1,1,1\n`)

    await expect(readSkus(file)).rejects.toThrow('line 2')
  })
})

describe('the generator', () => {
  it('makes the shipped files again, byte by byte', async () => {
    const { orders, skus } = generate(6_000, 1)

    expect(`${orders.join('\n')}\n` === (await readFile(join(shipped, 'orders.csv'), 'utf8'))).toBe(true)
    expect(`${skus.join('\n')}\n` === (await readFile(join(shipped, 'skus.csv'), 'utf8'))).toBe(true)
  })

  it('makes other orders from another seed', () => {
    expect(generate(50, 1).orders).not.toEqual(generate(50, 2).orders)
  })

  it('makes demand that a few SKUs dominate, and some lines that are broken', async () => {
    const lines = await collect(readOrders(join(shipped, 'orders.csv')))
    const demand = new Map<string, number>()
    for (const line of lines) {
      if ('reason' in line) continue
      for (const { sku } of line.order.lines) demand.set(sku, (demand.get(sku) ?? 0) + 1)
    }

    expect(lines).toHaveLength(6_000)
    expect(demand.get('SKU-0001')).toBeGreaterThan(10 * (demand.get('SKU-0100') ?? 0))
    expect(lines.filter((line) => 'reason' in line).length).toBeGreaterThan(20)
  })
})
