/**
 * The schedule store contract: what beats share, kept by the broker that gets the messages. Entries are texts to it, with
 * a revision each; what is in them is `beat/entry.ts`.
 *
 * One beat leads, under a lease. It advances entries, which is one step with publishing what became due: an entry that
 * somebody else has changed or advanced meanwhile stays as it is, and nothing is published for it. So no firing happens
 * twice, however many believe that they lead, and none is lost where a leader dies.
 *
 * A store serves one scope, which is one application: those of others on the same broker are not seen.
 */
import type { OutgoingMessage } from './broker.ts'

export interface ScheduleStore {
  /** Before its broker is closed, and after it was opened. */
  open(): Promise<void>
  /** All entries, a page after the other, in no order. There may be very many; one may come twice. */
  list(): AsyncIterable<readonly StoredEntry[]>
  /** Those of the names that there are. */
  load(names: readonly string[]): Promise<StoredEntry[]>
  /** Writes each entry that still has the revision. Answers the names of the others, which stay as they are. */
  write(changes: readonly EntryChange[]): Promise<string[]>
  /** The lead, or null while somebody else has it. Does not wait. */
  lead(leaseMs: number): Promise<ScheduleLead | null>
  close(): Promise<void>
}

export interface StoredEntry {
  readonly name: string
  /** At least 1, and one more after each change; never one that an entry of this name has had, also where it was removed. */
  readonly revision: number
  readonly value: string
}

export interface EntryChange {
  readonly name: string
  /** As it was read; 0 for an entry that is not there. */
  readonly revision: number
  /** Null removes it. */
  readonly value: string | null
}

export interface Advance {
  readonly name: string
  /** As it was read; it is one more afterwards. */
  readonly revision: number
  readonly value: string
  /** Published with the change, or not at all. */
  readonly publish: readonly OutgoingMessage[]
}

export interface ScheduleLead {
  /** Lasts `leaseMs` from now again. False once it was lost: somebody else may lead. */
  renew(leaseMs: number): Promise<boolean>
  /** Names that `write` has changed since the last call, or since the lead began. */
  changes(): Promise<string[]>
  /**
   * Advances entries, those of one call together. Answers the names of those that no longer had their revision: they are
   * as somebody else has left them.
   *
   * @throws LeaseLostError when somebody else leads: nothing has happened. After another error it may have happened; who
   *   tries again with the same revisions does no harm.
   */
  advance(steps: readonly Advance[]): Promise<string[]>
  /** Lets others lead. Harmless once lost. */
  release(): Promise<void>
}
