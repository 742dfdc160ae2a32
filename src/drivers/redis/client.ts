/**
 * What broker, bus, results, locks and limits of an application share: one connection for commands, one for subscriptions, and
 * the settings. It opens with its first user and closes with its last.
 */
import { randomUUID } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { type Argument, type ConnectionOptions, RedisConnection } from './connection.ts'
import { ConnectionLost, isPassing, replyCode, translate } from './failures.ts'
import { Journal, journalScripts, type Plain } from './journal.ts'
import { defineScript, type Script } from './script.ts'
import { type RedisSettings, readUrl } from './settings.ts'
import { type Channels, type Listener, Subscriber } from './subscriber.ts'

export { defineScript, type Script }

export interface RedisClientOptions {
  /** `redis://`, `rediss://`, `redis+socket://`, `redis+cluster://`, `rediss+cluster://` or `sentinel://` */
  readonly url: string
  /** How long results are kept, in ms; Infinity keeps them. */
  readonly resultExpiresMs: number
  /** How long a call waits for a server that cannot be reached, in ms. */
  readonly publishTimeoutMs: number
  readonly clock: Clock
  readonly logger: Logger
}

/** A first connection that is not there after so long will hardly come. */
const openWithinMs = 5_000
const lookAtOpeningMs = 50
const repeatPauseMs = 100
/** A second time they would be heard a second time. */
const notRepeatable = new Set(['PUBLISH'])

export class RedisClient {
  /** Names this client among all that use the server. */
  readonly id = randomUUID()
  readonly url: string
  readonly settings: RedisSettings
  readonly resultExpiresMs: number
  readonly publishTimeoutMs: number
  readonly clock: Clock
  readonly logger: Logger
  readonly #onUp = new Set<() => void>()
  #commands: RedisConnection | undefined
  #subscriptions: RedisConnection | undefined
  #journal: Journal | undefined
  #subscriber: Subscriber | undefined
  #users = 0
  #opening: Promise<void> | undefined

  /** @throws CeleriacError `CONFIG_INVALID` */
  constructor(options: RedisClientOptions) {
    this.url = options.url
    this.settings = readUrl(options.url)
    this.resultExpiresMs = options.resultExpiresMs
    this.publishTimeoutMs = options.publishTimeoutMs
    this.clock = options.clock
    this.logger = options.logger
  }

  /** Before every key and channel. */
  get prefix(): string {
    return this.settings.prefix
  }

  get db(): number {
    return this.settings.db
  }

  get where(): string {
    return this.#live.where
  }

  /** Each user opens it once. @throws CeleriacError `BROKER_UNAVAILABLE`, `BROKER_AUTH`, `UNSUPPORTED` */
  async open(): Promise<void> {
    this.#users += 1
    this.#opening ??= this.#openConnections()
    try {
      await this.#opening
    } catch (error) {
      await this.close()
      throw error
    }
  }

