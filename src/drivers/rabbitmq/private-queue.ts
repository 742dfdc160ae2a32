/**
 * A queue of one process, by which it hears what is fanned out. It is exclusive to its connection and goes with that, and
 * is made again, under another name, with the next one: the server may not have noticed yet that the last one is gone.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { closeChannel } from './close-channel.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { replyCodeOf, requestFailure } from './failures.ts'
import type { Session } from './session.ts'

export interface PrivateQueueParts {
  readonly connection: Connection
  readonly clock: Clock
  readonly logger: Logger
  /** How long to wait for a connection, in ms. */
  readonly timeoutMs: number
}

export interface PrivateQueueOptions {
  /** What comes by it, for errors and the log. */
  readonly what: string
  /** @default the server chooses */
  readonly newName?: () => string
  /** Binds each new queue. */
  bind(channel: Channel, queue: string): Promise<void>
  hear(message: ConsumeMessage): void
}

/** The queue of one session. */
export interface OpenQueue {
  readonly session: Session
  readonly channel: Channel
  readonly name: string
}

/** What the server refused, by its permissions for example, it is asked for again after so long, in ms. */
const askAgainMs = 5_000

export class PrivateQueue {
  readonly #parts: PrivateQueueParts
  readonly #options: PrivateQueueOptions
  #stopListening: (() => void) | undefined
  #opening: { readonly session: Session; readonly queue: Promise<OpenQueue> } | undefined
  #current: OpenQueue | undefined
  #isClosed = false

  constructor(parts: PrivateQueueParts, options: PrivateQueueOptions) {
    this.#parts = parts
    this.#options = options
  }

  /** The queue of the present session, once it is consumed. */
  get current(): OpenQueue | undefined {
    return this.#current?.session.isAlive ? this.#current : undefined
  }

  /** Resolves once everything published from now on is heard. @throws CeleriacError `BROKER_UNAVAILABLE`, `BROKER_AUTH` */
  async ready(): Promise<OpenQueue> {
    const { connection, timeoutMs } = this.#parts
    this.#stopListening ??= connection.listen({ onUp: (session) => void this.#open(session) })
    const session = await connection.ready(timeoutMs)
    const queue = this.#opening?.session === session ? this.#opening.queue : this.#open(session)
    return queue.catch((error) => {
      throw requestFailure(error, this.#options.what)
    })
  }

  /** It goes with the connection, which is its owner's to close. */
  close(): void {
    this.#isClosed = true
    this.#stopListening?.()
  }

  #open(session: Session): Promise<OpenQueue> {
    const { clock } = this.#parts
    const queue = withDeadline(clock, requestTimeoutMs, this.#options.what, this.#listenOn(session))
    this.#opening = { session, queue }
    queue.catch((error) => this.#failed(session, error))
    return queue
  }

  #failed(session: Session, error: unknown): void {
    const { clock, logger } = this.#parts
    if (this.#opening?.session === session) this.#opening = undefined
    if (!session.isAlive || this.#isClosed) return
    logger.warn({ what: this.#options.what, error }, 'a private queue could not be opened; trying again')
    // One that cannot hear is not to look as if it could.
    if (replyCodeOf(error) === undefined) return session.destroy('no private queue could be opened')
    // The next connection would be refused as well, and this one has more to do.
    clock.after(askAgainMs, () => {
      if (session.isAlive && !this.#isClosed && this.#opening === undefined) void this.#open(session)
    })
  }

  async #listenOn(session: Session): Promise<OpenQueue> {
    const channel = await session.openChannel()
    try {
      const name = await this.#consume(session, channel)
      session.watch(channel, () => {
        if (!this.#isClosed) session.destroy('the channel of a private queue was closed')
      })
      this.#current = { session, channel, name }
      return this.#current
    } catch (error) {
      // The queue goes with its only consumer, unless the server has closed that already.
      await closeChannel(channel)
      throw error
    }
  }

  async #consume(session: Session, channel: Channel): Promise<string> {
    const { newName = () => '', bind, hear } = this.#options
    const { queue } = await channel.assertQueue(newName(), { exclusive: true, autoDelete: true, durable: false })
    const onMessage = (message: ConsumeMessage | null): void => {
      if (message === null) session.destroy('a private queue was deleted')
      else hear(message)
    }
    // What comes before it is bound to anything is nothing; and from now on it goes with its consumer.
    await channel.consume(queue, onMessage, { noAck: true, exclusive: true })
    await bind(channel, queue)
    return queue
  }
}
