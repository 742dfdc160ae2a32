import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Ledger } from '../../examples/warehouse/ledger.ts'
import { Logbook, LogbookReader } from '../../examples/warehouse/logbook.ts'
import type { Order } from '../../examples/warehouse/order.ts'
import { pack } from '../../examples/warehouse/packing.ts'
import { readSlips, writeSlip } from '../../examples/warehouse/slip.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'records-'))
})
afterEach(() => rmSync(folder, { recursive: true }))

const orderOf = (id: string): Order => ({
  id,
  customer: 'Ada',
  city: 'Lund',
  lines: [{ sku: 'SKU-0001', quantity: 2 }],
})
const lamp = { sku: 'SKU-0001', sizeMm: [100, 80, 60], weightG: 300 } as const

describe('the packing slip', () => {
  it('is the same file when it is written again', async () => {
    const first = await writeSlip(folder, orderOf('O-1'), pack([lamp, lamp], 'O-1'))
    const text = readFileSync(join(folder, 'O-1.txt'), 'utf8')

    const second = await writeSlip(folder, orderOf('O-1'), pack([lamp, lamp], 'O-1'))

    expect(second).toEqual(first)
    expect(readFileSync(join(folder, 'O-1.txt'), 'utf8')).toBe(text)
    expect(await readdir(folder)).toEqual(['O-1.txt'])
  })

  it('carries a checksum that tells a whole slip from a damaged one', async () => {
    for (const id of ['O-1', 'O-2', 'O-3']) await writeSlip(folder, orderOf(id), pack([lamp], id))
    const whole = readFileSync(join(folder, 'O-2.txt'), 'utf8')
    writeFileSync(join(folder, 'O-2.txt'), whole.replace('300 g', '301 g'))
    writeFileSync(join(folder, 'O-3.txt'), whole.slice(0, 40))

    expect(await readSlips(folder)).toEqual(
      new Map([
        ['O-1', true],
        ['O-2', false],
        ['O-3', false],
      ]),
    )
  })
})

describe('the logbook', () => {
  const task = { name: 'pick', retries: 0 }

  it('has the beginning and the end of each run, and how it ended', async () => {
    const file = join(folder, 'runs.jsonl')
    const logbook = new Logbook(file)
    const reader = new LogbookReader(file)

    expect(reader.read()).toEqual([])
    await expect(logbook.run(task, 'O-1', () => Promise.reject(new TypeError('no')))).rejects.toThrow('no')
    expect(reader.read()).toMatchObject([
      { what: 'began', task: 'pick', orderId: 'O-1', retries: 0 },
      { what: 'ended', task: 'pick', orderId: 'O-1', error: 'TypeError' },
    ])
    expect(await logbook.run(task, 'O-1', async () => 7)).toBe(7)
    expect(reader.read()).toMatchObject([{ what: 'began' }, { what: 'ended', error: null }])
    reader.close()
  })

  it('names each run differently', async () => {
    const logbook = new Logbook(join(folder, 'runs.jsonl'))

    const names = await Promise.all([1, 2].map(() => logbook.run(task, 'O-1', async (run) => run)))

    expect(new Set(names).size).toBe(2)
  })

  it('is read up to the last whole line', () => {
    const file = join(folder, 'runs.jsonl')
    const reader = new LogbookReader(file)

    appendFileSync(file, '{"what":"began","run":"r1"}\n{"what":"be')
    expect(reader.read()).toEqual([{ what: 'began', run: 'r1' }])
    appendFileSync(file, 'gan","run":"r2"}\n')
    expect(reader.read()).toEqual([{ what: 'began', run: 'r2' }])
    reader.close()
  })
})

it('the ledger keeps what was accepted first', () => {
  const ledger = new Ledger(join(folder, 'ledger.db'))

  ledger.add({ order: orderOf('O-1'), taskIds: ['a', 'b', 'c'] })
  ledger.add({ order: orderOf('O-1'), taskIds: ['d', 'e', 'f'] })

  expect(ledger.find('O-1')).toEqual({ order: orderOf('O-1'), taskIds: ['a', 'b', 'c'] })
  expect(ledger.find('O-2')).toBeUndefined()
  expect(ledger.all()).toHaveLength(1)
  ledger.close()
})
