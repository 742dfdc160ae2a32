/** What a Redis URL says. */
import { CeleriacError } from '../../errors.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface RedisSettings {
  /** Where to find the server: itself, the sentinels that know it, or nodes of a cluster. */
  readonly mode: 'server' | 'sentinel' | 'cluster'
  readonly addresses: readonly Address[]
  /** Path of a unix socket, instead of an address. */
  readonly socketPath: string | undefined
  /** Name of the master the sentinels watch. */
  readonly master: string | undefined
  readonly username: string | undefined
  readonly password: string | undefined
  readonly sentinelPassword: string | undefined
  readonly db: number
  /** Before every key and channel: kombu's `global_keyprefix`. In a cluster a hash tag, so that all keys share a slot. */
  readonly prefix: string
  /** After so long Python takes a message back from a worker that has not acknowledged it; all must agree. In ms. */
  readonly visibilityTimeoutMs: number
  readonly tls: TlsSettings | undefined
}

export interface TlsSettings {
  /** Paths of PEM files. */
  readonly ca: string | undefined
  readonly cert: string | undefined
  readonly key: string | undefined
  readonly rejectUnauthorized: boolean
}

const schemes: Readonly<Record<string, { mode: RedisSettings['mode']; tls: boolean; port: number }>> = {
  redis: { mode: 'server', tls: false, port: 6379 },
  rediss: { mode: 'server', tls: true, port: 6379 },
  'redis+socket': { mode: 'server', tls: false, port: 0 },
  'redis+cluster': { mode: 'cluster', tls: false, port: 6379 },
  'rediss+cluster': { mode: 'cluster', tls: true, port: 6379 },
  sentinel: { mode: 'sentinel', tls: false, port: 26_379 },
}

const parameters = [
  'db',
  'prefix',
  'visibility_timeout',
  'master',
  'sentinel_password',
  'ca',
  'cert',
  'key',
  'rejectUnauthorized',
]
const clusterPrefix = '{celeriac}:'
/** kombu's. */
const defaultVisibilityS = 3_600

/** @throws CeleriacError `CONFIG_INVALID` naming the part */
export function readUrl(url: string): RedisSettings {
  const match = /^([a-z+]+):\/\/(?:([^@/]*)@)?([^/?]*)(\/[^?]*)?(?:\?(.*))?$/i.exec(firstForm(url))
  const scheme = schemes[match?.[1]?.toLowerCase() ?? '']
  if (match === null || scheme === undefined) throw invalid('it is not of the form redis://user:password@host:port/db')
  const [, name = '', login = '', hosts = '', path = '', query = ''] = match
  const options = readQuery(query)
  const isSocket = name.toLowerCase() === 'redis+socket'
  const [username, password] = readLogin(login)
  return {
    mode: scheme.mode,
    addresses: isSocket ? [] : readHosts(hosts, scheme.port),
    socketPath: isSocket ? readSocketPath(path) : undefined,
    master: readMaster(scheme.mode, options.get('master')),
    username,
    password,
    sentinelPassword: options.get('sentinel_password'),
    db: readDb(scheme.mode, isSocket ? (options.get('db') ?? '') : path.slice(1)),
    prefix: readPrefix(scheme.mode, options.get('prefix')),
    visibilityTimeoutMs: readSeconds(options.get('visibility_timeout'), defaultVisibilityS) * 1_000,
    tls: scheme.tls ? readTls(options) : undefined,
  }
}

/** kombu separates sentinels by `;` and repeats the scheme: `sentinel://a:26379;sentinel://b:26379/0`. */
function firstForm(url: string): string {
  return url.replace(/;[a-z+]+:\/\//gi, ',')
}

function readQuery(query: string): Map<string, string> {
  const options = new Map(new URLSearchParams(query))
  const unknown = [...options.keys()].find((key) => !parameters.includes(key))
  if (unknown !== undefined) throw invalid(`the parameter '${unknown}' is unknown; known: ${parameters.join(', ')}`)
  return options
}

function readLogin(login: string): [username: string | undefined, password: string | undefined] {
  const [username = '', ...rest] = login.split(':')
  return [decoded(username), decoded(rest.join(':'))]
}

function decoded(text: string): string | undefined {
  try {
    return text === '' ? undefined : decodeURIComponent(text)
  } catch {
    throw invalid('its user or password is not percent-encoded')
  }
}

function readHosts(hosts: string, defaultPort: number): Address[] {
  return hosts.split(',').map((text) => {
    const [, host, port = String(defaultPort)] = /^(\[[^\]]+\]|[^:]*)(?::(\d+))?$/.exec(text.replace(/^.*@/, '')) ?? []
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535) throw invalid(`'${text}' is not host:port`)
    return { host: host.replace(/^\[|\]$/g, '') || '127.0.0.1', port: Number(port) }
  })
}

function readSocketPath(path: string): string {
  if (path === '' || path === '/') throw invalid('the path of the socket is missing: redis+socket:///run/redis.sock')
  return decoded(path) as string
}

function readMaster(mode: RedisSettings['mode'], master: string | undefined): string | undefined {
  if (mode === 'sentinel' && !master) throw invalid('it does not name the master: sentinel://host:26379/0?master=name')
  return master
}

function readDb(mode: RedisSettings['mode'], text: string): number {
  if (text === '') return 0
  const db = Number(text)
  if (!Number.isInteger(db) || db < 0) throw invalid(`'${text}' is not the number of a database`)
  if (mode === 'cluster' && db !== 0) throw invalid('a cluster has only database 0')
  return db
}

function readPrefix(mode: RedisSettings['mode'], prefix: string | undefined): string {
  if (mode !== 'cluster') return prefix ?? ''
  if (prefix !== undefined && !/\{[^}]+\}/.test(prefix)) {
    throw invalid("a prefix in a cluster must contain a hash tag, such as '{shop}:', for all keys to share a slot")
  }
  return prefix ?? clusterPrefix
}

function readSeconds(text: string | undefined, otherwise: number): number {
  if (text === undefined) return otherwise
  const seconds = Number(text)
  if (!(seconds > 0)) throw invalid(`visibility_timeout must be seconds, got '${text}'`)
  return seconds
}

function readTls(options: ReadonlyMap<string, string>): TlsSettings {
  const rejectUnauthorized = options.get('rejectUnauthorized') ?? 'true'
  if (!['true', 'false'].includes(rejectUnauthorized)) throw invalid('rejectUnauthorized must be true or false')
  return {
    ca: options.get('ca'),
    cert: options.get('cert'),
    key: options.get('key'),
    rejectUnauthorized: rejectUnauthorized === 'true',
  }
}

function invalid(what: string): CeleriacError {
  return new CeleriacError('CONFIG_INVALID', `the URL of the Redis server cannot be used: ${what}`)
}
