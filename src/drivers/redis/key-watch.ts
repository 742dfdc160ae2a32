/**
 * Hears of changes to keys, whoever makes them, by `CLIENT TRACKING`: the server tells once of each key that was looked
 * at. Where that is not to be had, whoever waits looks again now and then.
 */
import type { RedisClient } from './client.ts'
import { ConnectionLost } from './failures.ts'

const channel = '__redis__:invalidate'

export class KeyWatch {
  readonly #client: RedisClient
  readonly #listeners = new Set<() => void>()
  #subscription: Promise<{ close(): Promise<void> }> | undefined
  #tracking: Promise<void> | undefined
  #stopHearing: () => void = () => undefined

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** Whenever one of the keys looked at may have changed. Returns how to stop. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Looks at lists; whether one of them has something. The next change of any of them, or of `set`, is told. */
  async look(lists: readonly string[], set: string): Promise<boolean> {
    this.#tracking ??= this.#track()
    await this.#tracking
    const [, , , found] = await this.#client.together(() =>
      Promise.all([
        this.#client.commandOnce('CLIENT', 'CACHING', 'YES'),
        this.#client.commandOnce('SCARD', set),
        this.#client.commandOnce('CLIENT', 'CACHING', 'YES'),
        this.#client.commandOnce('EXISTS', ...lists),
      ]),
    )
    return Number(found) > 0
  }

  async close(): Promise<void> {
    this.#stopHearing()
    const subscription = await this.#subscription?.catch(() => undefined)
    await subscription?.close()
  }

  async #track(): Promise<void> {
    if (this.#subscription === undefined) {
      this.#stopHearing = this.#client.onUp(() => this.#startAnew())
      this.#subscription = this.#client.subscribe(
        { channels: [channel] },
        () => this.#tell(),
        () => this.#startAnew(),
      )
    }
    try {
      await this.#subscription
      const { subscriberId } = this.#client
      if (subscriberId === undefined) throw new ConnectionLost('there is no connection for subscriptions')
      // Opted in, or it would tell of all that scripts read, the consumer's own books before all.
      await this.#client.commandOnce('CLIENT', 'TRACKING', 'ON', 'REDIRECT', subscriberId, 'OPTIN')
    } catch (error) {
      this.#client.logger.debug({ error }, 'Redis tells of no changes to keys; looking at them every second')
    }
  }

  /** Either connection is another: the server has forgotten whom to tell of what. */
  #startAnew(): void {
    this.#tracking = undefined
    this.#tell()
  }

  #tell(): void {
    for (const listener of this.#listeners) listener()
  }
}
