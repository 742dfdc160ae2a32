/** Flower's API on our server: its manner of taking arguments, and of telling errors. */
import { type Context, Hono } from 'hono'
import { bodyLimit } from 'hono/body-limit'
import { CeleriacError } from '../../errors.ts'
import type { User } from '../auth/users.ts'
import { type FlowerCall, type FlowerRoute, WorkerRefusal } from '../flower/routes.ts'
import { type ApiServerParts, admitted, maxBodyBytes, refuseRole } from './api.ts'
import { askingOf, type HttpEnv } from './asking.ts'
import { type HttpProblem, problemOf } from './problem.ts'

/** To be mounted at `/api`. */
export function flowerServer(routes: readonly FlowerRoute[], server: ApiServerParts): Hono<HttpEnv> {
  const app = new Hono<HttpEnv>()
  app.use(bodyLimit({ maxSize: maxBodyBytes }))
  for (const route of routes) app.on(route.method, route.path, (context) => serve(context, route, server))
  return app
}

async function serve(context: Context<HttpEnv>, route: FlowerRoute, server: ApiServerParts): Promise<Response> {
  const { guard, journal, limits, parts } = server
  const address = guard.clientOf(askingOf(context))
  const action = `${route.method.toUpperCase()} /api${route.path}`
  const target = { name: context.req.param('name'), ...context.req.query() }
  let user: User | undefined
  const note = (outcome: string): void => {
    if (route.method === 'post') journal.note({ user, address, action, target, outcome })
  }
  context.header('cache-control', 'no-store')
  try {
    return await limits.within(address, async () => {
      user = await admitted(context, server)
      refuseRole(route, user, parts.isReadOnly)
      const reply = await route.handle(await callOf(context))
      note('done')
      return context.json(reply as object)
    })
  } catch (error) {
    const { status, message } = told(error)
    note(message)
    return context.text(message, status)
  }
}

async function callOf({ req }: Context): Promise<FlowerCall> {
  const text = req.method === 'POST' ? await req.text() : ''
  // Flower reads some bodies as JSON whatever their type says, and `curl -d` says that it is a form.
  const isJson = text.trimStart().startsWith('{')
  const form = new URLSearchParams(isJson ? '' : text)
  return {
    name: req.param('name') ?? '',
    argument: (name) => req.query(name) ?? form.get(name) ?? undefined,
    body: isJson ? (JSON.parse(text) as unknown) : undefined,
  }
}

function told(error: unknown): { readonly status: HttpProblem['status']; readonly message: string } {
  if (error instanceof WorkerRefusal) return { status: 403, message: error.message }
  if (error instanceof SyntaxError) return { status: 400, message: `the body is not JSON: ${error.message}` }
  if (error instanceof CeleriacError && error.code === 'RESULTS_DISABLED')
    return { status: 503, message: error.message }
  return problemOf(error)
}
