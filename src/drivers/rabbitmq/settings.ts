/**
 * What an `amqp://` URL says. The form is RabbitMQ's own (https://www.rabbitmq.com/docs/uri-spec and
 * /docs/uri-query-parameters), with several hosts after each other for a cluster.
 */
import { readFileSync } from 'node:fs'
import type { ConnectionOptions } from 'node:tls'
import { CeleriacError } from '../../errors.ts'
import { nearest } from '../../nearest.ts'

export interface Host {
  readonly host: string
  readonly port: number
}

export interface RabbitmqSettings {
  /** At least one; tried in turn. */
  readonly hosts: readonly Host[]
  /** Undefined = plain TCP. */
  readonly tls: ConnectionOptions | undefined
  readonly user: string
  readonly password: string
  readonly vhost: string
  /** In seconds; undefined takes what the server suggests. */
  readonly heartbeatS: number | undefined
  /** How long one try to connect may take, login included, in ms. */
  readonly connectTimeoutMs: number
  /** What kind of queues are declared here. */
  readonly queueType: 'classic' | 'quorum'
  /** `x-max-priority` of the queues declared here; undefined = none. */
  readonly maxPriority: number | undefined
  /** Where the management API is, with a user where it has another one; undefined = at its usual port. */
  readonly management: URL | undefined
  /** The URL without user and password, for messages. */
  readonly name: string
}

const parameters = [
  'heartbeat',
  'connection_timeout',
  'queue_type',
  'max_priority',
  'management',
  'ca',
  'cert',
  'key',
  'servername',
  'verify',
] as const

const tlsParameters: readonly string[] = ['ca', 'cert', 'key', 'servername', 'verify']
const defaultConnectTimeoutMs = 4_000

/** @throws CeleriacError `CONFIG_INVALID` naming the part that cannot work */
export function parseUrl(url: string): RabbitmqSettings {
  const match = /^(amqps?):\/\/(?:([^@/]*)@)?([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i.exec(url)
  if (match === null) throw invalid('it is not of the form amqp://user:password@host:port/vhost')
  const [, scheme = '', credentials, hosts = '', path = '', query = ''] = match
  const isTls = scheme.toLowerCase() === 'amqps'
  const [user = 'guest', password = 'guest'] = credentials === undefined ? [] : splitCredentials(credentials)
  const options = readQuery(query)
  const vhost = path.length > 1 ? decode(path.slice(1), 'vhost') : '/'
  return {
    hosts: hosts.split(',').map((host) => readHost(host, isTls ? 5671 : 5672)),
    tls: isTls ? readTls(options) : refuseTls(options),
    user,
    password,
    vhost,
    heartbeatS: wholeOption(options, 'heartbeat', 0, 65_535),
    connectTimeoutMs: wholeOption(options, 'connection_timeout', 1, 600_000) ?? defaultConnectTimeoutMs,
    queueType: readQueueType(options),
    maxPriority: wholeOption(options, 'max_priority', 1, 255),
    management: readManagement(options),
    name: `${scheme.toLowerCase()}://${hosts === '' ? 'localhost' : hosts}/${vhost === '/' ? '' : vhost}`,
  }
}

function splitCredentials(credentials: string): [string, string] {
  const colon = credentials.indexOf(':')
  if (colon < 0) return [decode(credentials, 'user'), '']
  return [decode(credentials.slice(0, colon), 'user'), decode(credentials.slice(colon + 1), 'password')]
}

function readHost(text: string, defaultPort: number): Host {
  const match = /^(\[[^\]]+\]|[^:]*)(?::(.*))?$/.exec(text.trim())
  if (match === null) throw invalid(`'${text}' is not a host`)
  const [, host = '', portText] = match
  const port = portText === undefined || portText === '' ? defaultPort : Number(portText)
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw invalid(`'${portText}' is not a port`)
  return { host: host === '' ? 'localhost' : host.replace(/^\[|\]$/g, ''), port }
}

function readQuery(query: string): Map<string, string> {
  const options = new Map<string, string>()
  for (const pair of query.split('&').filter((part) => part !== '')) {
    const [name = '', value = ''] = pair.split(/=(.*)/s)
    if (!(parameters as readonly string[]).includes(name)) {
      const guess = nearest(name, parameters)
      throw invalid(
        `it has an unknown parameter '${name}'; ${guess === undefined ? `known: ${parameters.join(', ')}` : `did you mean '${guess}'?`}`,
      )
    }
    options.set(name, decode(value, name))
  }
  return options
}

function wholeOption(options: Map<string, string>, name: string, min: number, max: number): number | undefined {
  const text = options.get(name)
  if (text === undefined) return undefined
  const value = Number(text)
  if (text === '' || !Number.isInteger(value) || value < min || value > max) {
    throw invalid(`'${name}' must be a whole number from ${min} to ${max}, got '${text}'`)
  }
  return value
}

function readQueueType(options: Map<string, string>): 'classic' | 'quorum' {
  const type = options.get('queue_type') ?? 'classic'
  if (type !== 'classic' && type !== 'quorum') throw invalid(`'queue_type' must be classic or quorum, got '${type}'`)
  if (type === 'quorum' && options.has('max_priority')) {
    throw invalid("'max_priority' is for classic queues; quorum queues know no such argument")
  }
  return type
}

function readManagement(options: Map<string, string>): URL | undefined {
  const text = options.get('management')
  if (text === undefined) return undefined
  if (!/^https?:/i.test(text) || !URL.canParse(text)) {
    throw invalid(`'management' must be a URL such as http://rabbit:15672, got '${text}'`)
  }
  return new URL(text)
}

function readTls(options: Map<string, string>): ConnectionOptions {
  const verify = options.get('verify') ?? 'true'
  if (verify !== 'true' && verify !== 'false') throw invalid(`'verify' must be true or false, got '${verify}'`)
  const servername = options.get('servername')
  return {
    ...readPem(options, 'ca'),
    ...readPem(options, 'cert'),
    ...readPem(options, 'key'),
    ...(servername !== undefined && { servername }),
    rejectUnauthorized: verify === 'true',
  }
}

function refuseTls(options: Map<string, string>): undefined {
  const name = tlsParameters.find((parameter) => options.has(parameter))
  if (name !== undefined) throw invalid(`'${name}' is for amqps:// URLs`)
}

function readPem(options: Map<string, string>, name: 'ca' | 'cert' | 'key'): ConnectionOptions {
  const path = options.get(name)
  if (path === undefined) return {}
  try {
    return { [name]: readFileSync(path) }
  } catch (cause) {
    throw invalid(`the file of '${name}' cannot be read: ${(cause as Error).message}`, cause)
  }
}

function decode(text: string, part: string): string {
  try {
    return decodeURIComponent(text)
  } catch (cause) {
    throw invalid(`its ${part} is not percent-encoded correctly`, cause)
  }
}

function invalid(what: string, cause?: unknown): CeleriacError {
  return new CeleriacError('CONFIG_INVALID', `the RabbitMQ URL cannot be used: ${what}`, { cause })
}
