/**
 * Prints the good orders of `orders.csv` as JSON, one in each line, for a load test:
 *
 *     node scripts/run-ts.mjs examples/warehouse/orders/lines.ts > orders.jsonl
 *     celeriac bench -A examples/warehouse/app.ts --flow fulfil --input orders.jsonl --fill --rate 20/s
 *
 * An order that the warehouse has seen costs it nothing, so the ids are for `--fill` to complete.
 */
import { join } from 'node:path'
import { Order } from '../order.ts'
import { readOrders } from './read.ts'
import { readSkus } from './skus.ts'

const catalogue = new Set((await readSkus(join(import.meta.dirname, 'skus.csv'))).map(({ sku }) => sku))
for await (const read of readOrders(join(import.meta.dirname, 'orders.csv'))) {
  if (!('order' in read) || !Order.safeParse(read.order).success) continue
  if (!read.order.lines.every(({ sku }) => catalogue.has(sku))) continue
  process.stdout.write(`${JSON.stringify({ ...read.order, id: 'bench-{run}-{n}' })}\n`)
}