  /** And closes it once. */
  async close(): Promise<void> {
    this.#users -= 1
    if (this.#users > 0) return
    this.#journal?.close()
    this.#commands?.close()
    this.#subscriptions?.close()
    this.#journal = undefined
    this.#commands = undefined
    this.#subscriptions = undefined
    this.#subscriber = undefined
    this.#opening = undefined
  }

  /** A further connection with the same settings, to be opened and closed by the caller. */
  connection(
    name: string,
    options: Pick<ConnectionOptions, 'blocks' | 'onUp' | 'onReady' | 'onDown'> = {},
  ): RedisConnection {
    const { settings, clock, logger } = this
    return new RedisConnection({ settings, clock, logger, name: `celeriac-${name}`, ...options })
  }

  /** Whether commands can be run at this moment. */
  get isUp(): boolean {
    return this.#commands?.isUp ?? false
  }

  /** Why they cannot. */
  get lastError(): CeleriacError {
    return this.#live.lastError
  }

  /** Called after each connection for commands, the first one too. Returns how to stop. */
  onUp(listener: () => void): () => void {
    this.#onUp.add(listener)
    return () => this.#onUp.delete(listener)
  }

  /**
   * Runs a script on the present connection, once: whoever calls it knows what to do when the answer is lost.
   * @throws ConnectionLost @throws the server's error
   */
  async scriptOnce(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    try {
      return await this.#live.send('EVALSHA', [script.sha, keys.length, ...keys, ...args])
    } catch (error) {
      if (replyCode(error) !== 'NOSCRIPT') throw error
      return this.#live.send('EVAL', [script.lua, keys.length, ...keys, ...args])
    }
  }

  /** Lets what is sent within leave in one system call. */
  together<T>(send: () => T): T {
    return this.#live.together(send)
  }

  /** Runs a script that may be run twice, trying again until the server has answered. @throws CeleriacError */
  script(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown> {
    return this.#repeat(true, () => this.scriptOnce(script, keys, args))
  }

  /** Runs a command, trying again until the server has answered. @throws CeleriacError */
  command(name: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#repeat(!notRepeatable.has(name), () => this.#live.send(name, args))
  }

  /** Runs a command on the present connection, once. @throws ConnectionLost @throws the server's error */
  commandOnce(name: string, ...args: readonly Argument[]): Promise<unknown> {
    return this.#live.send(name, args)
  }

  /** Does something exactly once, in the order of the calls. See `journal.ts`. @throws CeleriacError */
  ordered(script: Script, args: readonly Argument[], timeoutMs: number, plain?: readonly Plain[]): Promise<string> {
    if (this.#journal === undefined) return Promise.reject(closed())
    return this.#journal.call({ script, args, plain }, timeoutMs)
  }

  /**
   * Hears what is published on channels, from when it resolves.
   * @param onGap called when messages may have been missed
   */
  async subscribe(to: Channels, listener: Listener, onGap?: () => void): Promise<{ close(): Promise<void> }> {
    const subscriber = this.#subscriber
    if (subscriber === undefined) throw closed()
    const close = await subscriber.add(to, listener, onGap)
    return { close }
  }

  /** The number the server knows the connection for subscriptions by. */
  get subscriberId(): number | undefined {
    return this.#subscriber?.serverId
  }

  async #openConnections(): Promise<void> {
    const subscriber = new Subscriber(() => this.#subscriptions as RedisConnection)
    const subscriptions = this.connection('subscriptions', { onUp: (redis) => subscriber.onUp(redis) })
    const commands: RedisConnection = this.connection('commands', {
      onUp: async (redis) => {
        await Promise.all(journalScripts.map(({ lua }) => redis.script('LOAD', lua)))
      },
      onReady: () => {
        journal.resend()
        for (const listener of this.#onUp) listener()
      },
    })
    const journal = new Journal(commands, `${this.prefix}celeriac:client:${this.id}`)
    this.#subscriber = subscriber
    this.#subscriptions = subscriptions
    this.#commands = commands
    this.#journal = journal
    commands.open()
    subscriptions.open()
    await this.#firstUp(commands)
    await this.#firstUp(subscriptions)
  }

  /** What will not mend by itself is told at once. */
  async #firstUp(connection: RedisConnection): Promise<void> {
    const deadline = performance.now() + Math.min(openWithinMs, this.publishTimeoutMs)
    while (!(await connection.up(lookAtOpeningMs))) {
      const { lastError } = connection
      if (['BROKER_AUTH', 'UNSUPPORTED'].includes(lastError.code) || performance.now() > deadline) throw lastError
    }
  }

  async #repeat(mayRepeat: boolean, run: () => Promise<unknown>): Promise<unknown> {
    const deadline = performance.now() + this.publishTimeoutMs
    for (;;) {
      const connection = this.#live
      const leftMs = deadline - performance.now()
      if (!(await connection.up(Math.max(0, leftMs))))
        throw this.#commands === undefined ? closed() : connection.lastError
      try {
        return await run()
      } catch (error) {
        const isOver = performance.now() > deadline || this.#commands !== connection
        if (isOver || !isPassing(error) || (error instanceof ConnectionLost && !mayRepeat)) {
          throw translate(error, connection.where)
        }
        if (!(error instanceof ConnectionLost)) await new Promise((resolve) => setTimeout(resolve, repeatPauseMs))
      }
    }
  }

  /** @throws CeleriacError `CLOSED` */
  get #live(): RedisConnection {
    if (this.#commands === undefined) throw closed()
    return this.#commands
  }
}

function closed(): CeleriacError {
  return new CeleriacError('CLOSED', 'the connection to Redis is closed')
}
