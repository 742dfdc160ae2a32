/**
 * The lock contract: a lease on a name, with a fencing token. A token is larger than every token given out for that
 * name before, so whatever the holder writes can be refused once somebody else holds the lock
 * (M. Kleppmann, "How to do distributed locking", 2016).
 */
export interface Lock {
  open(): Promise<void>
  /** The lease, or null while somebody else holds it. Does not wait. */
  acquire(name: string, leaseMs: number): Promise<LockLease | null>
  close(): Promise<void>
}

export interface LockLease {
  readonly name: string
  /** Whole, at least 1, growing with each acquisition of the name. */
  readonly token: number
  /** Lasts `leaseMs` from now again. False once it was lost: stop what the lock protects. */
  renew(leaseMs: number): Promise<boolean>
  /** Lets others have it. Harmless once lost. */
  release(): Promise<void>
}
