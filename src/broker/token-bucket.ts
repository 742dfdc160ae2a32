/**
 * A token bucket that gives out its coming tokens too, for drivers that keep it themselves. It does what kombu's
 * `TokenBucket` (`kombu/utils/limits.py`) does, by the generic cell rate algorithm: not a fill level that is topped up,
 * but the moment at which the next token is free if none is kept, the "theoretical arrival time" (ITU-T I.371, annex A:
 * the virtual scheduling algorithm). One who comes before that waits for it, and moves it on by the time of one token.
 *
 * That moment is kept as a whole number of ms and a number of tokens since: adding up thirds of a second would end
 * beside the second, and a double of epoch ms has no room for the pace of a million tokens in a second.
 */
import { CeleriacError } from '../errors.ts'
import { wholeNumber } from '../options.ts'
import type { TokenAsk } from './limiter.ts'

/** `taken` tokens were given out since `sinceMs`, at which it was full but for what it keeps. */
export interface TokenBucket {
  readonly sinceMs: number
  readonly taken: number
  readonly limit: number
  readonly perMs: number
}

/** When the next token is free, if none is kept: from then on a bucket is as good as none. Epoch ms. */
export function freeAt({ sinceMs, taken, limit, perMs }: TokenBucket): number {
  return sinceMs + (taken * perMs) / limit
}

/** @returns how long to wait, and the bucket after it; null, and nothing has changed, where that is too long */
export function reserveToken(
  before: TokenBucket | undefined,
  { limit, perMs, burst = 1, maxWaitMs }: TokenAsk,
  nowMs: number,
): { waitMs: number; bucket: TokenBucket } | null {
  const { sinceMs, taken } = atRate(before, limit, perMs, nowMs)
  // Rounded down: any `perMs` of whole ms then holds just `limit` tokens, and less than 1 ms is not worth waiting.
  const waitMs = Math.max(0, Math.floor(sinceMs - nowMs + ((taken - burst + 1) * perMs) / limit))
  return waitMs > maxWaitMs ? null : { waitMs, bucket: { sinceMs, taken: taken + 1, limit, perMs } }
}

/** Begins anew where the bucket is full, and goes on from what is given out where the rate has changed. */
function atRate(bucket: TokenBucket | undefined, limit: number, perMs: number, nowMs: number) {
  if (bucket === undefined || freeAt(bucket) <= nowMs) return { sinceMs: nowMs, taken: 0 }
  if (bucket.limit === limit && bucket.perMs === perMs) return bucket
  return { sinceMs: Math.ceil(freeAt(bucket)), taken: 0 }
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function assertTokenAsks(asks: readonly TokenAsk[]): void {
  for (const { key, limit, perMs, burst = 1 } of asks) {
    if (!(limit > 0 && perMs > 0 && Number.isFinite(limit) && Number.isFinite(perMs))) {
      throw new CeleriacError(
        'CONFIG_INVALID',
        `the rate of '${key}' must be more than 0 in more than 0 ms, got ${limit} in ${perMs} ms`,
      )
    }
    wholeNumber(burst, 'burst', 1)
  }
}
