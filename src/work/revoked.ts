/** Tasks that must not start: by id, or by what they are stamped with. */
import type { Clock } from '../clock.ts'
import type { TaskMessage } from '../send/message.ts'

/** As many as Celery's workers keep, and for so long (`celery/worker/state.py`). */
const maxIds = 50_000
export const revokedForMs = 10_800_000

export class Revoked {
  readonly #clock: Clock
  /** Epoch ms until when each id is kept; the oldest first. */
  readonly #ids = new Map<string, number>()
  /** Values by stamp. */
  readonly #stamps = new Map<string, Set<string>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** @param untilMs epoch ms */
  add(ids: Iterable<string>, untilMs: number = this.#clock.now() + revokedForMs): void {
    for (const id of ids) {
      this.#ids.delete(id)
      this.#ids.set(id, untilMs)
    }
    for (const [id, until] of this.#ids) {
      if (this.#ids.size <= maxIds && until > this.#clock.now()) break
      this.#ids.delete(id)
    }
  }

  addStamps(stamps: Readonly<Record<string, readonly string[]>>): void {
    for (const [stamp, values] of Object.entries(stamps)) {
      const known = this.#stamps.get(stamp) ?? new Set()
      for (const value of values) known.add(value)
      this.#stamps.set(stamp, known)
    }
  }

  has(id: string): boolean {
    return this.#ids.size > 0 && (this.#ids.get(id) ?? 0) > this.#clock.now()
  }

  covers({ id, headers }: TaskMessage): boolean {
    if (this.has(id)) return true
    return this.#stamps.size > 0 && this.#isStamped(headers)
  }

  /** Ids that are kept, with the epoch ms until when. */
  entries(): [id: string, untilMs: number][] {
    const now = this.#clock.now()
    return [...this.#ids].filter(([, until]) => until > now)
  }

  /** Stamps stand flat in the headers, and by their names in `stamped_headers` (Celery's `Signature.stamp`). */
  #isStamped(headers: TaskMessage['headers']): boolean {
    const stamps = (headers.stamps ?? {}) as Record<string, unknown>
    for (const [stamp, values] of this.#stamps) {
      const own = stamps[stamp] ?? headers[stamp]
      const list = Array.isArray(own) ? own : [own]
      if (list.some((value) => value !== undefined && value !== null && values.has(String(value)))) return true
    }
    return false
  }
}
