/**
 * How one target stands to a rule, from one look to the next:
 *
 *     ok ─ value ≥ threshold → pending ─ for `forMs` → firing ─ value ≤ clearBelow → ok
 *           ╰─ value < threshold ─╯
 *
 * Between the two bounds what fires goes on firing, so that a value that wavers about one of them does not flap.
 */
export interface Standing {
  readonly state: 'pending' | 'firing'
  /** Of the state, epoch ms. */
  readonly since: number
  readonly value: number
}

export interface Bounds {
  readonly threshold: number
  /** Null = 0.8 of the threshold. */
  readonly clearBelow: number | null
  readonly forMs: number
}

/** Undefined = ok. */
export function nextStanding(
  before: Standing | undefined,
  value: number,
  { threshold, clearBelow, forMs }: Bounds,
  nowMs: number,
): Standing | undefined {
  const clear = Math.min(clearBelow ?? threshold * 0.8, threshold)
  if (before?.state === 'firing') return value <= clear && value < threshold ? undefined : { ...before, value }
  if (value < threshold) return undefined
  const since = before?.since ?? nowMs
  return nowMs - since >= forMs ? { state: 'firing', since: nowMs, value } : { state: 'pending', since, value }
}
