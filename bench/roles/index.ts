import { beat, idleBeat, takeFirings } from './beats.ts'
import { claim } from './claim.ts'
import { drain } from './drain.ts'
import { enqueue, fill, fillChains, messageBytes } from './enqueue.ts'
import { receiveEta } from './eta.ts'
import { chainsOneByOne, chords, receive, sendAndReceive, sendDelayed, sendPaced } from './latency.ts'
import { memory } from './memory.ts'
import { drainWatched, lookAtPages, monitor, tellEvents, watchFrames } from './monitor.ts'
import { bareChildren, drainPool, fillWork } from './pools.ts'
import { rawDrain, rawFill } from './raw.ts'
import type { Role } from './role.ts'

export type { Role } from './role.ts'

/** Everything a measured process can be told to do. */
export const roles = {
  bareChildren,
  beat,
  chainsOneByOne,
  chords,
  claim,
  drain,
  drainPool,
  drainWatched,
  enqueue,
  fill,
  fillChains,
  fillWork,
  idleBeat,
  lookAtPages,
  memory,
  messageBytes,
  monitor,
  rawDrain,
  rawFill,
  receive,
  receiveEta,
  sendAndReceive,
  sendDelayed,
  sendPaced,
  takeFirings,
  tellEvents,
  watchFrames,
}

export type RoleName = keyof typeof roles
export type ParamsOf<N extends RoleName> = (typeof roles)[N] extends Role<infer P, unknown> ? P : never
export type ResultOf<N extends RoleName> = (typeof roles)[N] extends Role<never, infer R> ? R : never
