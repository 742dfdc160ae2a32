/**
 * Who a request is from, and whether it is to be trusted. Users come by their password (Basic, or a session's cookie),
 * programs by a bearer token, those behind a proxy by a header that only the proxy may set. Where nobody is named, the
 * monitor listens to this machine alone, and who is on it may do everything.
 *
 * Against other sites in a user's browser: what changes something must come from a page of ours (`Sec-Fetch-Site`, else
 * `Origin`), and requests must name a host that is ours, so that no foreign name can be pointed at this machine.
 */
import { createHash, randomBytes } from 'node:crypto'
import { BlockList, isIP } from 'node:net'
import type { Clock } from '../../clock.ts'
import { newToken, verify, verifyNobody } from './passwords.ts'
import type { KnownUser, Role, User } from './users.ts'

export interface GuardSettings {
  /** Undefined = nobody has to say who he is. */
  readonly users: readonly KnownUser[] | undefined
  readonly proxy: ProxySettings | undefined
  /** Hosts in URLs of this monitor, beside those of this machine; undefined lets any pass, where users are named. */
  readonly hosts: readonly string[] | undefined
}

export interface ProxySettings {
  /** Header with the user's name. */
  readonly header: string
  /** Addresses, or networks such as `10.0.0.0/8`, that may set it. */
  readonly from: readonly string[]
  /** Of users that are not in the file. */
  readonly role: Role
}

/** What is looked at of a request. Names of headers in lower case. */
export interface Asking {
  readonly address: string
  readonly method: string
  header(name: string): string | undefined
  readonly cookie: string | undefined
}

export type Refusal = 'unknown' | 'wait' | 'cross-site' | 'host'

export type Admission = { readonly user: User } | { readonly refused: Refusal; readonly message: string }

const sessionMs = 12 * 3_600_000
const maxSessions = 1_000
/** Checked passwords need not be checked again for each request: that is slow on purpose. */
const rememberedMs = 5 * 60_000
const maxRemembered = 1_000
/** Wrong secrets from one address, until it has to wait. */
const maxFailures = 8
const failuresMs = 60_000
const maxAddresses = 10_000
/** Slow hashes that may be computed at once; each takes a thread and 64 MiB. */
const maxChecks = 4

const localUser: User = { name: 'local', role: 'admin' }
const isSafe = (method: string): boolean => method === 'GET' || method === 'HEAD'

export class Guard {
  readonly #settings: GuardSettings
  readonly #clock: Clock
  readonly #proxies = new BlockList()
  readonly #sessions = new Map<string, { readonly user: User; readonly untilMs: number }>()
  readonly #remembered = new Map<string, { readonly user: User; readonly untilMs: number }>()
  readonly #failures = new Map<string, { count: number; readonly untilMs: number }>()
  /** So that what is remembered of a password is of no use elsewhere. */
  readonly #pepper = randomBytes(32)
  #checks = 0

