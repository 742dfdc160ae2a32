/** The HTTP server: what every answer carries, what is served where, and the port. */
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createAdaptorServer } from '@hono/node-server'
import { Hono } from 'hono'
import { compress } from 'hono/compress'
import { CeleriacError } from '../../errors.ts'
import { metricsContentType } from '../../prometheus.ts'
import { routeTable } from '../api/table.ts'
import { flowerRoutes, workersTable } from '../flower/routes.ts'
import { type ApiServerParts, admitted, apiServer, problemAnswer } from './api.ts'
import { askingOf, type HttpEnv } from './asking.ts'
import { flowerServer } from './flower.ts'
import { healthOf } from './health.ts'
import type { Pages } from './pages.ts'
import { HttpProblem, refusalProblem } from './problem.ts'

/** Nothing from elsewhere, nothing inline, in nobody's frame. */
const contentPolicy = [
  ...["default-src 'none'", "script-src 'self'", "style-src 'self'", "img-src 'self' data:", "connect-src 'self'"],
  ...["font-src 'self'", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"],
].join('; ')

const headers = {
  'content-security-policy': contentPolicy,
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
}

const maxConnections = 1_000

export function monitorServer(server: ApiServerParts, pages: Pages): Hono<HttpEnv> {
  const { parts, guard } = server
  const startedAtMs = parts.clock.now()
  const app = new Hono<HttpEnv>()
  app.use(async (context, next) => {
    for (const [name, value] of Object.entries(headers)) context.header(name, value)
    await next()
  })
  app.use(compress({ threshold: 1_024, encoding: 'gzip' }))
  app.onError((error, context) => problemAnswer(context, error, server))
  app.route('/api/v1', apiServer(routeTable(parts, guard), server))
  app.get('/healthz', async (context) => {
    const { ok, problems } = healthOf(parts, startedAtMs)
    const admission = guard.asksForUsers ? await guard.admit(askingOf(context)) : undefined
    const mayKnow = admission === undefined || 'user' in admission
    context.header('cache-control', 'no-store')
    return context.json({ ok, ...(mayKnow && { problems }) }, ok ? 200 : 503)
  })
  app.route('/api', flowerServer(flowerRoutes(parts), server))
  app.get('/healthcheck', (context) => context.text('OK'))
  // Addresses of Flower's pages that people have kept.
  for (const [theirs, ours] of Object.entries({ task: 'tasks', worker: 'workers' })) {
    app.get(`/${theirs}/:name`, (context) =>
      context.redirect(`/${ours}/${encodeURIComponent(context.req.param('name'))}`),
    )
  }
  app.get('/workers', async (context, next) => {
    if (context.req.query('json') === undefined) return next()
    await admitted(context, server)
    return context.json(workersTable(parts))
  })
  app.get('/metrics', async (context) => {
    await admitted(context, server)
    return context.body(server.metrics.read(parts), 200, {
      'content-type': metricsContentType,
      'cache-control': 'no-store',
    })
  })
  app.get('*', (context) => {
    const refusal = guard.refusalOf(askingOf(context))
    if (refusal !== undefined) throw refusalProblem(refusal.refused, refusal.message)
    const page = pages.answer(context)
    if (page === undefined) throw new HttpProblem(404, 'NOT_FOUND', 'there is no such file')
    return page
  })
  app.all('*', async (context) => {
    await admitted(context, server)
    throw new HttpProblem(404, 'NOT_FOUND', 'there is no such path')
  })
  return app
}

/** @throws CeleriacError `CONFIG_INVALID`: the port is taken, or may not be used */
export async function listen(app: Hono<HttpEnv>, host: string, port: number): Promise<Server> {
  const server = createAdaptorServer({ fetch: app.fetch as never, hostname: host }) as Server
  // Slow senders do not keep a place.
  server.headersTimeout = 10_000
  server.requestTimeout = 30_000
  server.keepAliveTimeout = 10_000
  server.maxConnections = maxConnections
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen(port, host, () => resolve())
    })
  } catch (error) {
    const isTaken = (error as NodeJS.ErrnoException).code === 'EADDRINUSE'
    const why = isTaken ? 'another program has it; give another with --port' : (error as Error).message
    throw new CeleriacError('CONFIG_INVALID', `the monitor cannot use port ${port} of ${host}: ${why}`, {
      cause: error,
    })
  }
  return server
}

export function urlOf(server: Server): string {
  const { address, port } = server.address() as AddressInfo
  const host = address.includes(':') ? `[${address}]` : address
  return `http://${host === '0.0.0.0' || host === '[::]' ? 'localhost' : host}:${port}`
}

/** Streams do not end by themselves. */
export async function close(server: Server): Promise<void> {
  const closed = new Promise((resolve) => server.close(resolve))
  server.closeAllConnections()
  await closed
}
