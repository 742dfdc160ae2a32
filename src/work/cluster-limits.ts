/**
 * Limits that hold for all workers together, asked of the `Limiter` before a run: what may not start now is told for how
 * long to stay away.
 *
 * - A rate reserves: the message takes its token along, and need not ask again when it is back.
 * - Slots cannot be reserved. What is refused comes back one after the other, at about the pace at which slots get free.
 */
import type { Limiter, Slot } from '../broker/limiter.ts'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { keyOfCall, limitName } from '../task/limits.ts'
import type { Attempt } from './attempt.ts'

export interface ClusterLimitsParts {
  readonly limiter: Limiter
  readonly clock: Clock
  readonly logger: Logger
  readonly leaseMs: number
}

export type Admission =
  | { readonly kind: 'go'; readonly slot: Slot | undefined }
  /** `reservedMs`: when its token is there, epoch ms; undefined where it has none. */
  | { readonly kind: 'park'; readonly delayMs: number; readonly reservedMs: number | undefined }

/** No token is reserved further ahead than this, in ms: what the queue holds is not to book a rate for days. */
const maxReservedMs = 60_000
/** What is refused a slot comes back no sooner and no later than this, in ms. */
const backMs = { least: 50, most: 30_000 }

export class ClusterLimits {
  readonly #parts: ClusterLimitsParts
  readonly #slots = new Set<Slot>()
  /** By slot key, when the last one that was refused comes back, on the monotonic clock. */
  readonly #lastBack = new Map<string, number>()
  #renewing: NodeJS.Timeout | undefined

  constructor(parts: ClusterLimitsParts) {
    this.#parts = parts
  }

  /** @param averageRunMs how long such tasks run. @throws what the user's key or the limiter throws */
  async admit(attempt: Attempt, averageRunMs: number): Promise<Admission> {
    const { message, definition } = attempt
    const { rateLimit, concurrency } = definition.options
    const hasSchema = definition.input !== undefined
    const slot =
      concurrency === undefined
        ? undefined
        : {
            key: limitName(message.task, keyOfCall(concurrency.key, hasSchema, message.args, message.kwargs)),
            holder: message.id,
          }
    if (slot !== undefined && concurrency !== undefined && !(await this.#acquire(slot, concurrency.limit))) {
      return { kind: 'park', delayMs: this.#backIn(slot.key, averageRunMs / concurrency.limit), reservedMs: undefined }
    }
    if (rateLimit?.scope === 'cluster' && !this.#hasToken(attempt)) {
      const { limit, perMs, burst } = rateLimit
      const key = limitName(message.task, keyOfCall(rateLimit.key, hasSchema, message.args, message.kwargs))
      const [waitMs] = await this.#parts.limiter.reserve([{ key, limit, perMs, burst, maxWaitMs: maxReservedMs }])
      if (waitMs !== 0) {
        if (slot !== undefined) this.release(slot)
        if (waitMs === null || waitMs === undefined) {
          return { kind: 'park', delayMs: maxReservedMs * (0.5 + Math.random()), reservedMs: undefined }
        }
        return { kind: 'park', delayMs: waitMs, reservedMs: this.#parts.clock.now() + waitMs }
      }
    }
    return { kind: 'go', slot }
  }

  release(slot: Slot): void {
    this.#slots.delete(slot)
    this.#parts.limiter.release([slot]).catch((error) => {
      this.#parts.logger.warn(
        { key: slot.key, error },
        'a slot could not be given back; it is free when its lease lapses',
      )
    })
  }

  close(): void {
    clearInterval(this.#renewing)
  }

  async #acquire(slot: Slot, limit: number): Promise<boolean> {
    const { limiter, leaseMs } = this.#parts
    const [isTaken] = await limiter.acquire([{ ...slot, limit }], leaseMs)
    if (isTaken !== true) return false
    this.#slots.add(slot)
    this.#renewing ??= setInterval(() => this.#renew(), leaseMs / 3)
    return true
  }

  #renew(): void {
    const { limiter, leaseMs, logger } = this.#parts
    if (this.#slots.size === 0) return
    limiter.renew([...this.#slots], leaseMs).catch((error) => {
      logger.warn({ slots: this.#slots.size, error }, 'slots could not be renewed')
    })
  }

  /** A token that was reserved for this message, and whose time has come. */
  #hasToken({ message }: Attempt): boolean {
    const { reserved } = message.celeriac
    return reserved !== undefined && reserved <= this.#parts.clock.now() + backMs.least
  }

  /** One after the other, each a slot's time apart. */
  #backIn(key: string, slotMs: number): number {
    const now = this.#parts.clock.monotonic()
    const apart = Math.max(backMs.least, slotMs) * (0.5 + Math.random())
    const back = Math.min(now + backMs.most, Math.max(now, this.#lastBack.get(key) ?? 0) + apart)
    if (this.#lastBack.size > 10_000) this.#lastBack.clear()
    this.#lastBack.set(key, back)
    return back - now
  }
}
