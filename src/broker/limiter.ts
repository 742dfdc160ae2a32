/**
 * The limiter contract: limits that hold for all processes together. Three kinds, each under names of its own:
 *
 * - a **rate**: so many in so long a time. One who is too early is told when, and the moment is his: he waits until then
 *   and need not ask again. Were he only refused, all who were would come back together, for ever.
 * - **slots**: so many at a time. A slot is a lease, so that it outlives its holder by no more than that.
 * - a **claim**: a name that stands for one value, so that the same thing is not done twice.
 *
 * Time is the driver's, one clock for all who ask where there is a server; set back, it keeps everybody waiting for so
 * much longer. What nobody uses goes by itself.
 */
export interface Limiter {
  open(): Promise<void>
  /**
   * Takes one token for each ask, in their order and in one round trip. Answers in ms from now when the token is there:
   * 0 is at once, and what is later is reserved. Null where that would be later than the ask will wait; it has then
   * reserved nothing, and may ask again later. Many with that answer had better not ask at the same moment.
   *
   * A call that was repeated because its answer was lost may have reserved twice: a token is wasted, none is given out
   * too many.
   *
   * @throws CeleriacError `CONFIG_INVALID` for a rate or burst that lets nothing through; nothing was reserved
   */
  reserve(asks: readonly TokenAsk[]): Promise<(number | null)[]>
  /**
   * Takes one slot for each ask, in their order and in one round trip, for `leaseMs`. True also where the holder has it
   * already, whose lease then begins again. Does not wait.
   */
  acquire(asks: readonly SlotAsk[], leaseMs: number): Promise<boolean[]>
  /** The slots last `leaseMs` from now again. Answers those that were lost: others may have them. */
  renew(slots: readonly Slot[], leaseMs: number): Promise<Slot[]>
  /** Lets others have the slots. Harmless for those that were lost. */
  release(slots: readonly Slot[]): Promise<void>
  /**
   * Claims `key` for `value`, for `ttlMs` from now. Answers the value it stands for: this one, or the one that was
   * earlier. A value that has it already claims it again without harm.
   */
  claim(key: string, value: string, ttlMs: number): Promise<string>
  /** Lets go of `key`, if it stands for `value`. */
  unclaim(key: string, value: string): Promise<void>
  close(): Promise<void>
}

/**
 * An ask for one token of the bucket `key`. The last ask's rate is the bucket's: it may change at any time. What was
 * reserved before stands, and what comes after follows it at the new pace.
 */
export interface TokenAsk {
  readonly key: string
  /** So many tokens come in `perMs`, evenly. More than 0, not necessarily whole: half a token in a second is one in two. */
  readonly limit: number
  /** In ms, more than 0. */
  readonly perMs: number
  /**
   * So many tokens a bucket keeps that nobody has asked for. Whole, at least 1. In any time t at most
   * `burst + limit × t ÷ perMs` tokens come due. @default 1, as in Celery (`TokenBucket(limit, capacity=1)` in
   * `celery/worker/consumer/consumer.py`)
   */
  readonly burst?: number
  /**
   * A token that comes later than this is not reserved. In ms; 0 takes what is there. It is also how long a flood of
   * asks whose tokens nobody comes for holds up those after it, and how long a change of the rate may take to be felt.
   */
  readonly maxWaitMs: number
}

export interface Slot {
  readonly key: string
  /** Names the holder among all of this key, e.g. a task's id. */
  readonly holder: string
}

/** An ask for one of `limit` slots. Where a limit falls below what is held, nobody loses a slot; nobody gets one either. */
export interface SlotAsk extends Slot {
  /** Whole, at least 0. */
  readonly limit: number
}
