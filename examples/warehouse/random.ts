/**
 * Chance that can be repeated: a small seeded generator (mulberry32), and draws built on it. The same seed gives the
 * same orders, the same courier's luck and the same packing, on any machine. Not for secrets.
 */
import { createHash } from 'node:crypto'

export interface Random {
  /** From 0 up to, not including, 1. */
  next(): number
  /** A whole number from `from` to `to`, both included. */
  whole(from: number, to: number): number
  pick<T>(list: readonly T[]): T
  /** The same things in another order; the list itself stays as it is. */
  shuffle<T>(list: readonly T[]): T[]
  /** Log-normal: half the draws are below `median`, a few are far above it, as with times over a network. */
  logNormal(median: number, sigma: number): number
}

/** Equal seeds give equal draws. Several parts (`'courier', 1, 'O-000017'`) are one seed of their own. */
export function seeded(...seed: readonly (string | number)[]): Random {
  let state = createHash('sha256').update(seed.join('\0')).digest().readUInt32LE(0)

  const next = (): number => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  const whole = (from: number, to: number): number => from + Math.floor(next() * (to - from + 1))

  return {
    next,
    whole,
    pick: <T>(list: readonly T[]) => list[whole(0, list.length - 1)] as T,
    shuffle<T>(list: readonly T[]): T[] {
      const shuffled = [...list]
      for (let last = shuffled.length - 1; last > 0; last--) {
        const other = whole(0, last)
        ;[shuffled[last], shuffled[other]] = [shuffled[other] as T, shuffled[last] as T]
      }
      return shuffled
    },
    logNormal(median, sigma) {
      // Box–Muller; 1 − next() keeps the logarithm away from zero.
      const normal = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
      return median * Math.exp(sigma * normal)
    },
  }
}

/** Ranks from 0 to `size` − 1, where rank r comes up in proportion to 1 / (r + 1): few are wanted often, many rarely. */
export function zipf(size: number, random: Random): () => number {
  const upTo: number[] = []
  for (let rank = 0; rank < size; rank++) upTo.push((upTo[rank - 1] ?? 0) + 1 / (rank + 1))
  const total = upTo[size - 1] ?? 0
  return () => {
    const drawn = random.next() * total
    return Math.min(
      size - 1,
      upTo.findIndex((sum) => drawn < sum),
    )
  }
}
