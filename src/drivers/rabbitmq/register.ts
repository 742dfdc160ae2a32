/**
 * A set of names that the server keeps for us: a durable queue with a message for each name. AMQP lists neither queues
 * nor anything else, so this is how a process learns which queues others have used, and which of them are paused.
 *
 * One reader at a time: he takes every message, with an exclusive consumer, and gives them back by closing his channel.
 * A queue of no messages and no reader is an empty set, and that takes one question.
 */
import type { Channel, ConsumeMessage } from 'amqplib'
import { type Clock, sleep } from '../../clock.ts'
import { closeChannel } from './close-channel.ts'
import type { Connection } from './connection.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { replyCodeOf, replyCodes, requestFailure } from './failures.ts'
import type { Requests } from './requests.ts'

export interface RegisterParts {
  /** Where it is read. */
  readonly connection: Connection
  /** Where it is written. */
  readonly publishing: Requests
  readonly clock: Clock
  /** How long to wait for a connection, in ms. */
  readonly timeoutMs: number
}

/** Another reader is done within milliseconds; a try after so long on average, in ms. */
const retryMs = 20
/** Messages that were counted a moment ago come at once. Longest wait for them, in ms. */
const arrivalMs = 1_000

export class Register {
  readonly #parts: RegisterParts
  readonly #queue: string

  constructor(queue: string, parts: RegisterParts) {
    this.#queue = queue
    this.#parts = parts
  }

  /** Not confirmed: the answer to the question behind it says that it has arrived. */
  async add(name: string): Promise<void> {
    const queue = this.#queue
    await this.#parts.publishing.run(`adding to '${queue}'`, async (channel) => {
      await channel.assertQueue(queue)
      channel.publish('', queue, Buffer.from(name), { persistent: true, contentType: 'text/plain' })
      await channel.checkQueue(queue)
    })
  }

  /** @returns whether it was in the set */
  async remove(name: string): Promise<boolean> {
    return this.#read(async (channel, messages) => {
      const found = messages.filter((message) => nameIn(message) === name)
      for (const message of found) channel.ack(message)
      return found.length > 0
    }).then((was) => was ?? false)
  }

  /** The names, each once. */
  async list(): Promise<string[]> {
    const names = await this.#read(async (channel, messages) => {
      const seen = new Set<string>()
      for (const message of messages) {
        // Two processes that met a name at once have both written it down.
        if (seen.has(nameIn(message))) channel.ack(message)
        seen.add(nameIn(message))
      }
      return [...seen]
    })
    return names ?? []
  }

  /** @returns undefined for an empty set */
  async #read<T>(look: (channel: Channel, messages: ConsumeMessage[]) => Promise<T>): Promise<T | undefined> {
    const { clock, connection, timeoutMs } = this.#parts
    const deadline = clock.monotonic() + timeoutMs
    for (;;) {
      const session = await connection.ready(deadline - clock.monotonic())
      const channel = await session.openChannel()
      try {
        return await withDeadline(clock, requestTimeoutMs, `reading '${this.#queue}'`, this.#readOn(channel, look))
      } catch (error) {
        const isTaken = replyCodeOf(error) === replyCodes.accessRefused && /exclusive/.test((error as Error).message)
        const mayTryAgain = isTaken || error instanceof TakenError || !session.isAlive
        if (!mayTryAgain || clock.monotonic() >= deadline) throw requestFailure(error, `reading '${this.#queue}'`)
        await sleep(clock, retryMs * (0.5 + Math.random()))
      } finally {
        await closeChannel(channel)
      }
    }
  }

  async #readOn<T>(
    channel: Channel,
    look: (channel: Channel, messages: ConsumeMessage[]) => Promise<T>,
  ): Promise<T | undefined> {
    const { messageCount, consumerCount } = await channel.assertQueue(this.#queue, { durable: true })
    if (consumerCount > 0) throw new TakenError()
    if (messageCount === 0) return undefined
    const messages: ConsumeMessage[] = []
    let arrived = (): void => undefined
    const all = new Promise<void>((resolve) => {
      arrived = resolve
    })
    const take = (message: ConsumeMessage | null): void => {
      if (message !== null) messages.push(message)
      if (messages.length >= messageCount) arrived()
    }
    await channel.consume(this.#queue, take, { exclusive: true })
    // Fewer are there when one was removed since they were counted.
    await withDeadline(this.#parts.clock, arrivalMs, `messages of '${this.#queue}'`, all).catch(() => undefined)
    return look(channel, messages)
  }
}

class TakenError extends Error {}

function nameIn({ content }: ConsumeMessage): string {
  return content.toString('utf8')
}
