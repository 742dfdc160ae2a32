/**
 * Waits for one queue on a connection of its own: the server moves the next message to the consumer's inbox and answers
 * with it, in one step. A message is thus never nowhere, and it has to come only one way. Waits are short and have
 * deadlines here, so that a connection that died in silence is noticed.
 */
import type { Timer } from '../../clock.ts'
import type { RedisClient } from './client.ts'
import type { RedisConnection } from './connection.ts'
import { ConnectionLost } from './failures.ts'
import { inboxKey, listKey } from './keys.ts'

const waitS = 2
const deadlineMs = waitS * 1_000 + 1_500
const registerWithinMs = 1_000

export interface BlockerEvents {
  /** A message was moved to the inbox of the consumer that waited. The wait is over. */
  onMessage(queue: string, envelope: string, consumer: string): void
  /** Nothing came, or somebody ended the wait from outside, because the queue is paused. The wait is over. */
  onNothing(): void
  /** The connection broke during a wait: what lies in the inbox is not known. */
  onLost(): void
}

export class Blocker {
  readonly queue: string
  readonly #client: RedisClient
  readonly #events: BlockerEvents
  readonly #connection: RedisConnection
  /** What the server knows the connection by. */
  #serverId: Promise<number | undefined> = Promise.resolve(undefined)
  #isWaiting = false
  #isWanted = false
  #consumer = ''
  #ended: Promise<void> = Promise.resolve()

  constructor(client: RedisClient, queue: string, name: string, events: BlockerEvents) {
    this.queue = queue
    this.#client = client
    this.#events = events
    this.#connection = client.connection(`wait-${name}`, { blocks: true, onReady: () => this.#register() })
    this.#connection.open()
  }

  get isWaiting(): boolean {
    return this.#isWaiting
  }

  /** Waits for a message. One that is waiting already goes on for the consumer it waits for. */
  wait(consumer: string): void {
    this.#isWanted = true
    this.#consumer = consumer
    if (this.#isWaiting) return
    this.#isWaiting = true
    this.#ended = this.#wait()
  }

  /** Ends the wait; a message may come all the same until it resolves. */
  async stop(): Promise<void> {
    this.#isWanted = false
    if (!this.#isWaiting) return
    const id = await this.#serverId
    if (id !== undefined && this.#isWaiting) {
      await this.#client.commandOnce('CLIENT', 'UNBLOCK', id).catch(() => undefined)
    }
    await this.#ended
  }

  async close(): Promise<void> {
    await this.stop()
    const id = await this.#serverId
    if (id !== undefined) await this.#client.commandOnce('HDEL', blockedKey(this.#client), id).catch(() => undefined)
    this.#connection.close()
  }

  /** Lets go of the connection as a killed process does. For tests. */
  abandon(): void {
    this.#isWanted = false
    this.#connection.close()
  }

  async #wait(): Promise<void> {
    const key = listKey(this.#client.prefix, this.queue, 0)
    while (this.#isWanted) {
      if (!(await this.#connection.up(deadlineMs))) continue
      // Before the first wait, so that whoever pauses the queue finds it.
      await this.#serverId
      const consumer = this.#consumer
      const inbox = inboxKey(this.#client.prefix, consumer, this.queue)
      let deadline: Timer | undefined
      try {
        const answer = this.#connection.send('BLMOVE', [key, inbox, 'RIGHT', 'LEFT', waitS])
        deadline = this.#client.clock.after(deadlineMs, () =>
          this.#connection.drop(new ConnectionLost(`no answer to a wait of ${waitS} s within ${deadlineMs} ms`)),
        )
        const envelope = await answer
        this.#isWanted = false
        this.#isWaiting = false
        if (typeof envelope === 'string') this.#events.onMessage(this.queue, envelope, consumer)
        else this.#events.onNothing()
      } catch (error) {
        this.#events.onLost()
        if (!(error instanceof ConnectionLost)) this.#connection.drop(error)
      } finally {
        deadline?.cancel()
      }
    }
    this.#isWaiting = false
  }

  #register(): void {
    const register = async (): Promise<number> => {
      const id = Number(await this.#connection.send('CLIENT', ['ID']))
      await this.#client.commandOnce('HSET', blockedKey(this.#client), id, this.queue)
      return id
    }
    const late = new Promise<undefined>((resolve) =>
      this.#client.clock.after(registerWithinMs, () => resolve(undefined)),
    )
    this.#serverId = Promise.race([register().catch(() => undefined), late])
  }
}

export function blockedKey({ prefix }: RedisClient): string {
  return `${prefix}celeriac:blocked`
}
