/** Who sends a request, as far as the request tells. */
import type { IncomingMessage } from 'node:http'
import type { Context } from 'hono'
import { getCookie } from 'hono/cookie'
import type { Asking } from '../auth/guard.ts'

export interface HttpEnv {
  Bindings: { readonly incoming: IncomingMessage }
}

export const sessionCookie = 'celeriac_session'

export function askingOf(context: Context<HttpEnv>): Asking {
  return {
    address: context.env.incoming.socket.remoteAddress ?? '',
    method: context.req.method,
    header: (name) => context.req.header(name),
    cookie: getCookie(context, sessionCookie),
  }
}
