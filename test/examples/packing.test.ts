import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  type Box,
  boxTypes,
  type Goods,
  isInside,
  overlap,
  pack,
  TooLarge,
  type Triple,
} from '../../examples/warehouse/packing.ts'

const side = fc.integer({ min: 20, max: 340 })
const goods: fc.Arbitrary<Goods> = fc.record({
  sku: fc.constantFrom('SKU-0001', 'SKU-0002', 'SKU-0003'),
  sizeMm: fc.tuple(side, side, side),
  weightG: fc.integer({ min: 1, max: 9_000 }),
})

function pieces(boxes: readonly Box[]): Goods[] {
  return boxes.flatMap(({ content }) => content.map((placed) => placed.goods))
}

describe('packing', () => {
  it('puts every piece into a box, inside its walls, through no other piece, and no box too heavy', () => {
    fc.assert(
      fc.property(fc.array(goods, { minLength: 1, maxLength: 14 }), fc.string(), (list, seed) => {
        const boxes = pack(list, seed)

        expect(new Set(pieces(boxes))).toEqual(new Set(list))
        expect(pieces(boxes)).toHaveLength(list.length)
        for (const { type, content, weightG } of boxes) {
          expect(weightG).toBe(content.reduce((sum, placed) => sum + placed.goods.weightG, 0))
          expect(weightG).toBeLessThanOrEqual(type.maxWeightG)
          for (const [index, placed] of content.entries()) {
            expect([...placed.sizeMm].sort()).toEqual([...placed.goods.sizeMm].sort())
            expect(isInside(placed, type)).toBe(true)
            expect(content.slice(index + 1).some((other) => overlap(placed, other))).toBe(false)
          }
        }
      }),
      { numRuns: 60 },
    )
  })

  it('packs the same goods the same way each time', () => {
    const list: Goods[] = [1, 2, 3, 4].map((n) => ({ sku: `SKU-000${n}`, sizeMm: [100 * n, 90, 80], weightG: 500 }))

    expect(pack(list, 'O-1')).toEqual(pack(list, 'O-1'))
  })

  it('takes the smallest box that will do', () => {
    const piece = (sizeMm: Triple): Goods => ({ sku: 'SKU-0001', sizeMm, weightG: 100 })

    for (const { name, sizeMm } of boxTypes) expect(pack([piece(sizeMm)], 'x')).toMatchObject([{ type: { name } }])
  })

  it('opens another box rather than make one too heavy', () => {
    const lead: Goods = { sku: 'SKU-0001', sizeMm: [50, 50, 50], weightG: 16_000 }

    expect(pack([lead, lead], 'x')).toHaveLength(2)
  })

  it('says which piece fits into no box', () => {
    const mast: Goods = { sku: 'SKU-0007', sizeMm: [900, 20, 20], weightG: 100 }

    expect(() => pack([mast], 'x')).toThrow(new TooLarge('SKU-0007 fits into no box'))
  })
})
