/**
 * Packs goods into boxes: first fit decreasing in three dimensions. Goods go in by falling volume, each into the first
 * open box with room, at a corner left by what is already there, in whichever of its six rotations fits. That is
 * tried in several orders, and the one that needs the least cardboard is kept.
 *
 * Pure: the same goods with the same seed give the same boxes, so a packing that is run twice is the same packing.
 */
import { seeded } from './random.ts'

/** Length, width and height in mm; or a place, as the distance from a box's corner along each of them. */
export type Triple = readonly [number, number, number]

export interface Goods {
  readonly sku: string
  readonly sizeMm: Triple
  readonly weightG: number
}

export interface BoxType {
  readonly name: string
  readonly sizeMm: Triple
  readonly maxWeightG: number
}

export interface Placed {
  readonly goods: Goods
  readonly at: Triple
  /** The size as it was turned. */
  readonly sizeMm: Triple
}

export interface Box {
  readonly type: BoxType
  readonly content: readonly Placed[]
  readonly weightG: number
}

/** From the smallest to the largest. */
export const boxTypes: readonly BoxType[] = [
  { name: 'S', sizeMm: [250, 175, 100], maxWeightG: 5_000 },
  { name: 'M', sizeMm: [350, 250, 150], maxWeightG: 10_000 },
  { name: 'L', sizeMm: [450, 350, 250], maxWeightG: 20_000 },
  { name: 'XL', sizeMm: [600, 400, 350], maxWeightG: 30_000 },
]

/** The goods fit into no box there is. */
export class TooLarge extends Error {
  override readonly name = 'TooLarge'
}

/** Orders tried for one packing, shared out so that a large one does not take minutes. */
const placements = 8_000

/** @throws TooLarge a single piece fits into no box */
export function pack(goods: readonly Goods[], seed: string): Box[] {
  const random = seeded('packing', seed)
  const byVolume = [...goods].sort((a, b) => volume(b.sizeMm) - volume(a.sizeMm))
  let best = fillBoxes(byVolume)
  const tries = Math.ceil(placements / (goods.length + 1) ** 2)
  for (let attempt = 0; attempt < tries; attempt++) {
    const boxes = fillBoxes(random.shuffle(byVolume))
    if (cardboard(boxes) < cardboard(best)) best = boxes
  }
  return best
}

/** Fills boxes of the largest type one after another, then moves each one's content to the smallest that takes it. */
function fillBoxes(goods: readonly Goods[]): Box[] {
  const largest = boxTypes[boxTypes.length - 1] as BoxType
  let boxes: Box[] = []
  for (const piece of goods) {
    const index = boxes.findIndex((box) => place(box, piece) !== undefined)
    const box = place(boxes[index] ?? emptyBox(largest), piece)
    if (box === undefined) throw new TooLarge(`${piece.sku} fits into no box`)
    boxes = index === -1 ? [...boxes, box] : boxes.with(index, box)
  }
  return boxes.map(shrink)
}

function shrink(box: Box): Box {
  const goods = box.content.map((placed) => placed.goods)
  for (const type of boxTypes) {
    let smaller: Box | undefined = emptyBox(type)
    for (const piece of goods) smaller = smaller && place(smaller, piece)
    if (smaller !== undefined) return smaller
  }
  return box
}

function emptyBox(type: BoxType): Box {
  return { type, content: [], weightG: 0 }
}

/** The box with the piece in it, or undefined where it has no room or cannot bear the weight. */
function place(box: Box, goods: Goods): Box | undefined {
  const weightG = box.weightG + goods.weightG
  if (weightG > box.type.maxWeightG) return undefined
  for (const at of corners(box)) {
    for (const sizeMm of rotations(goods.sizeMm)) {
      const placed = { goods, at, sizeMm }
      if (isInside(placed, box.type) && !box.content.some((other) => overlap(placed, other))) {
        return { ...box, content: [...box.content, placed], weightG }
      }
    }
  }
  return undefined
}

/** Where a piece may go: the box's own corner, and beside, behind and on top of each piece. Low places first. */
function corners(box: Box): Triple[] {
  const found: Triple[] = [[0, 0, 0]]
  for (const {
    at: [x, y, z],
    sizeMm: [length, width, height],
  } of box.content) {
    found.push([x + length, y, z], [x, y + width, z], [x, y, z + height])
  }
  return found.sort((a, b) => a[2] - b[2] || a[1] - b[1] || a[0] - b[0])
}

function rotations([a, b, c]: Triple): readonly Triple[] {
  return [[a, b, c], [b, a, c], [a, c, b], [c, a, b], [b, c, a], [c, b, a]] // biome-ignore format: a table
}

export function isInside({ at, sizeMm }: Placed, type: BoxType): boolean {
  return axes.every((axis) => at[axis] >= 0 && at[axis] + sizeMm[axis] <= type.sizeMm[axis])
}

/** Whether two pieces claim the same space. Touching is not overlapping. */
export function overlap(one: Placed, other: Placed): boolean {
  return axes.every(
    (axis) => one.at[axis] < other.at[axis] + other.sizeMm[axis] && other.at[axis] < one.at[axis] + one.sizeMm[axis],
  )
}

const axes = [0, 1, 2] as const

function cardboard(boxes: readonly Box[]): number {
  return boxes.reduce((sum, { type }) => sum + volume(type.sizeMm), 0)
}

function volume([length, width, height]: Triple): number {
  return length * width * height
}
