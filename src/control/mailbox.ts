/** One remote control command to the workers, and their answers: kombu's pidbox, seen from the one who asks. */
import { type Bus, controlTopic } from '../broker/bus.ts'
import type { Clock } from '../clock.ts'
import type { LamportClock } from '../events/lamport-clock.ts'
import type { Asked } from './addressing.ts'
import type { Replies } from './replies.ts'

export interface MailboxParts {
  /** Opened when first asked for. */
  readonly bus: () => Promise<Bus>
  readonly lamport: LamportClock
  readonly clock: Clock
  /** Has the broker remember revoked ids, for workers that are not there to hear of them. */
  readonly remember: (ids: readonly string[]) => Promise<void>
}

/** Arguments of a command, by Celery's names. */
export type Arguments = Readonly<Record<string, unknown>>

export class Mailbox {
  readonly #parts: MailboxParts

  constructor(parts: MailboxParts) {
    this.#parts = parts
  }

  /** See `MailboxParts.remember`. */
  remember(ids: readonly string[]): Promise<void> {
    return this.#parts.remember(ids)
  }

  /** Resolves to what was answered in time; at once to nothing when no reply is wanted. */
  async send<Reply>(method: string, commandArguments: Arguments, asked: Asked): Promise<Replies<Reply>> {
    const { destination, pattern, matcher, timeoutMs, replies } = asked
    const bus = await this.#parts.bus()
    const payload = { method, arguments: commandArguments, destination, pattern, matcher }
    const headers = {
      clock: this.#parts.lamport.tick(),
      expires: (this.#parts.clock.now() + timeoutMs) / 1_000,
    }
    if (!asked.reply) {
      await bus.publish(controlTopic, payload, headers)
      return {}
    }
    const limit = Number.isFinite(replies) ? { replies } : {}
    return gather<Reply>(await bus.request(controlTopic, payload, { timeoutMs, headers, ...limit }))
  }
}

/** Each is `{ node: reply }`. Whoever is on the bus may answer: what has another form says nothing and is left out. */
function gather<Reply>(answers: readonly unknown[]): Replies<Reply> {
  const entries = answers.flatMap((answer) =>
    typeof answer === 'object' && answer !== null && !Array.isArray(answer) ? Object.entries(answer) : [],
  )
  return Object.fromEntries(entries.filter(([node]) => node !== '')) as Replies<Reply>
}
