/**
 * One supervised connection. ioredis speaks the protocol; when to connect, whether the other side is alive and what to
 * do when it is not is decided here: `connecting → up → connecting …` until `close`.
 *
 * A connection is up only when the server can serve: it has loaded its data, and it is no replica. A socket on which
 * nothing was heard for a while is asked; one that does not answer is destroyed, since a half-open connection tells
 * nobody that it is.
 */
import { readFileSync } from 'node:fs'
import { type RedisOptions as AllRedisOptions, Command, Redis, ReplyError } from 'ioredis'
import type { Clock, Timer } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { ConnectionLost, isElsewhere, translate } from './failures.ts'
import type { Address, RedisSettings } from './settings.ts'

export interface ConnectionOptions {
  readonly settings: RedisSettings
  readonly clock: Clock
  readonly logger: Logger
  /** Shown by `CLIENT LIST`. */
  readonly name: string
  /** It waits in blocking commands, which keep a PING from being answered: whoever gives those sets their deadlines. */
  readonly blocks?: boolean
  /** Called whenever it is up, before anybody else may use it. Until it resolves the connection does not count as up. */
  readonly onUp?: (redis: Redis) => Promise<void> | void
  /** Called as soon as it counts as up, before whoever waits for that. */
  readonly onReady?: () => void
  readonly onDown?: () => void
}

/** `replyMapping` decides about types, and is not to be given by a variable. */
type RedisOptions = Omit<AllRedisOptions, 'replyMapping'>

export type Argument = string | number | Buffer

const connectTimeoutMs = 2_000
/** A socket that was silent for so long is asked, and has so long to answer. */
const silenceMs = 2_000
const answerMs = 1_500
const lookEveryMs = 500
const pauses = { firstMs: 50, longestMs: 1_000 }
/** RPOP with a count, BLMOVE, and `GET` within `SET`: 6.2. */
const oldestVersion = [6, 2] as const

export class RedisConnection {
  readonly #options: ConnectionOptions
  readonly #waiting = new Set<() => void>()
  #redis: Redis | undefined
  #connecting: Redis | undefined
  #lastError: unknown
  #heardAt = 0
  #askedAt: number | undefined
  #watch: Timer | undefined
  #isOpen = false
  #isClosed = false
  #endPause: () => void = () => undefined

  constructor(options: ConnectionOptions) {
    this.#options = options
  }

  /** Where it leads, for messages. */
  get where(): string {
    const { socketPath, addresses, mode, master } = this.#options.settings
    if (socketPath !== undefined) return socketPath
    const hosts = addresses.map(({ host, port }) => `${host}:${port}`).join(',')
    return mode === 'sentinel' ? `${master} (by ${hosts})` : hosts
  }

  get isUp(): boolean {
    return this.#redis !== undefined
  }

