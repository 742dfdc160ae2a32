/**
 * A connection that comes back: session after session, until it is closed.
 *
 *     idle → connecting ⇄ waiting
 *               ↓            ↑
 *               up ──────────┘        closed from anywhere
 *
 * Whoever depends on it registers for `up` and `down`, and makes his channels anew with each session. Refused logins
 * and missing vhosts are tried again as well: they are mended on the server, without us being told.
 */
import { type Clock, sleep } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { Session } from './session.ts'
import type { RabbitmqSettings } from './settings.ts'

/** Pauses between tries, in ms: doubling, with jitter. */
const pause = { first: 50, longest: 1_000 }
/** A session that ended sooner, in ms, counts as a failed try, so that a server that throws us out is not run down. */
const shortSessionMs = 1_000
/** While it goes on failing, this often is said so, in ms. */
const complainEveryMs = 10_000

export interface ConnectionParts {
  readonly settings: RabbitmqSettings
  readonly clock: Clock
  readonly logger: Logger
}

export interface ConnectionListener {
  onUp?(session: Session): void
  onDown?(error: CeleriacError): void
  /** The server takes no publishes, or takes them again (undefined). */
  onBlocked?(reason: string | undefined): void
}

export class Connection {
  readonly #parts: ConnectionParts
  readonly #role: string
  readonly #listeners = new Set<ConnectionListener>()
  readonly #closing = new AbortController()
  #running: Promise<void> | undefined
  #session: Session | undefined
  #blockedBecause: string | undefined
  #lastError: CeleriacError | undefined
  #hosts = 0

  /** @param role shown to operators as part of the connection's name */
  constructor(role: string, parts: ConnectionParts) {
    this.#role = role
    this.#parts = parts
  }

  /** The session there is, if any. */
  get session(): Session | undefined {
    return this.#session?.isAlive ? this.#session : undefined
  }

  /** Why the server takes no publishes at present, in its own words. */
  get blockedBecause(): string | undefined {
    return this.#blockedBecause
  }

  /** What the last try failed with, while there is no session. */
  get lastError(): CeleriacError | undefined {
    return this.#lastError
  }

  /** @returns stops telling */
  listen(listener: ConnectionListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Begins to connect, and from then on to come back. */
  start(): void {
    this.#running ??= this.#run()
  }

  /**
   * The session, as soon as there is one.
   *
   * @param failFast ends the wait with the first refusal of the login
   * @throws CeleriacError the last try's error when the time is over; `CLOSED`
   */
  async ready(
    timeoutMs: number,
    { failFast = false, signal }: { failFast?: boolean; signal?: AbortSignal } = {},
  ): Promise<Session> {
    this.start()
    if (this.session !== undefined) return this.session
    const { clock } = this.#parts
    const deadline = clock.monotonic() + timeoutMs
    for (;;) {
      await this.#change(deadline - clock.monotonic(), signal)
      if (this.session !== undefined) return this.session
      if (this.#closing.signal.aborted) throw new CeleriacError('CLOSED', 'the connection to RabbitMQ is closed')
      const error = this.#lastError ?? this.#notYet()
      if (failFast && error.code === 'BROKER_AUTH') throw error
      if (signal?.aborted || clock.monotonic() >= deadline) throw error
    }
  }

  async close(): Promise<void> {
    this.#closing.abort()
    await this.#session?.close()
    await this.#running
  }

  async #run(): Promise<void> {
    const { clock, logger, settings } = this.#parts
    const { signal } = this.#closing
    let failures = 0
    let complainedAt = Number.NEGATIVE_INFINITY
    while (!signal.aborted) {
      const startedAt = clock.monotonic()
      try {
        const session = await this.#connect()
        if (failures > 0) logger.info({ role: this.#role, url: settings.name }, 'connected to RabbitMQ again')
        const error = await this.#live(session)
        if (signal.aborted) break
        failures = clock.monotonic() - startedAt < shortSessionMs ? failures + 1 : 1
        logger.warn(
          { role: this.#role, url: settings.name, error },
          'the connection to RabbitMQ broke; connecting again',
        )
      } catch (error) {
        failures += 1
        this.#lastError = error as CeleriacError
        for (const listener of this.#listeners) listener.onDown?.(error as CeleriacError)
        if (clock.monotonic() - complainedAt >= complainEveryMs) {
          complainedAt = clock.monotonic()
          logger.warn({ role: this.#role, url: settings.name, error }, 'RabbitMQ cannot be reached; trying again')
        }
      }
      await sleep(clock, pauseMs(failures), signal)
    }
    for (const listener of this.#listeners) listener.onDown?.(new CeleriacError('CLOSED', 'the connection is closed'))
  }

  async #connect(): Promise<Session> {
    const { settings, clock } = this.#parts
    const host = settings.hosts[this.#hosts++ % settings.hosts.length]
    if (host === undefined) throw new CeleriacError('CONFIG_INVALID', 'the RabbitMQ URL names no host')
    const session = await Session.open(settings, host, this.#role, clock, {
      onBlocked: (reason) => this.#block(reason),
      onUnblocked: () => this.#block(undefined),
    })
    // The next try begins with the host that worked.
    this.#hosts -= 1
    return session
  }

  /** From up to down. */
  async #live(session: Session): Promise<Error> {
    if (this.#closing.signal.aborted) {
      await session.close()
      return new CeleriacError('CLOSED', 'the connection is closed')
    }
    this.#session = session
    this.#lastError = undefined
    for (const listener of [...this.#listeners]) listener.onUp?.(session)
    const cause = await session.ended
    this.#session = undefined
    this.#blockedBecause = undefined
    // Another host may do better than the one that threw us out.
    this.#hosts += 1
    const message = `the connection to RabbitMQ at ${this.#parts.settings.name} broke: ${cause.message}`
    this.#lastError = new CeleriacError('BROKER_UNAVAILABLE', message, { cause })
    for (const listener of [...this.#listeners]) listener.onDown?.(this.#lastError)
    return this.#lastError
  }

  #block(reason: string | undefined): void {
    const { logger, settings } = this.#parts
    this.#blockedBecause = reason
    if (reason === undefined) logger.info({ url: settings.name }, 'RabbitMQ takes messages again')
    else logger.warn({ url: settings.name, reason }, 'RabbitMQ takes no messages at present; publishing waits')
    for (const listener of this.#listeners) listener.onBlocked?.(reason)
  }

  /** Until the next session or failure, or for so long. */
  #change(ms: number, signal: AbortSignal | undefined): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        timer.cancel()
        stop()
        signal?.removeEventListener('abort', done)
        resolve()
      }
      const timer = this.#parts.clock.after(ms, done)
      const stop = this.listen({ onUp: done, onDown: done })
      signal?.addEventListener('abort', done, { once: true })
    })
  }

  #notYet(): CeleriacError {
    return new CeleriacError('BROKER_UNAVAILABLE', `RabbitMQ at ${this.#parts.settings.name} has not answered yet`)
  }
}

function pauseMs(failures: number): number {
  const ceiling = Math.min(pause.longest, pause.first * 2 ** Math.max(0, failures - 1))
  return ceiling / 2 + (Math.random() * ceiling) / 2
}
