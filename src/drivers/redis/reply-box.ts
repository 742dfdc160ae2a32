/**
 * Where the replies to our own control messages arrive: one list for the process, which workers find by its binding and
 * push to. While anybody waits for replies, the list is bound and read, on a connection of its own that blocks; with the
 * last of them it is removed.
 *
 * A reply that comes later finds no binding, or is read and belongs to nobody.
 */
import { randomUUID } from 'node:crypto'
import type { RequestOptions } from '../../broker/bus.ts'
import { type Asker, replyExchange, replyQueue } from '../../broker/celery-asker.ts'
import { fromCeleryJson } from '../../broker/celery-route.ts'
import { Gathering } from '../../broker/gathering.ts'
import { sleep } from '../../clock.ts'
import type { RedisClient } from './client.ts'
import type { RedisConnection } from './connection.ts'
import { ConnectionLost } from './failures.ts'
import { decodeJsonMessage } from './json-envelope.ts'
import { bindingKey, separator } from './keys.ts'

const waitS = 1
const deadlineMs = waitS * 1_000 + 1_500
/** After a refusal of the server, which the next try may meet again. */
const pauseMs = 200

export class ReplyBox {
  readonly #client: RedisClient
  /** Names the process as an asker. */
  readonly #routingKey = randomUUID()
  /** By ticket. */
  readonly #gatherings = new Map<string, Gathering>()
  /** Binding and removing, one after the other. */
  #lastTurn: Promise<unknown> = Promise.resolve()
  #isBound = false
  #isClosed = false
  /** Requests that are not over. */
  #asking = 0
  #connection: RedisConnection | undefined
  #stopWatching: (() => void) | undefined

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** @param send publishes the request, with the asker in it */
  async request(send: (asker: Asker) => Promise<void>, options: RequestOptions): Promise<unknown[]> {
    const ticket = randomUUID()
    this.#asking += 1
    try {
      await this.#bind()
      if (this.#isClosed) return []
      const gathering = new Gathering(this.#client.clock, options)
      this.#gatherings.set(ticket, gathering)
      this.#read()
      await send({ routingKey: this.#routingKey, ticket })
      return await gathering.over
    } finally {
      this.#asking -= 1
      this.#gatherings.get(ticket)?.end()
      this.#gatherings.delete(ticket)
      await this.#remove()
    }
  }

  /** Ends the requests with the replies there are. */
  async close(): Promise<void> {
    this.#isClosed = true
    for (const gathering of this.#gatherings.values()) gathering.end()
    this.#connection?.close()
    this.#stopWatching?.()
    await this.#remove()
  }

  get #isAsked(): boolean {
    return this.#asking > 0 && !this.#isClosed
  }

  get #list(): string {
    return `${this.#client.prefix}${replyQueue(this.#routingKey)}`
  }

  /** As kombu writes it: key, pattern (none), queue. */
  get #binding(): [set: string, member: string] {
    const member = [this.#routingKey, '', replyQueue(this.#routingKey)].join(separator)
    return [bindingKey(this.#client.prefix, replyExchange), member]
  }

  #bind(): Promise<void> {
    return this.#inTurn(async () => {
      this.#isBound = true
      this.#stopWatching ??= this.#client.onUp(() => void this.#remove())
      await this.#client.command('SADD', ...this.#binding)
    })
  }

  /** Unless somebody waits. Tried once, and with each new connection: answers are not to wait for a server that is away. */
  #remove(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isBound || this.#isAsked) return
      try {
        await this.#client.together(() =>
          Promise.all([
            this.#client.commandOnce('SREM', ...this.#binding),
            this.#client.commandOnce('DEL', this.#list),
          ]),
        )
        this.#isBound = false
      } catch (error) {
        this.#client.logger.debug({ error }, 'the list of replies is not removed yet')
      }
    })
  }

  #inTurn(step: () => Promise<void>): Promise<void> {
    const turn = this.#lastTurn.then(step)
    this.#lastTurn = turn.catch(() => undefined)
    return turn
  }

  /** Reads for as long as anybody waits. */
  #read(): void {
    if (this.#connection !== undefined) return
    const connection = this.#client.connection('replies', { blocks: true })
    this.#connection = connection
    connection.open()
    void this.#readFrom(connection)
  }

  async #readFrom(connection: RedisConnection): Promise<void> {
    while (this.#isAsked) if (await connection.up(deadlineMs)) await this.#wait(connection)
    // Nobody watches over a connection that may block; so none is kept for later.
    this.#connection = undefined
    connection.close()
  }

  async #wait(connection: RedisConnection): Promise<void> {
    const { clock } = this.#client
    const deadline = clock.after(deadlineMs, () =>
      connection.drop(new ConnectionLost(`no answer to a wait of ${waitS} s within ${deadlineMs} ms`)),
    )
    try {
      const answer = await connection.send('BRPOP', [this.#list, waitS])
      if (Array.isArray(answer)) this.#take(String(answer[1]))
    } catch (error) {
      if (!(error instanceof ConnectionLost)) await sleep(clock, pauseMs)
    } finally {
      deadline.cancel()
    }
  }

  #take(text: string): void {
    const message = decodeJsonMessage(text)
    const reply = message && fromCeleryJson(message.json, replyExchange)
    if (reply === undefined) {
      this.#client.logger.debug({}, 'what came to the list of replies is none')
      return
    }
    this.#gatherings.get(String(message?.headers.ticket))?.add(reply)
  }
}
