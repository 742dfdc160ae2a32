/** Who asks: logging in and out, and who one is. */
import { z } from 'zod'
import type { Guard } from '../../auth/guard.ts'
import type { ApiParts } from '../parts.ts'
import { NotAdmitted, type Route, route } from '../route.ts'
import { Me } from '../shapes.ts'

const tag = 'accounts'

export function accountRoutes({ isReadOnly }: ApiParts, guard: Guard): Route[] {
  return [
    route({ method: 'get', path: '/me', tag, summary: 'Who I am', role: 'viewer', reply: Me }, ({ user, session }) => ({
      ...user,
      readOnly: isReadOnly,
      canLogOut: session.value !== undefined && guard.hasSession(session.value),
    })),
    route(
      {
        ...{ method: 'post', path: '/login', tag, role: 'anybody' },
        summary: 'Begins a session of 12 hours: the answer sets its cookie',
        body: z.strictObject({ name: z.string().min(1).max(100), password: z.string().min(1).max(1_024) }),
        reply: Me,
      },
      async ({ body: { name, password }, address, session }) => {
        const admitted = await guard.login(name, password, address)
        if ('refused' in admitted) throw new NotAdmitted(admitted.refused, admitted.message)
        session.set(admitted.session)
        return { ...admitted.user, readOnly: isReadOnly, canLogOut: true }
      },
    ),
    route(
      {
        ...{ method: 'post', path: '/logout', tag, role: 'anybody', summary: 'Ends the session' },
        reply: z.object({}),
      },
      ({ session }) => {
        if (session.value !== undefined) guard.logout(session.value)
        session.set(null)
        return {}
      },
    ),
  ]
}
