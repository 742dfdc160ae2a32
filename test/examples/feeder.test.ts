import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { emptyReport, feed } from '../../examples/warehouse/feeder.ts'
import type { ReadLine } from '../../examples/warehouse/orders/read.ts'

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

async function serve(answer: (request: IncomingMessage, response: ServerResponse) => void): Promise<string> {
  server = createServer(answer)
  await new Promise<void>((resolve) => server?.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

async function* linesOf(count: number): AsyncGenerator<ReadLine> {
  for (let line = 1; line <= count; line++) {
    yield { line, order: { id: `O-${line}`, customer: 'Ada', city: 'Lund', lines: [] } }
  }
}

describe('the feeder', () => {
  it('sends each line once, several at a time and never more than it may', async () => {
    let open = 0
    let most = 0
    const url = await serve((_, response) => {
      most = Math.max(most, ++open)
      setImmediate(() => {
        open--
        response.writeHead(202).end('{"repeated":false}')
      })
    })
    const report = emptyReport()

    await feed({ lines: linesOf(30), url, concurrency: 3 }, report)

    expect(report.in).toBe(30)
    expect(report.accepted.size).toBe(30)
    expect(most).toBeGreaterThan(1)
    expect(most).toBeLessThanOrEqual(3)
  })

  it('counts rejects by their reason, those of the file and those of the receiver', async () => {
    const url = await serve((_, response) => {
      response
        .writeHead(422)
        .end('{"error":"no","reasons":[{"field":"lines.3.sku","message":"is not in the catalogue"}]}')
    })
    const report = emptyReport()
    async function* lines(): AsyncGenerator<ReadLine> {
      yield* linesOf(2)
      yield { line: 3, reason: 'line has no items', text: '' }
    }

    await feed({ lines: lines(), url }, report)

    expect([...report.rejected]).toEqual([
      ['line has no items', 1],
      ['422 sku is not in the catalogue', 2],
    ])
    expect(report.accepted.size).toBe(0)
  })

  it('sends an order again when there is no answer or the broker is not available', async () => {
    let requests = 0
    const url = await serve((request, response) => {
      requests++
      if (requests === 1) request.socket.destroy()
      else if (requests === 2) response.writeHead(503).end('{"error":"the broker is away","reasons":[]}')
      else response.writeHead(202).end('{"repeated":true}')
    })
    const report = emptyReport()

    await feed({ lines: linesOf(1), url }, report)

    expect(report).toMatchObject({ in: 1, repeated: 1, accepted: new Set(['O-1']) })
    expect(requests).toBe(3)
  })

  it('stops when it is told to', async () => {
    const stop = new AbortController()
    const url = await serve((_, response) => {
      stop.abort()
      response.writeHead(202).end('{"repeated":false}')
    })
    const report = emptyReport()

    await feed({ lines: linesOf(1_000), url, concurrency: 2, signal: stop.signal }, report)

    expect(report.in).toBeLessThanOrEqual(3)
  })
})