  constructor(settings: GuardSettings, clock: Clock) {
    this.#settings = settings
    this.#clock = clock
    for (const network of settings.proxy?.from ?? []) addNetwork(this.#proxies, network)
  }

  /** Whether anybody has to say who he is. */
  get asksForUsers(): boolean {
    return this.#settings.users !== undefined || this.#settings.proxy !== undefined
  }

  /** Where it comes from: behind a proxy, what the proxy says. */
  clientOf({ address, header }: Pick<Asking, 'address' | 'header'>): string {
    const said = this.#isProxy(address) ? header('x-forwarded-for')?.split(',').at(-1)?.trim() : undefined
    return said !== undefined && isIP(said) !== 0 ? said : plainAddress(address)
  }

  /** Of somebody who need not say who he is; undefined lets him in. */
  refusalOf(asking: Asking): Exclude<Admission, { user: User }> | undefined {
    if (!this.#isOurHost(asking)) return foreignHost
    return !isSafe(asking.method) && isCrossSite(asking, false) ? crossSite : undefined
  }

  hasSession(session: string): boolean {
    return this.#sessionOf(session) !== undefined
  }

  async admit(asking: Asking): Promise<Admission> {
    if (!this.#isOurHost(asking)) return foreignHost
    const user = await this.#userOf(asking)
    if ('refused' in user) return user
    return !isSafe(asking.method) && isCrossSite(asking, user.byCookie) ? crossSite : user
  }

  /** @returns the session's cookie value */
  async login(
    name: string,
    password: string,
    address: string,
  ): Promise<{ session: string; user: User } | Exclude<Admission, { user: User }>> {
    const checked = await this.#checkPassword(name, password, address)
    if ('refused' in checked) return checked
    const session = newToken()
    keepBounded(this.#sessions, maxSessions)
    this.#sessions.set(digest(session), { user: checked.user, untilMs: this.#clock.monotonic() + sessionMs })
    return { session, user: checked.user }
  }

  logout(session: string): void {
    this.#sessions.delete(digest(session))
  }

  async #userOf(
    asking: Asking,
  ): Promise<(Admission & { user: User; byCookie: boolean }) | Exclude<Admission, { user: User }>> {
    const { proxy } = this.#settings
    if (!this.asksForUsers) return { user: localUser, byCookie: false }
    const byProxy = proxy !== undefined && this.#isProxy(asking.address) ? asking.header(proxy.header) : undefined
    if (proxy !== undefined && byProxy !== undefined && byProxy !== '') {
      const known = this.#settings.users?.find(({ name }) => name === byProxy)
      // The browser has logged in at the proxy, mostly by a cookie of its own.
      return { user: { name: byProxy.slice(0, 255), role: known?.role ?? proxy.role }, byCookie: true }
    }
    const sessionUser = asking.cookie === undefined ? undefined : this.#sessionOf(asking.cookie)
    if (sessionUser !== undefined) return { user: sessionUser, byCookie: true }
    const client = this.clientOf(asking)
    const [, scheme = '', credentials = ''] =
      /^(Bearer|Basic) +([\w.~+/=-]+)$/i.exec(asking.header('authorization') ?? '') ?? []
    if (scheme.toLowerCase() === 'bearer') return this.#checkToken(credentials, client)
    if (scheme.toLowerCase() === 'basic') {
      const text = Buffer.from(credentials, 'base64').toString('utf8')
      const colon = text.indexOf(':')
      const checked = await this.#checkPassword(text.slice(0, Math.max(0, colon)), text.slice(colon + 1), client)
      // Browsers send it by themselves, as they do cookies.
      return 'refused' in checked ? checked : { ...checked, byCookie: true }
    }
    return { refused: 'unknown', message: 'say who you are: a user and password, or a bearer token' }
  }

  #sessionOf(session: string): User | undefined {
    const known = this.#sessions.get(digest(session))
    return known !== undefined && known.untilMs > this.#clock.monotonic() ? known.user : undefined
  }

  async #checkToken(
    token: string,
    address: string,
  ): Promise<{ user: User; byCookie: boolean } | Exclude<Admission, { user: User }>> {
    if (this.#mustWait(address)) return tooMany
    for (const { name, role, hash } of this.#settings.users ?? []) {
      if (hash.startsWith('sha256$') && (await verify(token, hash))) return { user: { name, role }, byCookie: false }
    }
    this.#noteFailure(address)
    return { refused: 'unknown', message: 'nobody has this token' }
  }

  async #checkPassword(
    name: string,
    password: string,
    address: string,
  ): Promise<{ user: User } | Exclude<Admission, { user: User }>> {
    const key = createHash('sha256').update(this.#pepper).update(`${name.length}:${name}${password}`).digest('base64')
    const remembered = this.#remembered.get(key)
    if (remembered !== undefined && remembered.untilMs > this.#clock.monotonic()) return { user: remembered.user }
    if (this.#mustWait(address) || this.#checks >= maxChecks) return tooMany
    const known = this.#settings.users?.find((user) => user.name === name && user.hash.startsWith('scrypt$'))
    this.#checks += 1
    const isRight = await (known === undefined ? verifyNobody(password) : verify(password, known.hash)).finally(() => {
      this.#checks -= 1
    })
    if (known === undefined || !isRight) {
      this.#noteFailure(address)
      return { refused: 'unknown', message: 'the user or the password is wrong' }
    }
    const user = { name: known.name, role: known.role }
    keepBounded(this.#remembered, maxRemembered)
    this.#remembered.set(key, { user, untilMs: this.#clock.monotonic() + rememberedMs })
    return { user }
  }

  #mustWait(address: string): boolean {
    const failures = this.#failures.get(address)
    if (failures === undefined) return false
    if (failures.untilMs > this.#clock.monotonic()) return failures.count >= maxFailures
    this.#failures.delete(address)
    return false
  }

  #noteFailure(address: string): void {
    const failures = this.#failures.get(address)
    if (failures !== undefined) {
      failures.count += 1
      return
    }
    keepBounded(this.#failures, maxAddresses)
    this.#failures.set(address, { count: 1, untilMs: this.#clock.monotonic() + failuresMs })
  }

  #isProxy(address: string): boolean {
    const plain = plainAddress(address)
    const family = isIP(plain)
    return family !== 0 && this.#proxies.check(plain, family === 6 ? 'ipv6' : 'ipv4')
  }

  #isOurHost(asking: Asking): boolean {
    const { hosts } = this.#settings
    if (hosts === undefined && this.asksForUsers) return true
    const host = hostIn(asking.header('host') ?? '')
    // An address cannot be pointed elsewhere; a name can.
    return host === 'localhost' || host.endsWith('.localhost') || isIP(host) !== 0 || (hosts ?? []).includes(host)
  }
}

const foreignHost = {
  refused: 'host',
  message: 'this name is not one of the monitor; start it with --allowed-host NAME',
} as const
const crossSite = { refused: 'cross-site', message: 'a page of another site may not change anything here' } as const
const tooMany = { refused: 'wait', message: 'too many wrong passwords or logins at once; wait a minute' } as const

/**
 * Browsers say where a request comes from. A program that says nothing is none that can be misled, unless it shows what
 * browsers send by themselves.
 */
function isCrossSite(asking: Asking, byCookie: boolean): boolean {
  const site = asking.header('sec-fetch-site')
  if (site !== undefined) return site !== 'same-origin' && site !== 'none'
  const origin = asking.header('origin')
  if (origin === undefined) return byCookie && asking.cookie !== undefined
  return !URL.canParse(origin) || new URL(origin).host !== (asking.header('host') ?? '').toLowerCase()
}

/** Without the port and the brackets. */
function hostIn(header: string): string {
  const [, inBrackets, plain] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d+)?$/.exec(header.toLowerCase()) ?? []
  return inBrackets ?? plain ?? ''
}

function addNetwork(list: BlockList, network: string): void {
  const [address = '', bits] = network.split('/')
  const type = isIP(address) === 6 ? 'ipv6' : 'ipv4'
  if (bits === undefined) list.addAddress(address, type)
  else list.addSubnet(address, Number(bits), type)
}

/** `::ffff:127.0.0.1` is an address of IPv4. */
function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice('::ffff:'.length) : address
}

function digest(text: string): string {
  return createHash('sha256').update(text).digest('base64')
}

function keepBounded<Value>(map: Map<string, Value>, most: number): void {
  if (map.size >= most) map.delete(map.keys().next().value as string)
}
