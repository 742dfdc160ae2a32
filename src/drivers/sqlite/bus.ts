/** The bus in the file: rows that listeners read when the bell rings, and that are cleared away after a minute. */
import { randomUUID } from 'node:crypto'
import {
  type Bus,
  type BusHeaders,
  type BusMessage,
  type RequestOptions,
  type Subscription,
  topicMatches,
} from '../../broker/bus.ts'
import { CeleriacError } from '../../errors.ts'
import type { SqliteStore } from './store.ts'

interface Listening {
  readonly topics: readonly string[]
  readonly listener: (message: BusMessage) => void
}

export class SqliteBus implements Bus {
  readonly #store: SqliteStore
  readonly #listening = new Set<Listening>()
  #seenId = 0
  #stopListening: (() => void) | undefined

  constructor(store: SqliteStore) {
    this.#store = store
  }

  open(): Promise<void> {
    return this.#store.open()
  }

  publish(topic: string, payload: unknown, headers: BusHeaders = {}): Promise<void> {
    return this.#send(topic, payload, headers, null)
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    if (this.#stopListening === undefined) {
      this.#seenId = await this.#store.read(() => Number(this.#store.first('SELECT max(id) AS id FROM bus')?.id))
      this.#stopListening ??= this.#store.onRing(() => this.#tellNews())
    }
    const listening = { topics, listener }
    this.#listening.add(listening)
    return {
      close: async () => {
        this.#listening.delete(listening)
        if (this.#listening.size === 0) this.#stop()
      },
    }
  }

  async request(topic: string, payload: unknown, options: RequestOptions): Promise<unknown[]> {
    const { timeoutMs, replies: wanted = Number.POSITIVE_INFINITY, headers = {} } = options
    const replyTo = `reply.${randomUUID()}`
    const replies: unknown[] = []
    let enough: () => void = () => undefined
    const over = new Promise<void>((resolve) => {
      enough = resolve
    })
    const subscription = await this.subscribe([replyTo], (message) => {
      if (replies.length < wanted) replies.push(message.payload)
      if (replies.length >= wanted) enough()
    })
    const timer = this.#store.clock.after(timeoutMs, enough)
    await this.#send(topic, payload, headers, replyTo)
    await over
    timer.cancel()
    await subscription.close()
    return replies
  }

  async close(): Promise<void> {
    this.#stop()
    this.#listening.clear()
    await this.#store.close()
  }

  async #send(topic: string, payload: unknown, headers: BusHeaders, replyTo: string | null): Promise<void> {
    const json = JSON.stringify(payload)
    if (json === undefined) throw new CeleriacError('PAYLOAD_INVALID', 'a bus message must be a JSON value')
    const headersJson = JSON.stringify(headers)
    await this.#store.write(() => {
      this.#store.run(
        'INSERT INTO bus(at, topic, reply_to, payload, headers) VALUES (?, ?, ?, ?, ?)',
        Date.now(),
        topic,
        replyTo,
        json,
        headersJson,
      )
      this.#store.ringAfterCommit()
    })
  }

  #stop(): void {
    this.#stopListening?.()
    this.#stopListening = undefined
  }

  #tellNews(): void {
    let rows: ReturnType<SqliteStore['all']>
    try {
      rows = this.#store.all(
        'SELECT id, topic, reply_to, payload, headers FROM bus WHERE id > ? ORDER BY id',
        this.#seenId,
      )
    } catch {
      return // Busy for a moment; the next ring, or the bell's net, looks again.
    }
    for (const row of rows) {
      this.#seenId = Number(row.id)
      const topic = String(row.topic)
      for (const { topics, listener } of [...this.#listening]) {
        if (!topics.some((subscribed) => topicMatches(subscribed, topic))) continue
        const replyTo = row.reply_to
        listener({
          topic,
          payload: JSON.parse(String(row.payload)),
          headers: JSON.parse(String(row.headers)) as BusHeaders,
          reply:
            typeof replyTo === 'string'
              ? (payload, headers = {}) => this.#send(replyTo, payload, headers, null)
              : undefined,
        })
      }
    }
  }
}
