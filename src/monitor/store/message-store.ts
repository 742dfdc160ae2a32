/**
 * Messages as they lay in their queues, so that a task can be sent again with the arguments that it really had: events
 * tell them as texts for people only. They hold what tasks were given, secrets included, and are never shown.
 */
import type { Message } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import type { MonitorDatabase } from './database.ts'

export interface SeenMessage extends Message {
  readonly queue: string
}

/** Larger ones are not kept: a few of them would crowd out all others. */
const maxBytes = 256 * 1024

export class MessageStore {
  readonly #db: MonitorDatabase
  readonly #clock: Clock

  constructor(db: MonitorDatabase, clock: Clock) {
    this.#db = db
    this.#clock = clock
  }

  /** @returns how many were not known */
  add(messages: readonly SeenMessage[]): number {
    return this.#db.transaction(() => {
      let added = 0
      for (const { queue, headers, properties, body } of messages) {
        const { id } = headers
        if (typeof id !== 'string' || id === '' || body.length > maxBytes) continue
        added += this.#db.run('INSERT OR IGNORE INTO messages (uuid, seen_at, queue, message) VALUES (?, ?, ?, ?)', [
          id,
          this.#clock.now(),
          queue,
          encoded({ headers, properties, body }),
        ])
      }
      return added
    })
  }

  get(uuid: string): SeenMessage | undefined {
    const row = this.#db.first('SELECT queue, message FROM messages WHERE uuid = ?', [uuid])
    return row && { queue: String(row.queue), ...decoded(String(row.message)) }
  }

  /** Keeps the latest. */
  prune(maxMessages: number, beforeMs: number): void {
    this.#db.run('DELETE FROM messages WHERE no <= (SELECT max(no) FROM messages) - ?', [maxMessages])
    this.#db.run('DELETE FROM messages WHERE seen_at < ?', [beforeMs])
  }
}

function encoded({ headers, properties, body }: Message): string {
  const text = typeof body === 'string' ? { text: body } : { base64: Buffer.from(body).toString('base64') }
  return JSON.stringify({ headers, properties, body: text })
}

function decoded(json: string): Message {
  const { body, ...rest } = JSON.parse(json) as Omit<Message, 'body'> & { body: { text?: string; base64?: string } }
  return { ...rest, body: body.text ?? new Uint8Array(Buffer.from(body.base64 ?? '', 'base64')) }
}