  /** Why it is not up. */
  get lastError(): CeleriacError {
    return translate(this.#lastError ?? new Error('it has not answered yet'), this.where)
  }

  /** Connects, and from then on stays connected as well as it can. Waits for nothing. */
  open(): void {
    if (this.#isOpen) return
    this.#isOpen = true
    void this.#connect()
  }

  /** Whether it is up within the time. */
  up(withinMs: number): Promise<boolean> {
    if (this.#redis !== undefined) return Promise.resolve(true)
    if (this.#isClosed) return Promise.resolve(false)
    return new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        this.#waiting.delete(done)
        resolve(this.#redis !== undefined)
      }
      // Keeps the process alive: somebody waits.
      const timer = setTimeout(done, withinMs)
      this.#waiting.add(done)
    })
  }

  /**
   * Runs a command on the connection there is.
   * @throws ConnectionLost it is not up, or broke before the answer
   * @throws the server's own error
   */
  send(name: string, args: readonly Argument[]): Promise<unknown> {
    const redis = this.#redis
    if (redis === undefined) return Promise.reject(new ConnectionLost('the connection is not up'))
    const command = new Command(name, args as Argument[], { replyEncoding: 'utf8' })
    return (redis.sendCommand(command) as Promise<unknown>).catch((error: unknown) => {
      // Only the server's own answers leave the connection in use: whatever else fails is the socket.
      if (!(error instanceof ReplyError) || isElsewhere(error)) this.drop(error)
      if (redis !== this.#redis && !(error instanceof ReplyError))
        throw new ConnectionLost('the connection broke', { cause: error })
      throw error
    })
  }

  /**
   * Runs commands as one. Nothing was done where it throws; a command that fails by its key's type alone is an error
   * among the replies.
   * @throws ConnectionLost @throws the server's own error
   */
  async transaction(commands: readonly (readonly [name: string, ...args: Argument[]])[]): Promise<unknown[]> {
    let refusal: unknown
    const notice = (error: unknown): void => {
      refusal ??= error
    }
    // Each written by itself: an idle server wakes up, and takes in what is long, while the rest is being written.
    this.send('MULTI', []).catch(notice)
    for (const [name, ...args] of commands) this.send(name, args).catch(notice)
    try {
      return (await this.send('EXEC', [])) as unknown[]
    } catch (error) {
      // The server says of EXEC only that something before it was refused.
      throw refusal ?? error
    }
  }

  /** Lets what is sent within leave in one system call: a few commands cost little beside as many calls. */
  together<T>(send: () => T): T {
    const stream = this.#redis?.stream
    if (stream === undefined) return send()
    stream.cork()
    try {
      return send()
    } finally {
      stream.uncork()
    }
  }

  /** Gives the present socket up; another is made. */
  drop(reason: unknown): void {
    const redis = this.#redis
    if (redis === undefined) return
    this.#lost(redis, reason)
  }

  close(): void {
    this.#isClosed = true
    this.#watch?.cancel()
    const redis = this.#redis
    this.#redis = undefined
    redis?.disconnect()
    this.#connecting?.disconnect()
    this.#endPause()
    for (const done of [...this.#waiting]) done()
  }

  async #connect(): Promise<void> {
    for (let failures = 0; !this.#isClosed; failures++) {
      try {
        const redis = await this.#attempt()
        if (this.#isClosed) return redis.disconnect()
        this.#arrived(redis)
        return
      } catch (error) {
        this.#lastError = error
        if (failures === 0) this.#options.logger.debug({ error, server: this.where }, 'no connection to Redis yet')
      }
      await this.#pause(failures)
    }
  }

  async #attempt(): Promise<Redis> {
    const { settings, onUp } = this.#options
    const redis = new Redis(await this.#redisOptions(settings))
    this.#connecting = redis
    redis.on('error', (error) => {
      this.#lastError = error
    })
    const deadline = setTimeout(() => redis.disconnect(), connectTimeoutMs + answerMs)
    deadline.unref()
    try {
      await redis.connect()
      await refuseUnfit(redis)
      await onUp?.(redis)
      if (redis.status !== 'ready') throw new ConnectionLost('the connection broke at once')
      return redis
    } catch (error) {
      redis.disconnect()
      const reason = this.#lastError
      throw error instanceof Error && error.message === 'Connection is closed.' && reason !== undefined ? reason : error
    } finally {
      clearTimeout(deadline)
      this.#connecting = undefined
    }
  }

  #arrived(redis: Redis): void {
    const { clock } = this.#options
    this.#redis = redis
    this.#lastError = undefined
    this.#heardAt = clock.monotonic()
    this.#askedAt = undefined
    redis.stream.on('data', () => {
      this.#heardAt = clock.monotonic()
      this.#askedAt = undefined
    })
    redis.once('close', () => this.#lost(redis, new ConnectionLost('the server closed the connection')))
    if (!this.#options.blocks) this.#look(redis)
    this.#options.onReady?.()
    for (const done of [...this.#waiting]) done()
  }

  /** Asks a silent server, and gives one up that does not answer. */
  #look(redis: Redis): void {
    const { clock } = this.#options
    this.#watch?.cancel()
    this.#watch = clock.after(lookEveryMs, () => {
      if (this.#redis !== redis) return
      const now = clock.monotonic()
      if (this.#askedAt !== undefined && now - this.#askedAt > answerMs) {
        return this.drop(new ConnectionLost(`the server did not answer for ${answerMs} ms`))
      }
      if (this.#askedAt === undefined && now - this.#heardAt > silenceMs) {
        this.#askedAt = now
        redis.ping().catch(() => undefined)
      }
      this.#look(redis)
    })
  }

  #lost(redis: Redis, reason: unknown): void {
    if (this.#redis !== redis || this.#isClosed) return
    this.#redis = undefined
    this.#lastError = reason
    this.#watch?.cancel()
    // Whatever is on its way on the old socket must not be answered after what the new one is told.
    redis.disconnect()
    redis.stream?.destroy()
    this.#options.logger.warn({ error: reason, server: this.where }, 'the connection to Redis broke; connecting again')
    this.#options.onDown?.()
    void this.#connect()
  }

  #pause(failures: number): Promise<void> {
    const ceiling = Math.min(pauses.longestMs, pauses.firstMs * 2 ** failures)
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(ceiling / 2 + (Math.random() * ceiling) / 2, resolve)
      this.#endPause = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  async #redisOptions(settings: RedisSettings): Promise<RedisOptions> {
    const { username, password, db, socketPath, mode } = settings
    const own: RedisOptions = {
      ...bare(settings),
      ...(username !== undefined && { username }),
      ...(password !== undefined && { password }),
      db,
      connectionName: this.#options.name,
    }
    if (socketPath !== undefined) return { ...own, path: socketPath }
    if (mode === 'server') return { ...own, ...nth(settings.addresses, 0) }
    return { ...own, ...(await (mode === 'sentinel' ? masterOf(settings) : ownerOf(settings))) }
  }
}

function nth(addresses: readonly Address[], index: number): Address {
  return addresses[index % addresses.length] as Address
}

/** No repetition, queueing or reconnecting by ioredis. */
function bare({ tls }: RedisSettings): RedisOptions {
  return {
    // 3 would bring the invalidations of CLIENT TRACKING as pushes, which ioredis drops.
    protocol: 2,
    lazyConnect: true,
    retryStrategy: () => null,
    enableOfflineQueue: false,
    enableReadyCheck: false,
    autoResubscribe: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    connectTimeout: connectTimeoutMs,
    ...(tls !== undefined && {
      tls: {
        rejectUnauthorized: tls.rejectUnauthorized,
        ...(tls.ca !== undefined && { ca: readFileSync(tls.ca) }),
        ...(tls.cert !== undefined && { cert: readFileSync(tls.cert) }),
        ...(tls.key !== undefined && { key: readFileSync(tls.key) }),
      },
    }),
  }
}

/** @throws CeleriacError what will not mend by itself; Error what may */
async function refuseUnfit(redis: Redis): Promise<void> {
  let info: string
  try {
    info = await redis.info()
  } catch (error) {
    if (/^NOPERM/.test((error as Error).message)) return
    throw error
  }
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1] ?? ''
  const version = field('redis_version')
  const [major = 0, minor = 0] = version.split('.').map(Number)
  if (major < oldestVersion[0] || (major === oldestVersion[0] && minor < oldestVersion[1])) {
    throw new CeleriacError('UNSUPPORTED', `Redis ${version} is too old; ${oldestVersion.join('.')} or newer is needed`)
  }
  if (field('loading') === '1') throw new Error('LOADING the server is still loading its data')
  if (field('role') === 'slave') throw new Error('READONLY the server is a replica, and takes no writes')
}

/** Asks one sentinel after the other where the master is. */
async function masterOf(settings: RedisSettings): Promise<Address> {
  const { master = '', sentinelPassword } = settings
  return firstAnswer(settings, sentinelPassword, async (redis) => {
    const found = (await redis.call('SENTINEL', 'get-master-addr-by-name', master)) as [string, string] | null
    if (found === null) throw new Error(`the sentinel does not know the master '${master}'`)
    return { host: found[0], port: Number(found[1]) }
  })
}

/** Asks one node after the other which of them has the slot of our keys. */
async function ownerOf(settings: RedisSettings): Promise<Address> {
  return firstAnswer(settings, settings.password, async (redis) => {
    const slot = Number(await redis.call('CLUSTER', 'KEYSLOT', settings.prefix))
    const ranges = (await redis.call('CLUSTER', 'SLOTS')) as [number, number, [string, number]][]
    const range = ranges.find(([from, to]) => from <= slot && slot <= to)
    if (range === undefined) throw new Error(`CLUSTERDOWN no node has slot ${slot}`)
    const [, , [host, port]] = range
    return { host: host || redis.options.host || '127.0.0.1', port: Number(port) }
  })
}

async function firstAnswer(
  settings: RedisSettings,
  password: string | undefined,
  ask: (redis: Redis) => Promise<Address>,
): Promise<Address> {
  let failure: unknown
  for (const address of settings.addresses) {
    const redis = new Redis({ ...bare(settings), ...address, ...(password !== undefined && { password }) })
    redis.on('error', (error) => {
      failure = error
    })
    const deadline = setTimeout(() => redis.disconnect(), connectTimeoutMs)
    try {
      await redis.connect()
      return await ask(redis)
    } catch (error) {
      failure ??= error
    } finally {
      clearTimeout(deadline)
      redis.disconnect()
    }
  }
  throw failure
}
