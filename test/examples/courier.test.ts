import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type CourierOptions, createCourier, readBook } from '../../examples/warehouse/courier.ts'
import { CourierError, handOver } from '../../examples/warehouse/courier-client.ts'
import type { Order } from '../../examples/warehouse/order.ts'

let folder: string
let book: string
let servers: Server[]
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'courier-'))
  book = join(folder, 'courier.jsonl')
  servers = []
})
afterEach(async () => {
  await Promise.all(servers.map(close))
  rmSync(folder, { recursive: true })
})

async function openCourier(options: Partial<CourierOptions> = {}): Promise<{ url: string; server: Server }> {
  const server = createCourier({ book, latencyMs: 0, failure: 0, seed: 1, ...options })
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server }
}

function close(server: Server): Promise<unknown> {
  server.closeAllConnections()
  return new Promise((resolve) => server.close(resolve))
}

const orderOf = (id: string): Order => ({
  id,
  customer: 'Ada',
  city: 'Lund',
  lines: [{ sku: 'SKU-0001', quantity: 2 }],
})
const { signal } = new AbortController()

/** As the task does it, by retrying. */
async function handOverAtLast(url: string, order: Order): Promise<string> {
  for (;;) {
    try {
      return await handOver(url, order, signal)
    } catch (error) {
      expect(error).toBeInstanceOf(CourierError)
    }
  }
}

describe('the courier', () => {
  it('takes a parcel over, and has it in its book', async () => {
    const { url } = await openCourier()

    const tracking = await handOver(url, orderOf('O-1'), signal)

    expect(readBook(book)).toMatchObject([{ key: 'O-1', tracking, lines: [{ sku: 'SKU-0001', quantity: 2 }] }])
    expect(await (await fetch(`${url}/deliveries/O-1`)).json()).toMatchObject({ tracking })
  })

  it('takes it over once, however often and at the same time it is asked', async () => {
    const { url } = await openCourier({ latencyMs: 3 })

    const answers = await Promise.all([1, 2, 3].map(() => handOver(url, orderOf('O-1'), signal)))

    expect(new Set(answers).size).toBe(1)
    expect(readBook(book)).toHaveLength(1)
  })

  it('takes each parcel over once although every second request fails in one way or another', async () => {
    const { url } = await openCourier({ failure: 0.5 })

    await Promise.all(Array.from({ length: 40 }, (_, index) => handOverAtLast(url, orderOf(`O-${index}`))))

    expect(new Set(readBook(book).map(({ key }) => key)).size).toBe(40)
    expect(readBook(book)).toHaveLength(40)
  })

  it('remembers over a restart, a line of its book cut short notwithstanding', async () => {
    const first = await openCourier()
    const tracking = await handOver(first.url, orderOf('O-1'), signal)
    await close(first.server)
    appendFileSync(book, '{"key":"O-')

    const { url } = await openCourier()

    expect(await handOver(url, orderOf('O-1'), signal)).toBe(tracking)
    expect(readBook(book)).toHaveLength(1)
  })

  it('fails always when told to, and never takes less than it says', async () => {
    const { url } = await openCourier({ failure: 1 })

    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => handOver(url, orderOf(`O-${index}`), signal)),
    )

    const reasons = outcomes.map((outcome) => (outcome.status === 'rejected' ? String(outcome.reason.message) : 'fine'))
    expect(new Set(reasons)).toEqual(new Set(['the courier answered 503', 'the courier hung up']))
    // Those whose answer was lost: the reason why a caller cannot know.
    expect(readBook(book).length).toBeGreaterThan(0)
  })

  it('refuses a parcel without a key', async () => {
    const { url } = await openCourier()

    const response = await fetch(`${url}/deliveries`, { method: 'POST', body: '{"lines":[]}' })

    expect(response.status).toBe(400)
  })
})

it('an aborted call is not the fault of the courier', async () => {
  const { url } = await openCourier({ latencyMs: 10_000 })
  const stop = new AbortController()

  const call = handOver(url, orderOf('O-1'), stop.signal)
  stop.abort(new Error('the worker stops'))

  await expect(call).rejects.toThrow('the worker stops')
})
