/**
 * Requests that the server may refuse. A refusal closes the channel it came on, and fails whatever else was under way
 * there; so these have a channel of their own, one at a time, and the next one gets a new channel.
 */
import type { Channel } from 'amqplib'
import type { Clock } from '../../clock.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import type { Session } from './session.ts'

export class Requests {
  readonly #connection: Connection
  readonly #clock: Clock
  readonly #timeoutMs: number
  #channel: Channel | undefined
  #session: Session | undefined
  #last: Promise<unknown> = Promise.resolve()

  /** @param timeoutMs how long a request waits for a connection */
  constructor(connection: Connection, clock: Clock, timeoutMs: number) {
    this.#connection = connection
    this.#clock = clock
    this.#timeoutMs = timeoutMs
  }

  /**
   * @param what the request in words, for errors
   * @throws amqplib's error for a refusal, with the reply code as its `code`; CeleriacError without a connection
   */
  run<T>(what: string, request: (channel: Channel) => Promise<T>): Promise<T> {
    const turn = this.#last.then(async () => {
      const channel = await this.#open()
      return withDeadline(this.#clock, requestTimeoutMs, what, request(channel))
    })
    this.#last = turn.catch(() => undefined)
    return turn
  }

  async #open(): Promise<Channel> {
    const session = await this.#connection.ready(this.#timeoutMs)
    if (this.#channel !== undefined && this.#session === session) return this.#channel
    const channel = await withDeadline(this.#clock, requestTimeoutMs, 'opening a channel', session.openChannel())
    channel.once('close', () => {
      if (this.#channel === channel) this.#channel = undefined
    })
    this.#session = session
    this.#channel = channel
    return channel
  }
}
