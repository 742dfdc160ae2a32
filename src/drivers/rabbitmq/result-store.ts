/**
 * Results that travel to their caller, as with Celery's `rpc://`: nothing is kept on the server but a queue for each
 * sender. Only he can ask for a result, and only of his own calls; his process keeps what came, within bounds.
 *
 * The queue is durable and goes by itself an hour after its sender, so that results arrive also over a broken
 * connection. (Celery's is transient, which RabbitMQ 4.3 refuses for queues that are not exclusive.)
 */
import { randomUUID } from 'node:crypto'
import type { ConsumeMessage } from 'amqplib'
import { sleep } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type {
  GroupRecord,
  JoinProgress,
  OpenJoin,
  ResultRecord,
  ResultStore,
  ResultSubscription,
} from '../../result/result-store.ts'
import { Acks } from './acks.ts'
import type { RabbitmqClient } from './client.ts'
import { closeChannel } from './close-channel.ts'
import { requestTimeoutMs, withDeadline } from './deadline.ts'
import { requestFailure } from './failures.ts'
import { decodeResult, encodeResult } from './result-message.ts'
import { ResultTable } from './result-table.ts'
import type { Session } from './session.ts'

/** An unused queue is kept for so long, in ms. */
const queueExpiresMs = 3_600_000
const retryMs = 250
/** Results under way at a time. */
const prefetch = 2_000

export class RabbitmqResultStore implements ResultStore {
  readonly replyTo: string
  readonly joins = false
  readonly #client: RabbitmqClient
  readonly #table = new ResultTable()
  #stopListening: () => void = () => undefined
  #isClosed = false
  #closing: Promise<void> | undefined

  constructor(client: RabbitmqClient) {
    this.#client = client
    this.replyTo = randomUUID()
  }

  async open(): Promise<void> {
    this.#refuseClosed()
    await this.#client.open()
    const { consuming, timeoutMs } = this.#client
    try {
      await this.#listenOn(await consuming.ready(timeoutMs))
    } catch (error) {
      await this.#client.close()
      throw error
    }
    this.#stopListening = consuming.listen({ onUp: (session) => void this.#listenAgain(session) })
  }

  /** Sends each state to its caller. PENDING is not sent: he knows it. */
  async save(records: readonly ResultRecord[]): Promise<void> {
    this.#refuseClosed()
    const { clock, publisher, resultExpiresMs } = this.#client
    const outbounds = records.flatMap((record) => {
      const { replyTo, status } = record
      if (replyTo === null || (status === 'PENDING' && replyTo !== this.replyTo)) return []
      const outbound = encodeResult(record, replyTo)
      if (replyTo !== this.replyTo) return [outbound]
      const own = decodeResult(outbound.content, record.taskId, clock.now())
      if (own !== undefined) this.#table.put(own, outbound.content.length, clock.now(), resultExpiresMs)
      return []
    })
    if (outbounds.length > 0) await publisher.publish(outbounds)
  }

  async load(taskIds: readonly string[]): Promise<(ResultRecord | undefined)[]> {
    this.#refuseClosed()
    const nowMs = this.#client.clock.now()
    return taskIds.map((taskId) => structuredClone(this.#table.get(taskId, nowMs)))
  }

  async subscribe(taskIds: readonly string[], listener: (record: ResultRecord) => void): Promise<ResultSubscription> {
    this.#refuseClosed()
    const stop = this.#table.subscribe(taskIds, (record) => {
      if (!this.#isClosed) listener(record)
    })
    return { close: async () => stop() }
  }

  async forget(taskIds: readonly string[]): Promise<void> {
    this.#refuseClosed()
    for (const taskId of taskIds) this.#table.forget(taskId)
  }

  async join(): Promise<JoinProgress> {
    this.#refuseClosed()
    throw noJoins()
  }

  async closeJoin(): Promise<void> {
    this.#refuseClosed()
    throw noJoins()
  }

  async openJoins(): Promise<OpenJoin[]> {
    this.#refuseClosed()
    throw noJoins()
  }

  async saveGroups(): Promise<void> {
    this.#refuseClosed()
    throw noJoins()
  }

  async loadGroup(): Promise<GroupRecord | undefined> {
    this.#refuseClosed()
    throw noJoins()
  }

  async expire(): Promise<number> {
    this.#refuseClosed()
    return this.#table.expire(this.#client.clock.now())
  }

  sharesStorageWith(): boolean {
    return false
  }

  close(): Promise<void> {
    this.#isClosed = true
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#stopListening()
    const { requests, consuming } = this.#client
    if (consuming.session !== undefined) {
      // Without a goodbye it expires.
      await requests
        .run('deleting the queue of results', (channel) => channel.deleteQueue(this.replyTo))
        .catch(() => undefined)
    }
    await this.#client.close()
  }

  async #listenAgain(session: Session): Promise<void> {
    const { clock, logger } = this.#client
    while (session.isAlive && !this.#isClosed) {
      try {
        return await this.#listenOn(session)
      } catch (error) {
        if (!session.isAlive) return
        logger.warn({ queue: this.replyTo, error }, 'results cannot be received yet; trying again')
        await sleep(clock, retryMs)
      }
    }
  }

  async #listenOn(session: Session): Promise<void> {
    const what = 'the queue of results'
    const listen = async (): Promise<void> => {
      const channel = await session.openChannel()
      await channel.assertQueue(this.replyTo, { durable: true, expires: queueExpiresMs })
      session.watch(channel, () => {
        if (!this.#isClosed) void this.#listenAgain(session)
      })
      // Acknowledged, or what the server wrote to a connection that was just breaking would be lost.
      const acks = new Acks(channel)
      const hear = (message: ConsumeMessage | null): void => {
        if (message !== null) this.#hear(message, acks)
        else if (!this.#isClosed) void closeChannel(channel)
      }
      await channel.prefetch(prefetch)
      await channel.consume(this.replyTo, hear)
    }
    try {
      await withDeadline(this.#client.clock, requestTimeoutMs, what, listen())
    } catch (error) {
      throw requestFailure(error, what)
    }
  }

  #hear({ content, properties, fields }: ConsumeMessage, acks: Acks): void {
    const { clock, logger, resultExpiresMs } = this.#client
    acks.opened(fields.deliveryTag)
    // Where the channel is gone it comes again, and says the same.
    acks.add(fields.deliveryTag).catch(() => undefined)
    const record = decodeResult(content, properties.correlationId, clock.now())
    if (record === undefined) return logger.warn({ queue: this.replyTo }, 'a message that is no result was dropped')
    this.#table.put(record, content.length, clock.now(), resultExpiresMs)
  }

  #refuseClosed(): void {
    if (this.#isClosed) throw new CeleriacError('CLOSED', 'the result store on RabbitMQ is closed')
  }
}

function noJoins(): CeleriacError {
  return new CeleriacError(
    'UNSUPPORTED',
    'results that travel to their caller cannot be joined; keep them on a server: `results: "redis://…"`',
  )
}
