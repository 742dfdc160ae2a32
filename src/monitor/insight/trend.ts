/** Whether a measurement rises, and how surely: the line of least squares through its points. */

export interface Point {
  /** Epoch ms. */
  readonly at: number
  readonly value: number
}

export interface Trend {
  readonly perHour: number
  /** On the line, at the last point. */
  readonly last: number
  /** How much of the changes the line explains, 0 to 1: the coefficient of determination. */
  readonly fit: number
  readonly spanMs: number
}

const hourMs = 3_600_000
const fewestPoints = 10

/** Undefined of too few points. */
export function trendOf(points: readonly Point[]): Trend | undefined {
  const [first] = points
  const final = points.at(-1)
  if (first === undefined || final === undefined || points.length < fewestPoints || final.at === first.at)
    return undefined
  const n = points.length
  const mean = (of: (point: Point) => number): number => points.reduce((sum, point) => sum + of(point), 0) / n
  const [meanAt, meanValue] = [mean(({ at }) => at), mean(({ value }) => value)]
  const sum = (of: (dt: number, dv: number) => number): number =>
    points.reduce((total, { at, value }) => total + of(at - meanAt, value - meanValue), 0)
  const squares = sum((dt) => dt * dt)
  const slope = sum((dt, dv) => dt * dv) / squares
  const spread = sum((_dt, dv) => dv * dv)
  return {
    perHour: slope * hourMs,
    last: meanValue + slope * (final.at - meanAt),
    fit: spread === 0 ? 0 : (slope * slope * squares) / spread,
    spanMs: final.at - first.at,
  }
}
