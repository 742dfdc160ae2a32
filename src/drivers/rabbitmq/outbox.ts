/** Messages of the broker's users on their way to the publisher: encoded, measured, and refused where they must be. */
import type { OutgoingMessage, PublishOptions } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import type { Connection } from './connection.ts'
import { encodeMessage, largestFor, maxMessageBytes, type Outbound } from './message.ts'
import type { Publisher } from './publisher.ts'
import type { Requests } from './requests.ts'
import type { Topology } from './topology.ts'
import { publishInTransaction } from './transaction.ts'

export interface OutboxParts {
  readonly connection: Connection
  readonly publisher: Publisher
  readonly topology: Topology
  readonly requests: Requests
  readonly clock: Clock
  /** How long a call waits for a connection, in ms. */
  readonly timeoutMs: number
}

export class Outbox {
  readonly #parts: OutboxParts

  constructor(parts: OutboxParts) {
    this.#parts = parts
  }

  /**
   * @param losses consumers lost with these messages so far
   * @throws CeleriacError what encoding and the publisher throw; nothing of the call is sent when one cannot be encoded
   */
  async publish(
    messages: Iterable<OutgoingMessage>,
    losses = 0,
    { atomic = false }: PublishOptions = {},
  ): Promise<void> {
    const outbounds = this.encode(messages, losses)
    if (outbounds.length === 0) return
    if (atomic) await this.#publishAtOnce(outbounds)
    else await this.#parts.publisher.publish(outbounds)
  }

  /** @throws CeleriacError `PAYLOAD_TOO_LARGE`, `PAYLOAD_INVALID`, `UNSUPPORTED` */
  encode(messages: Iterable<OutgoingMessage>, losses = 0): Outbound[] {
    const { connection, clock, publisher } = this.#parts
    const { session } = connection
    const known = session === undefined ? maxMessageBytes : largestFor(session.serverVersion)
    const options = { largest: Math.min(known, publisher.learnedLargest), nowMs: clock.now(), losses }
    const outbounds: Outbound[] = []
    for (const message of messages) outbounds.push(encodeMessage(message, options))
    return outbounds
  }

  /** Makes what the messages need on the server. */
  async prepare(outbounds: readonly Outbound[]): Promise<void> {
    const { topology, requests } = this.#parts
    for (const outbound of outbounds) {
      if (!topology.isReady(outbound)) await topology.prepare(outbound, requests)
    }
  }

  async #publishAtOnce(outbounds: readonly Outbound[]): Promise<void> {
    const { connection, clock, timeoutMs } = this.#parts
    await this.prepare(outbounds)
    await publishInTransaction(await connection.ready(timeoutMs), clock, outbounds)
  }
}
