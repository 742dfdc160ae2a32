import type { EntryChange, StoredEntry } from '../../broker/schedule-store.ts'

/** Entries of one scope, and what changed since a leader last asked. */
export class ScheduleTable {
  readonly entries = new Map<string, StoredEntry>()
  readonly changed = new Set<string>()

  has({ name, revision }: { readonly name: string; readonly revision: number }): boolean {
    return (this.entries.get(name)?.revision ?? 0) === revision
  }

  /**
   * Revisions begin with the time, so that an entry which is made anew has none of its predecessor's.
   * @returns whether it had the revision
   */
  write({ name, revision, value }: EntryChange, nowMs: number): boolean {
    if (!this.has({ name, revision })) return false
    if (value === null) this.entries.delete(name)
    else this.entries.set(name, { name, revision: revision === 0 ? nowMs : revision + 1, value })
    return true
  }
}
