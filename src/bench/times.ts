/**
 * Many durations, kept as their distribution: memory is bounded however many there are, and percentiles are exact to
 * three digits (Node's HdrHistogram). Mean and largest are exact.
 */
import { createHistogram, type RecordableHistogram } from 'node:perf_hooks'

/** Durations in ms; all null when there were none. */
export interface TimesSummary {
  readonly count: number
  readonly meanMs: number | null
  readonly p50Ms: number | null
  readonly p95Ms: number | null
  readonly p99Ms: number | null
  readonly maxMs: number | null
}

/** The histogram counts whole µs. */
const perMs = 1_000
/** A longer one counts as this: a day. */
const longestUs = 86_400_000 * perMs

export class Times {
  readonly #histogram: RecordableHistogram = createHistogram({ lowest: 1, highest: longestUs, figures: 3 })
  #count = 0
  #sumMs = 0
  #maxMs = 0

  /** Less than nothing, as clocks that disagree make it, counts as nothing. */
  record(ms: number): void {
    const positiveMs = Math.max(0, ms)
    this.#histogram.record(Math.min(longestUs, Math.max(1, Math.round(positiveMs * perMs))))
    this.#count += 1
    this.#sumMs += positiveMs
    this.#maxMs = Math.max(this.#maxMs, positiveMs)
  }

  get summary(): TimesSummary {
    if (this.#count === 0) return { count: 0, meanMs: null, p50Ms: null, p95Ms: null, p99Ms: null, maxMs: null }
    return {
      count: this.#count,
      meanMs: this.#sumMs / this.#count,
      p50Ms: this.#percentile(50),
      p95Ms: this.#percentile(95),
      p99Ms: this.#percentile(99),
      maxMs: this.#maxMs,
    }
  }

  /**
   * The smallest that so many percent do not exceed (nearest rank). The histogram rounds ranks, which of few values is
   * one too low every other time; so it is asked for a whole one. Its classes end a little above what is in them.
   */
  #percentile(percent: number): number {
    const rank = Math.ceil((percent * this.#count) / 100)
    return Math.min(this.#maxMs, this.#histogram.percentile((100 * rank) / this.#count) / perMs)
  }
}
