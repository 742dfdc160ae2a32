/** What amqplib and the server say, as our errors. Nothing above this folder sees theirs. */
import { CeleriacError } from '../../errors.ts'
import type { RabbitmqSettings } from './settings.ts'

/** AMQP's reply codes (specification 0-9-1, section 1.2) that we tell apart. */
export const replyCodes = {
  accessRefused: 403,
  notFound: 404,
  resourceLocked: 405,
  preconditionFailed: 406,
} as const

/** A try to connect that failed. Whether it can mend itself is for the caller: everything can, at times. */
export function connectFailure(error: unknown, { name, user, vhost }: RabbitmqSettings): CeleriacError {
  const cause = error as Error & { code?: unknown }
  if (/Handshake terminated by server: 403|ACCESS_REFUSED/.test(cause.message)) {
    const message = `RabbitMQ at ${name} refused the login of user '${user}'; check the user and the password in the URL`
    return new CeleriacError('BROKER_AUTH', message, { cause })
  }
  if (/Expected ConnectionOpenOk/.test(cause.message)) {
    const message =
      `RabbitMQ at ${name} has no vhost '${vhost}', or user '${user}' may not use it; ` +
      `create it (rabbitmqctl add_vhost) and permit it (rabbitmqctl set_permissions -p '${vhost}' '${user}' '.*' '.*' '.*')`
    return new CeleriacError('BROKER_AUTH', message, { cause })
  }
  if (typeof cause.code === 'string' && /CERT|TLS|SSL|SIGNATURE/.test(cause.code)) {
    const message = `the TLS certificate of RabbitMQ at ${name} was not accepted (${cause.message}); name its authority with ?ca=`
    return new CeleriacError('BROKER_UNAVAILABLE', message, { cause })
  }
  return new CeleriacError('BROKER_UNAVAILABLE', `RabbitMQ at ${name} cannot be reached: ${reasonOf(cause)}`, { cause })
}

/** A request that the server refused, by closing its channel. */
export function requestFailure(error: unknown, what: string): CeleriacError {
  if (error instanceof CeleriacError) return error
  const cause = error as Error
  const code = replyCodeOf(cause)
  if (code === replyCodes.accessRefused) {
    return new CeleriacError('BROKER_AUTH', `RabbitMQ does not permit ${what}: ${cause.message}`, { cause })
  }
  return new CeleriacError('BROKER_UNAVAILABLE', `RabbitMQ did not take ${what}: ${cause.message}`, { cause })
}

/** The reply code of a close by the server, where there was one. */
export function replyCodeOf(error: unknown): number | undefined {
  const { code } = error as { code?: unknown }
  return typeof code === 'number' ? code : undefined
}

/** Node gathers the failures of a name's several addresses into an error whose own message is empty. */
function reasonOf(error: Error & { code?: unknown; errors?: readonly Error[] }): string {
  return error.message || error.errors?.[0]?.message || String(error.code ?? error.name)
}
