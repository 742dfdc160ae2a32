/** Writes into the audit who asked for a change, and what became of it. */
import type { Clock } from '../../clock.ts'
import type { User } from '../auth/users.ts'
import type { Redaction } from '../redaction.ts'
import type { Audit } from '../store/records.ts'

export interface Change {
  readonly user: User | undefined
  readonly address: string
  /** Method and path, as the route has them. */
  readonly action: string
  readonly target: Readonly<Record<string, unknown>>
  /** `done`, or why it was not. */
  readonly outcome: string
}

/** What strangers try is noted too, but they must not be able to push everything else out of the audit. */
const strangersPerMinute = 60
const minuteMs = 60_000

export class Journal {
  readonly #audit: Audit
  readonly #redaction: Redaction
  readonly #clock: Clock
  #strangers = 0
  #minute = 0

  constructor(audit: Audit, redaction: Redaction, clock: Clock) {
    this.#audit = audit
    this.#redaction = redaction
    this.#clock = clock
  }

  note({ user, address, action, target, outcome }: Change): void {
    if (user === undefined && this.#isTooMany()) return
    this.#audit.add({
      user: user?.name ?? '-',
      role: user?.role ?? '-',
      action,
      target: { ...(this.#redaction.value(target) as object), address },
      outcome: this.#redaction.text(outcome),
    })
  }

  #isTooMany(): boolean {
    const minute = Math.floor(this.#clock.monotonic() / minuteMs)
    if (minute !== this.#minute) this.#strangers = 0
    this.#minute = minute
    this.#strangers += 1
    return this.#strangers > strangersPerMinute
  }
}
