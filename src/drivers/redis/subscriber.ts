/** All subscriptions of a client on one connection, made again whenever that is. */
import type { Redis } from 'ioredis'
import type { RedisConnection } from './connection.ts'
import { ConnectionLost } from './failures.ts'

export interface Channels {
  readonly channels?: readonly string[]
  /** Glob patterns. */
  readonly patterns?: readonly string[]
}

export type Listener = (text: string, channel: string) => void

interface Entry extends Required<Channels> {
  readonly listener: Listener
  readonly onGap: (() => void) | undefined
}

export class Subscriber {
  readonly #connection: () => RedisConnection
  readonly #entries = new Set<Entry>()
  readonly #byChannel = new Map<string, Set<Listener>>()
  readonly #byPattern = new Map<string, Set<Listener>>()
  #hadConnection = false

  /** What the server knows the connection by; asked for before it hears nothing but subscriptions. */
  #serverId: number | undefined

  constructor(connection: () => RedisConnection) {
    this.#connection = connection
  }

  get serverId(): number | undefined {
    return this.#serverId
  }

  /** On a new connection: subscribes to everything again, then tells who may have missed something. */
  async onUp(redis: Redis): Promise<void> {
    this.#serverId = Number(await redis.client('ID'))
    redis.on('message', (channel: string, text: string) => tell(this.#byChannel.get(channel), text, channel))
    redis.on('pmessage', (pattern: string, channel: string, text: string) =>
      tell(this.#byPattern.get(pattern), text, channel),
    )
    if (this.#byChannel.size > 0) await redis.subscribe(...this.#byChannel.keys())
    if (this.#byPattern.size > 0) await redis.psubscribe(...this.#byPattern.keys())
    if (this.#hadConnection) for (const { onGap } of this.#entries) if (onGap) queueMicrotask(onGap)
    this.#hadConnection = true
  }

  /**
   * Resolves once the server knows.
   * @param onGap called when messages may have been missed, because the connection was another
   */
  async add(
    { channels = [], patterns = [] }: Channels,
    listener: Listener,
    onGap?: () => void,
  ): Promise<() => Promise<void>> {
    const entry: Entry = { channels, patterns, listener, onGap }
    this.#entries.add(entry)
    enter(this.#byChannel, channels, listener)
    enter(this.#byPattern, patterns, listener)
    try {
      // Those that somebody else listens to already, too: his subscription may still be under way.
      await this.#subscribe('subscribe', channels)
      await this.#subscribe('psubscribe', patterns)
    } catch (error) {
      await this.#remove(entry)
      throw error
    }
    return () => this.#remove(entry)
  }

  async #remove(entry: Entry): Promise<void> {
    if (!this.#entries.delete(entry)) return
    const { channels, patterns, listener } = entry
    await this.#unsubscribe('unsubscribe', leave(this.#byChannel, channels, listener))
    await this.#unsubscribe('punsubscribe', leave(this.#byPattern, patterns, listener))
  }

  /** In lower case, by which ioredis knows that these are answered in a way of their own. */
  async #subscribe(command: 'subscribe' | 'psubscribe', names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    const connection = this.#connection()
    const deadline = performance.now() + subscribeWithinMs
    for (;;) {
      try {
        await connection.send(command, names)
        return
      } catch (error) {
        if (!(error instanceof ConnectionLost)) throw error
        // The next connection may have begun before this was entered, so it is told again.
        if (!(await connection.up(Math.max(0, deadline - performance.now())))) throw connection.lastError
      }
    }
  }

  async #unsubscribe(command: 'unsubscribe' | 'punsubscribe', names: readonly string[]): Promise<void> {
    if (names.length === 0) return
    try {
      await this.#connection().send(command, names)
    } catch (error) {
      // The next connection subscribes to whatever is entered, and to nothing else.
      if (!(error instanceof ConnectionLost)) throw error
    }
  }
}

const subscribeWithinMs = 10_000

function tell(listeners: ReadonlySet<Listener> | undefined, text: string, channel: string): void {
  for (const listener of listeners ?? []) listener(text, channel)
}

function enter(table: Map<string, Set<Listener>>, names: readonly string[], listener: Listener): void {
  for (const name of names) {
    const listeners = table.get(name)
    if (listeners === undefined) table.set(name, new Set([listener]))
    else listeners.add(listener)
  }
}

/** Which of the names nobody listens to any more. */
function leave(table: Map<string, Set<Listener>>, names: readonly string[], listener: Listener): string[] {
  return names.filter((name) => {
    const listeners = table.get(name)
    if (!listeners?.delete(listener) || listeners.size > 0) return false
    table.delete(name)
    return true
  })
}
