/** Producers: how fast tasks get into the store, and the fills that other measurements start from. */
import { payload, payloads } from '../harness/payload.ts'
import type { Exactness } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import type { Session } from '../sides/side.ts'
import { type Environment, openSession } from './role.ts'

/** `one`: the next is sent when the last is held. `concurrent`: 100 awaited at a time. `bulk`: the side's bulk call. */
export type EnqueueMode = 'one' | 'concurrent' | 'bulk'

const inFlight = 100

export interface EnqueueResult {
  readonly perSecond: number
  readonly exactness: Exactness
}

export async function enqueue(
  environment: Environment,
  { mode, count }: { mode: EnqueueMode; count: number },
): Promise<EnqueueResult> {
  const session = await openSession(environment)
  const start = nowMs()
  await senders[mode](session, count)
  const perSecond = (count / (nowMs() - start)) * 1_000
  const exactness = difference(count, await session.waiting())
  await session.close()
  return { perSecond, exactness }
}

const senders: Record<EnqueueMode, (session: Session, count: number) => Promise<void>> = {
  async one(session, count) {
    await session.sendEach(payloads(count))
  },
  async concurrent(session, count) {
    let next = 0
    const sender = async (): Promise<void> => {
      while (next < count) await session.send(payload(next++))
    }
    await Promise.all(Array.from({ length: inFlight }, sender))
  },
  async bulk(session, count) {
    await session.sendMany(payloads(count))
  },
}

/** Fills the store, unmeasured. */
export async function fill(
  environment: Environment,
  { count }: { count: number },
): Promise<{ readonly exactness: Exactness }> {
  const session = await openSession(environment)
  const step = 20_000 // payloads in memory at a time: the largest backlog is of millions
  for (let from = 0; from < count; from += step) {
    const size = Math.min(step, count - from)
    await session.sendMany(Array.from({ length: size }, (_, i) => payload(from + i)))
  }
  const exactness = difference(count, await session.waiting())
  await session.close()
  return { exactness }
}

/** Fills the store with chains of three. */
export async function fillChains(environment: Environment, { count }: { count: number }): Promise<null> {
  const session = await openSession(environment)
  let next = 0
  const sender = async (): Promise<void> => {
    while (next < count) await session.sendChain(payload(next++))
  }
  await Promise.all(Array.from({ length: inFlight }, sender))
  await session.close()
  return null
}

/** Bytes of one message as the side stores it, so that the raw ceiling's rows can be as large. */
export async function messageBytes(environment: Environment, _: object): Promise<number> {
  const session = await openSession(environment)
  await session.send(payload(12_345))
  const bytes = await session.messageBytes()
  await session.close()
  return bytes
}

function difference(sent: number, held: number): Exactness {
  return { doubles: Math.max(0, held - sent), misses: Math.max(0, sent - held) }
}
