/**
 * Sizes a pool by what it has to do: it grows while every slot is taken, and shrinks to what was used of late once the
 * load is gone (Celery's `--autoscale max,min`, `celery/worker/autoscale.py`).
 */
import type { Clock } from '../clock.ts'

/** How often it looks, in ms. */
const lookMs = 500
/** What is idle for so long is given up, in ms. Celery's `keepalive`. */
const keepMs = 30_000

export interface Scaled {
  readonly size: number
  /** Slots that are taken, and messages that wait for one. */
  readonly demand: number
  resize(size: number): void
}

export class Autoscaler {
  readonly #pool: Scaled
  readonly #clock: Clock
  #max: number
  #min: number
  /** The largest demand since it was last looked at whether to shrink, and when that was. */
  #peak = 0
  #since: number
  #timer: NodeJS.Timeout | undefined

  constructor(pool: Scaled, { max, min }: { max: number; min: number }, clock: Clock) {
    this.#pool = pool
    this.#clock = clock
    this.#max = max
    this.#min = min
    this.#since = clock.monotonic()
  }

  get max(): number {
    return this.#max
  }

  get min(): number {
    return this.#min
  }

  start(): void {
    this.#timer = setInterval(() => this.look(), lookMs)
    this.#timer.unref()
  }

  stop(): void {
    clearInterval(this.#timer)
  }

  /** New bounds; the pool is brought within them at once. */
  update(max = this.#max, min = this.#min): void {
    this.#max = max
    this.#min = Math.min(min, max)
    const size = Math.max(1, Math.min(this.#max, Math.max(this.#min, this.#pool.size)))
    if (size !== this.#pool.size) this.#pool.resize(size)
  }

  look(): void {
    const { size, demand } = this.#pool
    this.#peak = Math.max(this.#peak, demand)
    if (demand >= size && size < this.#max) {
      this.#restart()
      // By halves, so that a burst is met within a few looks and a single task does not start a fleet.
      return this.#pool.resize(Math.min(this.#max, Math.max(size + 1, Math.ceil(size * 1.5))))
    }
    if (this.#clock.monotonic() - this.#since < keepMs) return
    const wanted = Math.max(1, this.#min, this.#peak)
    this.#restart()
    if (wanted < size) this.#pool.resize(wanted)
  }

  #restart(): void {
    this.#since = this.#clock.monotonic()
    this.#peak = 0
  }
}
