import type { Hono } from 'hono'
import { describe, expect, it } from 'vitest'
import type { Order } from '../../examples/warehouse/order.ts'
import { createReceiver, type Intake } from '../../examples/warehouse/receiver.ts'

const good: Order = { id: 'O-1', customer: 'Ada', city: 'Lund', lines: [{ sku: 'SKU-0001', quantity: 2 }] }

/** A receiver, and what its intake was given. */
function openReceiver(intake: Partial<Intake> = {}): { receiver: Hono; accepted: Order[] } {
  const accepted: Order[] = []
  const receiver = createReceiver({
    skus: new Set(['SKU-0001', 'SKU-0002']),
    maxBytes: 2_000,
    intake: {
      async accept(order) {
        accepted.push(order)
        return { repeated: false }
      },
      progress: async () => undefined,
      restock: () => undefined,
      ...intake,
    },
  })
  return { receiver, accepted }
}

async function post(receiver: Hono, body: unknown, path = '/orders') {
  const response = await receiver.request(path, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

describe('POST /orders', () => {
  it('answers a good order with 202 and its id', async () => {
    const { receiver, accepted } = openReceiver()

    const { status, body } = await post(receiver, good)

    expect(status).toBe(202)
    expect(body).toEqual({ id: 'O-1', repeated: false, status: '/orders/O-1' })
    expect(accepted).toEqual([good])
  })

  it('answers only after the broker holds the order', async () => {
    const steps: string[] = []
    const { receiver } = openReceiver({
      async accept() {
        await new Promise((resolve) => setImmediate(resolve))
        steps.push('held')
        return { repeated: false }
      },
    })

    await post(receiver, good)
    steps.push('answered')

    expect(steps).toEqual(['held', 'answered'])
  })

  it('answers 503 with the reason when the broker does not hold it', async () => {
    const { receiver } = openReceiver({ accept: () => Promise.reject(new Error('the disk is full')) })

    expect(await post(receiver, good)).toEqual({ status: 503, body: { error: 'the disk is full', reasons: [] } })
  })

  it.each([
    ['nothing', ''],
    ['half a document', '{"id":'],
    ['something else', 'id=O-1'],
  ])('answers %s with 400', async (_, text) => {
    const { receiver, accepted } = openReceiver()

    expect(await post(receiver, text)).toEqual({ status: 400, body: { error: 'the body is not JSON', reasons: [] } })
    expect(accepted).toEqual([])
  })

  it('answers a body that is too large with 413', async () => {
    const { receiver } = openReceiver()

    const { status, body } = await post(receiver, { ...good, customer: 'A'.repeat(3_000) })

    expect(status).toBe(413)
    expect(body.error).toBe('the body is larger than 2000 bytes')
  })

  const line = (sku: unknown, quantity: unknown) => ({ ...good, lines: [{ sku, quantity }] })
  it.each([
    ['an unknown SKU', line('SKU-0009', 1), 'lines.0.sku', 'is not in the catalogue'],
    ['a SKU that is none', line('lamp', 1), 'lines.0.sku', 'must look like SKU-0042'],
    ['no quantity', line('SKU-0001', 0), 'lines.0.quantity', 'must be at least 1'],
    ['a negative quantity', line('SKU-0001', -1), 'lines.0.quantity', 'must be at least 1'],
    ['half a quantity', line('SKU-0001', 1.5), 'lines.0.quantity', 'must be a whole number'],
    ['an absurd quantity', line('SKU-0001', 5_000), 'lines.0.quantity', 'must be at most 20'],
    ['no lines', { ...good, lines: [] }, 'lines', 'must have at least one line'],
    ['one SKU twice', { ...good, lines: [good.lines[0], good.lines[0]] }, 'lines', 'must name each SKU once'],
    ['an id that leads elsewhere', { ...good, id: '../O-1' }, 'id', 'must be 1 to 40 letters, digits and dashes'],
    ['an empty customer', { ...good, customer: '' }, 'customer', 'must not be empty'],
  ])('answers %s with 422 and the reason', async (_, order, field, message) => {
    const { receiver, accepted } = openReceiver()

    const { status, body } = await post(receiver, order)

    expect(status).toBe(422)
    expect(body.reasons).toContainEqual({ field, message })
    expect(accepted).toEqual([])
  })

  it.each([
    ['a list', []],
    ['a number', 3],
    ['null', null],
    ['a field too many', { ...good, price: 3 }],
  ])('answers %s with 422', async (_, body) => {
    expect((await post(openReceiver().receiver, body)).status).toBe(422)
  })
})

describe('GET /orders/:id', () => {
  it('shows the steps of an order', async () => {
    const progress = { id: 'O-1', state: 'in progress' as const, steps: [{ name: 'warehouse.pick', state: 'SUCCESS' }] }
    const { receiver } = openReceiver({ progress: async () => progress })

    const response = await receiver.request('/orders/O-1')

    expect(await response.json()).toEqual(progress)
  })

  it('answers 404 for an order nobody has accepted', async () => {
    const response = await openReceiver().receiver.request('/orders/O-2')

    expect(response.status).toBe(404)
    expect(await response.json()).toEqual({ error: 'no order O-2 was accepted' })
  })
})

describe('POST /stock/:sku', () => {
  it('fills a shelf', async () => {
    const { receiver } = openReceiver({ restock: (_, quantity) => 3 + quantity })

    expect(await post(receiver, { add: 10 }, '/stock/SKU-0001')).toEqual({
      status: 200,
      body: { sku: 'SKU-0001', left: 13 },
    })
  })

  it('answers 404 where there is no shelf, and 422 to an impossible quantity', async () => {
    const { receiver } = openReceiver()

    expect((await post(receiver, { add: 10 }, '/stock/SKU-0009')).status).toBe(404)
    expect((await post(receiver, { add: -10 }, '/stock/SKU-0001')).status).toBe(422)
  })
})

it('GET /health answers, and other pages say which there are', async () => {
  const { receiver } = openReceiver()

  expect((await receiver.request('/health')).status).toBe(200)
  expect((await receiver.request('/order')).status).toBe(404)
})
