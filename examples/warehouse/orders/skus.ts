/** The catalogue: what can be ordered, how large and heavy it is, where it lies and how much of it there is. */
import { readFile } from 'node:fs/promises'

export interface Sku {
  /** @example 'SKU-0042' */
  readonly sku: string
  readonly name: string
  /** @example 'C' */
  readonly aisle: string
  /** Units on the shelf when the warehouse opens; 0 for what is sold out. */
  readonly stock: number
  readonly weightG: number
  /** Length, width and height in mm. */
  readonly sizeMm: readonly [number, number, number]
}

export const skuHeader = 'sku,name,aisle,stock,weight_g,length_mm,width_mm,height_mm'

export function toCsvLine({ sku, name, aisle, stock, weightG, sizeMm }: Sku): string {
  return [sku, name, aisle, stock, weightG, ...sizeMm].join(',')
}

/** Small, so it is read as a whole. @throws Error naming the line, since a broken catalogue stops everything */
export async function readSkus(file: string): Promise<Sku[]> {
  const [header, ...lines] = (await readFile(file, 'utf8')).trimEnd().split('\n')
  if (header !== skuHeader) throw new Error(`${file}: line 1 must be '${skuHeader}', got '${header}'`)
  return lines.map((line, index) => {
    const [sku = '', name = '', aisle = '', ...rest] = line.split(',')
    const [stock = NaN, weightG = NaN, length = NaN, width = NaN, height = NaN] = rest.map(Number)
    const numbers = [stock, weightG, length, width, height]
    if (rest.length !== numbers.length || !numbers.every(Number.isSafeInteger)) {
      throw new Error(`${file}: line ${index + 2} is not '${skuHeader}', got '${line}'`)
    }
    return { sku, name, aisle, stock, weightG, sizeMm: [length, width, height] }
  })
}
