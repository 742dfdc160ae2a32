/** The beginning of joins: what the store must know before the members of a group are sent. */
import { CeleriacError } from '../errors.ts'
import type { ResultStore } from '../result/result-store.ts'
import type { StartedGroup } from './composite.ts'

/** Tells who belongs to each group, and how many parts each join waits for. Harmless when done twice. */
export async function beginGroups(groups: readonly StartedGroup[], results: ResultStore): Promise<void> {
  const joined = groups.filter(({ size }) => size !== null)
  const records = groups.map(({ size: _size, ...group }) => group)
  // Where lists stand within lists, whoever completes the join must find them, Python too.
  const isNested = ({ members }: StartedGroup): boolean => members.some((member) => typeof member !== 'string')
  const nested = new Set(joined.filter(isNested).map(({ groupId }) => groupId))
  await Promise.all([
    results.saveGroups(records.filter(({ groupId }) => !nested.has(groupId))),
    results.saveGroups(
      records.filter(({ groupId }) => nested.has(groupId)),
      true,
    ),
  ])
  await Promise.all(joined.map(({ groupId, size }) => results.join(groupId, { size: size as number })))
}

/** @throws CeleriacError `UNSUPPORTED` for a chord, without a store that can join */
export function refuseJoins(groups: readonly StartedGroup[]): void {
  if (groups.some(({ size }) => size !== null)) throw noJoins()
}

export function noJoins(): CeleriacError {
  return new CeleriacError(
    'UNSUPPORTED',
    'a chord, or a group with a step behind it, needs a result store that can join its members: `results` on SQLite, Redis or memory',
  )
}
