import { claim } from './claim.ts'
import { drain } from './drain.ts'
import { enqueue, fill, fillChains, messageBytes } from './enqueue.ts'
import { receiveEta } from './eta.ts'
import { chainsOneByOne, receive, sendAndReceive, sendDelayed, sendPaced } from './latency.ts'
import { memory } from './memory.ts'
import { bareChildren, drainPool, fillWork } from './pools.ts'
import { rawDrain, rawFill } from './raw.ts'
import type { Role } from './role.ts'

export type { Role } from './role.ts'

/** Everything a measured process can be told to do. */
export const roles = {
  bareChildren,
  chainsOneByOne,
  claim,
  drain,
  drainPool,
  enqueue,
  fill,
  fillChains,
  fillWork,
  memory,
  messageBytes,
  rawDrain,
  rawFill,
  receive,
  receiveEta,
  sendAndReceive,
  sendDelayed,
  sendPaced,
}

export type RoleName = keyof typeof roles
export type ParamsOf<N extends RoleName> = (typeof roles)[N] extends Role<infer P, unknown> ? P : never
export type ResultOf<N extends RoleName> = (typeof roles)[N] extends Role<never, infer R> ? R : never
