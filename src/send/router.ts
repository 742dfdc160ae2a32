/** Which queue a call goes to: the call says, else the task, else the first matching route, else the default queue. */
import { CeleriacError } from '../errors.ts'

export interface Route {
  readonly queue?: string
  /** 0 to 9. */
  readonly priority?: number
}

/** Routes by name or glob (`'images.*'`), the first match wins; or a function, which may answer undefined. */
export type TaskRoutes =
  | Readonly<Record<string, string | Route>>
  | ((task: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => string | Route | undefined)

export type Router = (task: string, args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>) => Route

export function createRouter(routes: TaskRoutes | undefined): Router {
  if (routes === undefined) return () => noRoute
  if (typeof routes === 'function') return (task, args, kwargs) => routeOf(routes(task, args, kwargs))
  const patterns = Object.entries(routes).map(([glob, route]) => ({
    pattern: globPattern(glob),
    route: routeOf(route),
  }))
  const found = new Map<string, Route>()
  return (task) => {
    let route = found.get(task)
    if (route === undefined) {
      route = patterns.find(({ pattern }) => pattern.test(task))?.route ?? noRoute
      found.set(task, route)
    }
    return route
  }
}

const noRoute: Route = {}

function routeOf(route: string | Route | undefined): Route {
  if (route === undefined) return noRoute
  if (typeof route === 'string') return { queue: route }
  if (typeof route === 'object' && route !== null) return route
  throw new CeleriacError('CONFIG_INVALID', `a route must be a queue name or { queue, priority }, got ${String(route)}`)
}

/** `*` = any run of characters, `?` = any one, as in Celery's routes. */
function globPattern(glob: string): RegExp {
  const source = glob
    .replace(/[.+^${}()|[\]\\]/g, '\\$&')
    .replaceAll('*', '.*')
    .replaceAll('?', '.')
  return new RegExp(`^${source}$`, 's')
}
