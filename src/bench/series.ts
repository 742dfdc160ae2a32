/** A value over time, for a chart: of bounded length, since neighbours are merged into the higher one when it is full. */

export interface Point {
  /** From the beginning, in ms. */
  readonly atMs: number
  readonly value: number
}

/** More than any chart here has columns. */
const maxPoints = 240

export class Series {
  #points: Point[] = []
  /** Closer together than this, two are merged. */
  #spacingMs = 0

  add(atMs: number, value: number): void {
    const last = this.#points.at(-1)
    if (last !== undefined && atMs - last.atMs < this.#spacingMs) {
      this.#points[this.#points.length - 1] = { atMs: last.atMs, value: Math.max(last.value, value) }
      return
    }
    this.#points.push({ atMs, value })
    if (this.#points.length > maxPoints) this.#halve()
  }

  get points(): readonly Point[] {
    return this.#points
  }

  get max(): number {
    return this.#points.reduce((most, { value }) => Math.max(most, value), 0)
  }

  #halve(): void {
    const first = this.#points[0]?.atMs ?? 0
    const last = this.#points.at(-1)?.atMs ?? 0
    this.#spacingMs = ((last - first) / maxPoints) * 2
    const points = this.#points
    this.#points = []
    for (const { atMs, value } of points) this.add(atMs, value)
  }
}
