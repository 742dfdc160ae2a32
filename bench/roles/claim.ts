/** Claims alone, below the worker: how fast messages are handed out, whatever lies behind them in the queue. */
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import { type Environment, openSession } from './role.ts'

export interface ClaimResult {
  readonly claimsPerSecond: number
  readonly exactness: Exactness
}

/** Claims and acknowledges `count` messages in batches; only the claims are timed. `first` is the lowest index waiting. */
export async function claim(
  environment: Environment,
  { count, batch, first }: { count: number; batch: number; first: number },
): Promise<ClaimResult> {
  const session = await openSession(environment)
  if (session.claimer === undefined) throw new Error(`${environment.side} offers nothing below its worker`)
  const claimer = await session.claimer()
  const tally = new Tally(count)
  let claimingMs = 0
  for (let taken = 0; taken < count; ) {
    const start = nowMs()
    const { indexes, ack } = await claimer.claim(Math.min(batch, count - taken))
    claimingMs += nowMs() - start
    if (indexes.length === 0) throw new Error(`nothing to claim after ${taken} of ${count}`)
    for (const i of indexes) tally.add(i - first)
    taken += indexes.length
    await ack()
  }
  await claimer.close()
  await session.close()
  return { claimsPerSecond: (count / claimingMs) * 1_000, exactness: tally.exactness() }
}
