/**
 * The table of routes, served. A request is let in, checked, carried out and, where it changes something, written down;
 * whatever goes wrong on the way is answered as a problem.
 */
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { deleteCookie, setCookie } from 'hono/cookie'
import { type Clock, sleep } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { openApi } from '../api/openapi.ts'
import type { ApiParts } from '../api/parts.ts'
import type { Route, SessionCookie } from '../api/route.ts'
import type { Guard } from '../auth/guard.ts'
import { mayAct, type User } from '../auth/users.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { askingOf, type HttpEnv, sessionCookie } from './asking.ts'
import { bodyOf, checked, queryOf } from './input.ts'
import type { Journal } from './journal.ts'
import type { RequestLimits } from './limits.ts'
import { HttpProblem, problemOf, refusalProblem } from './problem.ts'

export interface ApiServerParts {
  readonly parts: ApiParts
  readonly guard: Guard
  readonly limits: RequestLimits
  readonly journal: Journal
  readonly metrics: Metrics
  readonly logger: Logger
}

export const maxBodyBytes = 1024 * 1024
const answerMs = 30_000
const nobody: User = { name: '-', role: 'viewer' }

/** To be mounted at `/api/v1`. */
export function apiServer(routes: readonly Route[], server: ApiServerParts): Hono<HttpEnv> {
  const { parts, guard } = server
  const app = new Hono<HttpEnv>()
  app.onError((error, context) => problemAnswer(context, error, server))
  app.use(async (context, next) => {
    await next()
    context.header('cache-control', 'no-store')
  })
  app.use(
    bodyLimit({
      maxSize: maxBodyBytes,
      onError: () => {
        throw new HttpProblem(413, 'BODY_TOO_LARGE', `a body has at most ${maxBodyBytes} bytes`)
      },
    }),
  )
  for (const route of routes) app.on(route.method, route.path, (context) => serve(context, route, server))
  const document = openApi(routes)
  app.get('/openapi.json', async (context) => {
    await admitted(context, server)
    return context.json(document)
  })
  app.get('/live', async (context) => {
    await admitted(context, server)
    const type = { 'content-type': 'text/event-stream' }
    // Nobody would read it, nor end it.
    if (context.req.method === 'HEAD') return context.body(null, 200, type)
    const asking = askingOf(context)
    const stream = parts.live.open(async () => 'user' in (await guard.admit(asking)))
    if (stream === undefined) throw new HttpProblem(429, 'TOO_MANY_REQUESTS', 'too many listen already')
    // Proxies are not to gather it.
    return context.body(stream, 200, { ...type, 'x-accel-buffering': 'no' })
  })
  app.all('*', async (context) => {
    await admitted(context, server)
    const isKnown = routes.some(({ path }) => fits(path, context.req.path))
    if (isKnown) throw new HttpProblem(405, 'METHOD_NOT_ALLOWED', `${context.req.method} is not for this path`)
    throw new HttpProblem(
      404,
      'NOT_FOUND',
      'there is no such path; GET /api/v1/openapi.json tells those that there are',
    )
  })
  return app
}

/** Who asks, where he may. @throws HttpProblem 401, 403, 429 */
export async function admitted(context: Context<HttpEnv>, { guard }: Pick<ApiServerParts, 'guard'>): Promise<User> {
  const admission = await guard.admit(askingOf(context))
  if ('user' in admission) return admission.user
  throw refusalProblem(admission.refused, admission.message)
}

async function serve(context: Context<HttpEnv>, route: Route, server: ApiServerParts): Promise<Response> {
  const { guard, limits, parts } = server
  const asking = askingOf(context)
  const address = guard.clientOf(asking)
  return limits.within(address, async () => {
    let user: User | undefined
    let target: Record<string, unknown> = { ...context.req.param() }
    const note = (outcome: string): void => {
      if (route.method === 'get') return
      const action = `${route.method.toUpperCase()} ${route.path}`
      server.journal.note({ user, address, action, target, outcome })
    }
    try {
      if (route.role === 'anybody') {
        const refusal = guard.refusalOf(asking)
        if (refusal !== undefined) throw refusalProblem(refusal.refused, refusal.message)
      } else {
        user = await admitted(context, server)
        refuseRole(route, user, parts.isReadOnly)
      }
      const body = bodyOf(await context.req.text(), context.req.header('content-type'))
      if (typeof body === 'object' && body !== null) target = { ...target, ...body }
      const answer = await inTime(
        async () =>
          route.handle({
            params: checked(route.params, context.req.param(), 'the path'),
            query: checked(route.query, queryOf(route.query, new URL(context.req.url).searchParams), 'the query'),
            body: checked(route.body, body, 'the body'),
            user: user ?? nobody,
            address,
            session: sessionOf(context, asking.cookie),
          }),
        parts.clock,
      )
      note('done')
      return context.json(answer as never)
    } catch (error) {
      const { code, message } = problemOf(error)
      note(`${code}: ${message}`)
      throw error
    }
  })
}

/** @throws HttpProblem 403 */
export function refuseRole(route: Pick<Route, 'role' | 'method'>, user: User, isReadOnly: boolean): void {
  if (route.role !== 'anybody' && !mayAct(user.role, route.role)) {
    throw new HttpProblem(403, 'ROLE', `this takes role ${route.role}; ${user.name} is ${user.role}`)
  }
  if (isReadOnly && route.method !== 'get') {
    throw new HttpProblem(403, 'READ_ONLY', 'this monitor was started with --read-only: it changes nothing')
  }
}

/** What was begun goes on, but nobody waits for it any longer. */
async function inTime<T>(work: () => Promise<T>, clock: Clock): Promise<T> {
  const over = new AbortController()
  const timeout = sleep(clock, answerMs, over.signal).then(() => {
    throw new HttpProblem(503, 'TIMEOUT', `no answer within ${answerMs / 1_000} s; what was asked for may still happen`)
  })
  try {
    return await Promise.race([work(), timeout])
  } finally {
    timeout.catch(() => undefined)
    over.abort()
  }
}

function sessionOf(context: Context<HttpEnv>, value: string | undefined): SessionCookie {
  const isSecure = context.req.header('x-forwarded-proto') === 'https'
  const options = { httpOnly: true, sameSite: 'Strict', path: '/', secure: isSecure } as const
  return {
    value,
    set: (session) => {
      if (session === null) deleteCookie(context, sessionCookie, options)
      else setCookie(context, sessionCookie, session, options)
    },
  }
}

export function problemAnswer(context: Context<HttpEnv>, error: unknown, { logger, parts }: ApiServerParts): Response {
  const { status, code, message } = problemOf(error)
  if (status === 500) logger.error({ error, path: context.req.path }, 'the monitor could not answer')
  // The rest of the body is not read.
  if (status === 413) context.header('connection', 'close')
  if (status === 401) context.header('www-authenticate', 'Bearer')
  if (status === 429 || status === 503) context.header('retry-after', '1')
  return context.json({ error: { code, message: parts.redaction.text(message) } }, status)
}

function fits(route: string, path: string): boolean {
  const wanted = route.split('/')
  const given = path.split('/').slice(-wanted.length + 1)
  return (
    wanted.length === given.length + 1 &&
    given.every((word, at) => /^:/.test(wanted[at + 1] ?? '') || word === wanted[at + 1])
  )
}
