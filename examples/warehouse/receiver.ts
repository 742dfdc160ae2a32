/**
 * The order receiver: the warehouse's HTTP API. It checks orders and answers; what an order turns into is behind
 * `Intake`.
 *
 *     POST /orders        202 once the broker holds the order; 400, 413 or 422 with the reasons; 503 if it cannot be kept
 *     GET  /orders/:id    how far it is, step by step
 *     POST /stock/:sku    puts more on a shelf: {"add": 10}
 *     GET  /health
 */
import { Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { z } from 'zod'
import { Order } from './order.ts'

export interface Intake {
  /** Resolves once the order cannot be lost any more. An order that was accepted before is only said to be so. */
  accept(order: Order): Promise<{ readonly repeated: boolean }>
  /** Undefined for an order nobody has accepted. */
  progress(orderId: string): Promise<OrderProgress | undefined>
  /** What the shelf holds then; undefined where there is no such shelf. */
  restock(sku: string, quantity: number): number | undefined
}

export interface OrderProgress {
  readonly id: string
  readonly state: 'in progress' | 'delivered' | 'failed'
  /** The steps so far; one that has not begun is not there yet. */
  readonly steps: readonly unknown[]
}

export interface ReceiverOptions {
  readonly intake: Intake
  /** What can be ordered. */
  readonly skus: ReadonlySet<string>
  /** Largest body of a request, in bytes. @default 16_384 */
  readonly maxBytes?: number
}

const Restock = z.strictObject({ add: z.int().min(1).max(100_000) })

export function createReceiver({ intake, skus, maxBytes = 16_384 }: ReceiverOptions): Hono {
  const receiver = new Hono()

  receiver.use(
    bodyLimit({
      maxSize: maxBytes,
      onError: (c) => c.json({ error: `the body is larger than ${maxBytes} bytes`, reasons: [] }, 413),
    }),
  )

  receiver.post('/orders', async (c) => {
    const body = parseJson(await c.req.text())
    if (body === undefined) return c.json({ error: 'the body is not JSON', reasons: [] }, 400)
    const checked = Order.safeParse(body)
    const reasons = checked.success ? unknownSkus(checked.data, skus) : checked.error.issues.map(toReason)
    if (!checked.success || reasons.length > 0) {
      return c.json({ error: 'the order cannot be accepted', reasons }, 422)
    }
    const { id } = checked.data
    const { repeated } = await intake.accept(checked.data)
    return c.json({ id, repeated, status: `/orders/${id}` }, 202)
  })

  receiver.get('/orders/:id', async (c) => {
    const progress = await intake.progress(c.req.param('id'))
    return progress ? c.json(progress) : c.json({ error: `no order ${c.req.param('id')} was accepted` }, 404)
  })

  receiver.post('/stock/:sku', async (c) => {
    const sku = c.req.param('sku')
    const checked = Restock.safeParse(parseJson(await c.req.text()))
    if (!checked.success)
      return c.json({ error: 'expected {"add": 10}', reasons: checked.error.issues.map(toReason) }, 422)
    const left = intake.restock(sku, checked.data.add)
    return left === undefined ? c.json({ error: `no shelf for ${sku}` }, 404) : c.json({ sku, left })
  })

  receiver.get('/health', (c) => c.json({ ok: true }))

  receiver.notFound((c) => c.json({ error: 'there are /orders, /orders/:id, /stock/:sku and /health' }, 404))
  // What fails here is the broker or a database: the order was not accepted, and may be sent again.
  receiver.onError((error, c) => c.json({ error: error.message, reasons: [] }, 503))

  return receiver
}

interface Reason {
  /** @example 'lines.0.quantity', or '' for the whole body */
  readonly field: string
  readonly message: string
}

function toReason({ path, message }: z.core.$ZodIssue): Reason {
  return { field: path.join('.'), message }
}

function unknownSkus(order: Order, skus: ReadonlySet<string>): Reason[] {
  return order.lines.flatMap(({ sku }, index) =>
    skus.has(sku) ? [] : [{ field: `lines.${index}.sku`, message: 'is not in the catalogue' }],
  )
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
