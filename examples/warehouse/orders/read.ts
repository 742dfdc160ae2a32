/**
 * Reads `orders.csv` as a stream, one line at a time, so that the size of the file does not matter.
 *
 * The format is the plainest that does: `order,customer,city,items`, no quoting, items as `SKU-0042x2;SKU-0007x1`.
 * This reader only asks whether a line can be read as an order at all. Whether the order makes sense (known SKUs,
 * possible quantities) is for the receiver to say, which has to ask anyway.
 */
import { createReadStream } from 'node:fs'
import { createInterface } from 'node:readline'
import type { Order, OrderLine } from '../order.ts'

export const orderHeader = 'order,customer,city,items'

/** A line of the file, by its number as an editor shows it. */
export type ReadLine =
  | { readonly line: number; readonly order: Order }
  | { readonly line: number; readonly reason: string; readonly text: string }

/** The first `limit` lines after the header; empty lines are passed over and not counted. */
export async function* readOrders(file: string, limit = Infinity): AsyncGenerator<ReadLine> {
  const lines = createInterface({ input: createReadStream(file, 'utf8'), crlfDelay: Infinity })
  let number = 0
  let read = 0
  for await (const text of lines) {
    number++
    if (number === 1) {
      if (text !== orderHeader) throw new Error(`${file}: line 1 must be '${orderHeader}', got '${text.slice(0, 80)}'`)
      continue
    }
    if (text.trim() === '') continue
    if (read++ >= limit) break
    const parsed = parseLine(text)
    yield typeof parsed === 'string' ? { line: number, reason: parsed, text } : { line: number, order: parsed }
  }
}

/** The order, or why the line is none. Reasons name the kind of fault without its details, so they can be counted. */
function parseLine(text: string): Order | string {
  const columns = text.split(',')
  if (columns.length !== 4) return `line has ${columns.length} of 4 columns`
  const [id = '', customer = '', city = '', items = ''] = columns.map((column) => column.trim())
  if (items === '') return 'line has no items'
  const lines = items.split(';').map(parseItem)
  if (!lines.every((line) => line !== undefined)) return "item is not written as 'SKU-0042x2'"
  return { id, customer, city, lines }
}

function parseItem(item: string): OrderLine | undefined {
  const [, sku, quantity] = /^(SKU-\d+)x(-?\d+(?:\.\d+)?)$/.exec(item.trim()) ?? []
  return sku === undefined ? undefined : { sku, quantity: Number(quantity) }
}

export function toOrderLine({ id, customer, city, lines }: Order): string {
  return [id, customer, city, lines.map(({ sku, quantity }) => `${sku}x${quantity}`).join(';')].join(',')
}
