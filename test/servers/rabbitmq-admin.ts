/** Steering a RabbitMQ node from outside: its management API, and rabbitmqctl. Works from any process of the run. */
import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'

/** Debian's wrappers in PATH change the user; the scripts themselves are here. */
export const rabbitmqPrograms =
  ['/usr/lib/rabbitmq/bin', '/opt/homebrew/sbin', '/usr/local/sbin'].find((folder) =>
    existsSync(join(folder, 'rabbitmq-server')),
  ) ?? ''

export interface RabbitmqAddress {
  readonly managementUrl: string
  readonly user: string
  readonly password: string
  /** Environment with which rabbitmqctl finds the node; undefined for one that was given by URL. */
  readonly ctlEnv: Readonly<Record<string, string>> | undefined
}

export async function rabbitmqApi(
  { managementUrl, user, password }: RabbitmqAddress,
  method: string,
  path: string,
  body?: object,
): Promise<unknown> {
  const response = await fetch(`${managementUrl}${path}`, {
    method,
    headers: {
      authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
      'content-type': 'application/json',
    },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  })
  const text = await response.text()
  if (!response.ok && !(method === 'DELETE' && response.status === 404)) {
    throw new Error(`${method} ${path} was answered with ${response.status}: ${text}`)
  }
  return text === '' || !response.ok ? undefined : JSON.parse(text)
}

export async function rabbitmqCtl({ ctlEnv }: RabbitmqAddress, args: readonly string[]): Promise<string> {
  if (ctlEnv === undefined) throw new Error('rabbitmqctl is for nodes that the tests started')
  const { stdout } = await promisify(execFile)(join(rabbitmqPrograms, 'rabbitmqctl'), ['-q', ...args], {
    env: { ...process.env, ...ctlEnv },
  })
  return stdout
}
