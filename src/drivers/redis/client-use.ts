import { CeleriacError } from '../../errors.ts'
import type { RedisClient } from './client.ts'

/** One part's use of the client that it shares with others: opened once, closed once. */
export class ClientUse {
  readonly #client: RedisClient
  readonly #part: string
  #opening: Promise<void> | undefined
  #closing: Promise<void> | undefined

  /** @param part as it is called in the error of a use after the end, e.g. `the lock` */
  constructor(client: RedisClient, part: string) {
    this.#client = client
    this.#part = part
  }

  /** Tries again after a failure. @throws CeleriacError `CLOSED`, and what opening the client throws */
  async open(): Promise<void> {
    this.assertOpen()
    this.#opening ??= this.#client.open()
    try {
      await this.#opening
    } catch (error) {
      this.#opening = undefined
      throw error
    }
  }

  /** @throws CeleriacError `CLOSED` */
  assertOpen(): void {
    if (this.#closing !== undefined) throw new CeleriacError('CLOSED', `${this.#part} is closed`)
  }

  /** @param first what is to end while the client is still open */
  close(first: () => Promise<unknown> = async () => undefined): Promise<void> {
    this.#closing ??= this.#end(first)
    return this.#closing
  }

  async #end(first: () => Promise<unknown>): Promise<void> {
    await first()
    const isOpen = await this.#opening?.then(
      () => true,
      () => false,
    )
    if (isOpen) await this.#client.close()
  }
}
