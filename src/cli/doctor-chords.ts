/** Chords that wait for members of their header: how many, and those that would wait for ever. */
import type { WaitingJoin } from '../result/why.ts'
import { type Finding, ok, warn } from './finding.ts'
import { plural } from './output.ts'

/** Of many stuck ones so many are named. */
const named = 5

export function aboutChords(joins: readonly WaitingJoin[]): Finding[] {
  if (joins.length === 0) return []
  const stuck = joins.filter(({ isStuck }) => isStuck)
  const waiting = joins.filter(({ isStuck, failed }) => !isStuck && failed === undefined)
  return [
    ...(waiting.length > 0 ? [ok('chords', `${plural(waiting.length, 'chord')} under way`)] : []),
    ...stuck
      .slice(0, named)
      .map(({ reason, bodyId }) =>
        warn('chords', `one waits for ever: ${reason}`, `celeriac result ${bodyId} --why; then send it again`),
      ),
  ]
}
