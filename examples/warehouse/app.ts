/**
 * The warehouse as Celeriac sees it: three tasks on three queues, and the chain that an order runs through.
 *
 *     celeriac worker -A examples/warehouse/app.ts -Q picking -c 3
 *
 * A task may run more than once: when it is retried, and when its worker dies before it could say that it was done.
 * So each task has its effect once per order, however often it runs: the pick is recorded in one transaction with the
 * stock it takes, the slip is a file with one name and one content, and the courier is called with the order's id as
 * the idempotency key.
 */
import { join } from 'node:path'
import { type BatchContext, Celeriac, type Chain, chain } from 'celeriac'
import { AisleBusy, Aisles } from './aisle.ts'
import { CourierError, handOver } from './courier-client.ts'
import { Logbook } from './logbook.ts'
import { type DeliveredOrder, Order, type PackedOrder, type PickedOrder } from './order.ts'
import { readSkus } from './orders/skus.ts'
import { type Goods, pack as packIntoBoxes } from './packing.ts'
import { filesIn, fromEnvironment } from './settings.ts'
import { writeSlip } from './slip.ts'

const settings = fromEnvironment(process.env)
const files = filesIn(settings.folder)
const logbook = new Logbook(files.logbook)

// Every worker loads this module, but only pickers go to the aisles, and only packers need to know how large things are.
const aisles = lazy(() => new Aisles(files.aisles))
const catalogue = lazy(async () => {
  const skus = await readSkus(join(import.meta.dirname, 'orders', 'skus.csv'))
  return new Map(skus.map((sku) => [sku.sku, sku]))
})

export const app = new Celeriac('warehouse', {
  broker: settings.broker,
  results: true,
  lease: settings.leaseSeconds,
})

/** I/O and contention: takes the goods from the shelves. A busy aisle is tried again; an empty shelf is final. */
const picking = {
  input: Order,
  queue: 'picking',
  autoretryFor: [AisleBusy],
  maxRetries: 12,
  retryBackoff: '50ms',
  retryBackoffMax: '2s',
  retryJitter: true,
} as const

/** One by one, or as many orders on a trip as `--batch` says: nobody else can tell the difference. */
export const pick =
  settings.batch === 1
    ? app.task(
        'warehouse.pick',
        picking,
        (order, ctx): Promise<PickedOrder> =>
          logbook.run(ctx, order.id, async (run) => ({ order, aisles: await aisles().take(order, run, ctx.signal) })),
      )
    : app.batch('warehouse.pick', { ...picking, maxSize: settings.batch, maxWait: '100ms' }, pickTogether)

/** CPU: finds the boxes that need the least cardboard, and writes the packing slip. */
export const pack = app.task(
  'warehouse.pack',
  { queue: 'packing', bind: true },
  (ctx, { order }: PickedOrder): Promise<PackedOrder> =>
    logbook.run(ctx, order.id, async () => {
      const boxes = packIntoBoxes(await goodsOf(order), order.id)
      const slip = await writeSlip(files.slips, order, boxes)
      return { order, boxes: boxes.map(({ type, weightG }) => ({ type: type.name, weightG })), ...slip }
    }),
)

/** I/O that fails: hands the parcel to the courier, until it takes it or the retries are used up. */
export const deliver = app.task(
  'warehouse.deliver',
  {
    queue: 'delivering',
    bind: true,
    autoretryFor: [CourierError],
    maxRetries: 3,
    retryBackoff: '200ms',
    retryJitter: true,
  },
  (ctx, { order }: PackedOrder): Promise<DeliveredOrder> =>
    logbook.run(ctx, order.id, async () => ({
      id: order.id,
      tracking: await handOver(settings.courierUrl, order, ctx.signal),
    })),
)

/** One trip for several orders. An empty shelf concerns the order alone that wanted something of it. */
async function pickTogether(orders: readonly Order[], ctx: BatchContext): Promise<PickedOrder[]> {
  const trip = aisles().takeAll(orders, `trip ${ctx.taskId} ${ctx.retries}`, ctx.signal)
  return Promise.all(
    orders.map(async (order, index) => {
      const { retries = 0 } = ctx.requests[index] ?? {}
      const run = { name: ctx.name, retries, together: orders.length }
      const taken = logbook.run(run, order.id, async () => {
        const outcome = (await trip)[index]
        if (outcome instanceof Error) throw outcome
        return outcome
      })
      return { order, aisles: (await taken.catch((error) => ctx.fail(index, error))) ?? [] }
    }),
  )
}

/** The way of an order. Each step is a message of its own on a queue of its own, and is retried alone. */
export function fulfil(order: Order): Chain<DeliveredOrder> {
  return chain(pick.s(order), pack.s(), deliver.s())
}

/** Each unit of each line as a piece to be packed. */
async function goodsOf(order: Order): Promise<Goods[]> {
  const skus = await catalogue()
  return order.lines.flatMap(({ sku, quantity }) => {
    const goods = skus.get(sku)
    if (goods === undefined) throw new Error(`${sku} is not in the catalogue`)
    return Array.from({ length: quantity }, () => goods)
  })
}

/** Makes something when it is first asked for, and gives the same ever after. */
function lazy<T>(make: () => T): () => T {
  let made: { readonly value: T } | undefined
  return () => {
    made ??= { value: make() }
    return made.value
  }
}
