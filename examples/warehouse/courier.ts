/**
 * The courier: somebody else's HTTP service, slow and not very reliable, in a process of its own.
 *
 *     POST /deliveries          takes a parcel over; the header `Idempotency-Key` names it
 *     GET  /deliveries/:key     what became of it
 *
 * It fails a share of the requests in the three ways that matter to a caller: it says no (503), it hangs up before
 * doing anything, or it hangs up *after* taking the parcel, so that the caller cannot know. What makes the last one
 * bearable is the key: asked again for a parcel it has, it gives the answer it gave or meant to give, and no van goes
 * out twice.
 */
import { appendFileSync, existsSync, readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { type Random, seeded } from './random.ts'

export interface CourierOptions {
  /** The book of parcels taken over: one JSON line each, only ever appended to. */
  readonly book: string
  /** Half of the requests take longer than this, in ms. */
  readonly latencyMs: number
  /** Share of requests that fail, 0 to 1. */
  readonly failure: number
  /** The same seed gives each parcel the same luck, try by try. */
  readonly seed: number
}

/** A line of the courier's book. */
export interface Delivery {
  readonly key: string
  readonly tracking: string
  readonly lines: readonly { readonly sku: string; readonly quantity: number }[]
  /** Epoch ms. */
  readonly at: number
}

/** How wide the times scatter: with 0.5 one request in a hundred takes three times the median. */
const latencySpread = 0.5

type Luck = 'works' | 'refuses' | 'hangs up before' | 'hangs up after'

export function createCourier(options: CourierOptions): Server {
  const deliveries = new Map(readBook(options.book).map((delivery) => [delivery.key, delivery]))
  const tries = new Map<string, number>()

  return createServer(async (request, response) => {
    const [, resource, key = ''] = (request.url ?? '/').split('/')
    if (request.method === 'GET' && resource === 'deliveries' && key !== '') {
      const known = deliveries.get(key)
      return known ? answer(response, 200, known) : answer(response, 404, { error: 'no such parcel' })
    }
    if (request.method !== 'POST' || resource !== 'deliveries') return answer(response, 404, { error: 'no such page' })
    // A caller that died while we read its request must not take the courier with it.
    await takeOver(request, response).catch(() => request.socket.destroy())
  })

  async function takeOver(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const key = request.headers['idempotency-key']
    if (typeof key !== 'string' || key === '') return answer(response, 400, { error: 'Idempotency-Key is missing' })
    const known = deliveries.get(key)
    if (known !== undefined) return answer(response, 200, known)
    const lines = parseParcel(await text(request))
    if (lines === undefined) return answer(response, 400, { error: "the body must be JSON with 'lines'" })

    const attempt = (tries.get(key) ?? 0) + 1
    tries.set(key, attempt)
    const random = seeded('parcel', options.seed, key, attempt)
    await sleep(random.logNormal(options.latencyMs, latencySpread))

    const luck = draw(random, options.failure)
    if (luck === 'refuses') return answer(response, 503, { error: 'no van is free' })
    if (luck === 'hangs up before') return void request.socket.destroy()
    const delivery = deliveries.get(key) ?? record({ key, tracking: `CX-${key}`, lines, at: Date.now() })
    if (luck === 'hangs up after') return void request.socket.destroy()
    answer(response, 200, delivery)
  }

  /** In one turn of the event loop with the look-up before it, so that two requests cannot both find nothing. */
  function record(delivery: Delivery): Delivery {
    appendFileSync(options.book, `${JSON.stringify(delivery)}\n`)
    deliveries.set(delivery.key, delivery)
    return delivery
  }
}

/** Everything in a courier's book; nothing where there is no book yet. A line cut short by a crash is passed over. */
export function readBook(file: string): Delivery[] {
  if (!existsSync(file)) return []
  return readFileSync(file, 'utf8')
    .split('\n')
    .filter((line) => line.endsWith('}'))
    .map((line) => JSON.parse(line) as Delivery)
}

function draw(random: Random, failure: number): Luck {
  if (random.next() >= failure) return 'works'
  return random.pick(['refuses', 'refuses', 'hangs up before', 'hangs up after'])
}

function parseParcel(body: string): Delivery['lines'] | undefined {
  try {
    const { lines } = JSON.parse(body) as { lines?: unknown }
    return Array.isArray(lines) ? lines : undefined
  } catch {
    return undefined
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

/** As a process: options as JSON in the first argument; tells its parent the port once it listens. */
function main(): void {
  const options = JSON.parse(process.argv[2] ?? '{}') as CourierOptions
  const server = createCourier(options)
  server.listen(0, '127.0.0.1', () => process.send?.({ port: (server.address() as AddressInfo).port }))
  // The parent is gone or wants us gone: whatever is in the book is safe, there is nothing to finish.
  process.once('disconnect', () => process.exit())
}

if (process.argv[1] === fileURLToPath(import.meta.url)) main()
