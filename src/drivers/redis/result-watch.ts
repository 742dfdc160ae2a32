/**
 * Tells listeners of records as they are saved. Records come on the channels of their keys, each told once for every
 * listener; nothing is read but after a gap: the subscriber's connection was away, and what was published meanwhile is
 * gone. Then the keys are read, and what they hold is told, except of tasks whose news has come in the meantime: those
 * are newer.
 */
import type { ResultRecord, ResultSubscription } from '../../result/result-store.ts'
import type { RedisClient } from './client.ts'
import { decodeRecord } from './result-record.ts'
import { recordKey } from './result-save.ts'

type Listener = (record: ResultRecord) => void

/** Until the keys are read again, where reading them failed. In ms. */
const readAgainMs = 1_000

export class ResultWatch implements ResultSubscription {
  readonly #client: RedisClient
  readonly #listener: Listener
  /** Task ids by the channel they are told on. */
  readonly #taskIds: ReadonlyMap<string, string>
  /** Channels heard since the last gap, while the keys are being read. */
  #heard: Set<string> | undefined
  #subscription: ResultSubscription | undefined
  #closed = false

  constructor(client: RedisClient, taskIds: readonly string[], listener: Listener) {
    this.#client = client
    this.#listener = listener
    this.#taskIds = new Map(taskIds.map((id) => [recordKey(client, id), id]))
  }

  /** Resolves once the server has it, so that no later save is missed. */
  async open(): Promise<void> {
    if (this.#taskIds.size === 0) return
    this.#subscription = await this.#client.subscribe(
      { channels: [...this.#taskIds.keys()] },
      (text, channel) => {
        this.#heard?.add(channel)
        this.#tell(channel, text)
      },
      () => void this.#readAgain(),
    )
    if (this.#closed) await this.#subscription.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    await this.#subscription?.close()
  }

  async #readAgain(): Promise<void> {
    const heard = new Set<string>()
    this.#heard = heard
    const channels = [...this.#taskIds.keys()]
    let texts: (string | null)[]
    try {
      texts = await readTexts(this.#client, channels)
    } catch (error) {
      if (this.#closed) return
      // The next reconnection reads again; where there is none, this does.
      this.#client.logger.warn({ error }, 'results could not be read again after the connection was lost')
      this.#client.clock.after(readAgainMs, () => {
        if (!this.#closed && this.#heard === heard) void this.#readAgain()
      })
      return
    }
    // A later gap began its own reading.
    if (this.#heard !== heard) return
    this.#heard = undefined
    for (const [index, channel] of channels.entries()) {
      const text = texts[index]
      if (typeof text === 'string' && !heard.has(channel)) this.#tell(channel, text)
    }
  }

  #tell(channel: string, text: string): void {
    const taskId = this.#taskIds.get(channel)
    if (this.#closed || taskId === undefined) return
    const record = decodeRecord(taskId, text)
    if (record === undefined) {
      this.#client.logger.debug({ channel }, 'what was published for a result is no record')
      return
    }
    // Not within the client's own turn: a listener that throws is its owner's failure.
    queueMicrotask(() => {
      if (!this.#closed) this.#listener(record)
    })
  }
}

/** The texts under keys, in one round trip; null where there is nothing. */
export async function readTexts(client: RedisClient, keys: readonly string[]): Promise<(string | null)[]> {
  return keys.length === 0 ? [] : ((await client.command('MGET', ...keys)) as (string | null)[])
}
