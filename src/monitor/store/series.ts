/** What is counted over time, and how finely it is remembered. */

export interface Resolution {
  readonly stepMs: number
  readonly keepMs: number
}

const minuteMs = 60_000
const hourMs = 60 * minuteMs
const dayMs = 24 * hourMs

/** From fine to coarse. */
export const resolutions: readonly Resolution[] = [
  { stepMs: 10_000, keepMs: 3 * hourMs },
  { stepMs: minuteMs, keepMs: 2 * dayMs },
  { stepMs: hourMs, keepMs: 90 * dayMs },
]

/** More points than these are of no use to who looks at them. */
const mostPoints = 1_000

/** The finest that reaches back far enough and does not give too many points. */
export function resolutionFor(fromMs: number, toMs: number, nowMs: number): Resolution {
  const fits = ({ stepMs, keepMs }: Resolution): boolean =>
    fromMs >= nowMs - keepMs && (toMs - fromMs) / stepMs <= mostPoints
  return resolutions.find(fits) ?? (resolutions.at(-1) as Resolution)
}

/** The numbers stand in the file: never give one another meaning. */
export const metrics = {
  sent: 1,
  received: 2,
  started: 3,
  succeeded: 4,
  failed: 5,
  retried: 6,
  revoked: 7,
  rejected: 8,
  /** Sums, in ms. */
  runMs: 10,
  waitMs: 11,
} as const

export type Metric = keyof typeof metrics
export const countedMetrics = [
  'sent',
  'received',
  'started',
  'succeeded',
  'failed',
  'retried',
  'revoked',
  'rejected',
] as const
export type CountedMetric = (typeof countedMetrics)[number]

/** Upper bounds of a histogram's buckets, in ms; what is longer is in one more. Mostly within a factor of 1.5. */
export const bucketBoundsMs: readonly number[] = [
  ...[1, 1.5, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 700],
  ...[1_000, 1_500, 2_000, 3_000, 5_000, 7_000, 10_000, 15_000, 20_000, 30_000],
  ...[minuteMs, 2 * minuteMs, 5 * minuteMs, 10 * minuteMs, 30 * minuteMs, hourMs, 3 * hourMs, 12 * hourMs],
]
const firstBucket = { run: 100, wait: 200 } as const
export type Duration = keyof typeof firstBucket

export function bucketMetric(duration: Duration, ms: number): number {
  const at = bucketBoundsMs.findIndex((bound) => ms <= bound)
  return firstBucket[duration] + (at < 0 ? bucketBoundsMs.length : at)
}

/** Which histogram a metric belongs to, and which of its buckets it is. */
export function bucketOf(metric: number): { readonly duration: Duration; readonly bucket: number } | undefined {
  for (const duration of ['run', 'wait'] as const) {
    const bucket = metric - firstBucket[duration]
    if (bucket >= 0 && bucket <= bucketBoundsMs.length) return { duration, bucket }
  }
  return undefined
}

/**
 * The value that a share of the counted ones does not exceed, evenly spread within a bucket; null of none.
 * @param share from 0 to 1
 */
export function quantile(buckets: readonly number[], share: number): number | null {
  const total = buckets.reduce((sum, n) => sum + n, 0)
  if (total === 0) return null
  let below = 0
  for (const [index, n] of buckets.entries()) {
    if (n > 0 && below + n >= share * total) {
      const from = index === 0 ? 0 : (bucketBoundsMs[index - 1] as number)
      const to = bucketBoundsMs[index] ?? from
      return from + (to - from) * Math.max(0, Math.min(1, (share * total - below) / n))
    }
    below += n
  }
  return bucketBoundsMs.at(-1) ?? null
}
