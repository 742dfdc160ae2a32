/** A monitor of its own for a test, asked by HTTP; every answer must be of the shape that its route says. */
import { afterEach, expect } from 'vitest'
import type { ApiParts } from '../../src/monitor/api/parts.ts'
import { routeTable } from '../../src/monitor/api/table.ts'
import type { Guard } from '../../src/monitor/auth/guard.ts'
import { type Monitor, type MonitorOptions, startMonitor } from '../../src/monitor/monitor.ts'
import { inMemory } from '../../src/monitor/store/database.ts'
import { newApp, silent } from '../flow/fixture.ts'

export const fast = { inspectEveryMs: 150, inspectTimeoutMs: 150, queuesEveryMs: 60 } as const

const monitors: Monitor[] = []
// Before the applications are closed: this hook was added after the fixture's.
afterEach(async () => {
  for (const monitor of monitors.splice(0)) await monitor.close()
})

/** Shapes of what routes answer; the parts are not used before a route is asked. */
const routes = routeTable({ app: {} } as ApiParts, {} as Guard)

export interface Answer {
  readonly status: number
  // biome-ignore lint/suspicious/noExplicitAny: tests look at it as they expect it
  readonly body: any
  readonly headers: Headers
}

export async function monitoring(broker: string, options: Partial<MonitorOptions> = {}) {
  const app = options.app ?? newApp({ broker })
  const monitor = await startMonitor({ app, db: inMemory, port: 0, logger: silent, ...fast, ...options })
  monitors.push(monitor)
  const ask = (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
    asked(monitor.url, method, path, body, headers)
  return {
    app,
    monitor,
    url: monitor.url,
    ask,
    get: async (path: string) => well(await ask('get', path)),
    post: async (path: string, body?: unknown) => well(await ask('post', path, body)),
  }
}

async function asked(
  url: string,
  method: string,
  path: string,
  body: unknown,
  headers: Record<string, string>,
): Promise<Answer> {
  const hasBody = body !== undefined
  const response = await fetch(`${url}/api/v1${path}`, {
    method: method.toUpperCase(),
    headers: { ...(hasBody && { 'content-type': 'application/json' }), ...headers },
    ...(hasBody && { body: JSON.stringify(body) }),
  })
  const text = await response.text()
  const answer = { status: response.status, body: text === '' ? null : JSON.parse(text), headers: response.headers }
  if (answer.status === 200) expectShape(method, path.split('?')[0] ?? '', answer.body)
  return answer
}

function well({ status, body }: Answer): Answer['body'] {
  expect(status, JSON.stringify(body)).toBe(200)
  return body
}

function expectShape(method: string, path: string, body: unknown): void {
  const words = path.split('/')
  const found = routes.find((route) => {
    const wanted = route.path.split('/')
    const isSame =
      wanted.length === words.length && wanted.every((word, at) => word.startsWith(':') || word === words[at])
    return route.method === method && isSame
  })
  if (found === undefined) return
  const parsed = found.reply.safeParse(body)
  expect(parsed.error?.issues, `${method} ${path}`).toBeUndefined()
}
