/** Send → start: how late a task begins, after it was sent or after it was due. */
import { payload, payloads } from '../harness/payload.ts'
import { max, quantile } from '../harness/stats.ts'
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs, pause, until } from '../harness/time.ts'
import type { Session, Started } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import { type Environment, openSession } from './role.ts'

export interface LatencyResult {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  readonly exactness: Exactness
}

export interface Pace {
  readonly count: number
  readonly everyMs: number
  /** Tasks sent first, one after the other as fast as they go, so that the code is warm; their times do not count. */
  readonly warmUp: number
}

/** Producer and worker in one process. */
export async function sendAndReceive(environment: Environment, pace: Pace): Promise<LatencyResult> {
  const session = await openSession(environment)
  const { lateness, worker } = await receiver(session, environment, pace, sinceSent)
  await sendAtPace(session, pace, (i) => session.send(payload(i, nowMs())))
  const result = await lateness()
  await worker.stop()
  await session.close()
  return result
}

/** A chain's way in one process: from its send until the last of its three steps starts. */
export async function chainsOneByOne(environment: Environment, pace: Pace): Promise<LatencyResult> {
  const session = await openSession(environment)
  const { lateness, worker } = await receiver(session, environment, pace, sinceSent)
  await sendAtPace(session, pace, (i) => session.sendChain(payload(i, nowMs())))
  const result = await lateness()
  await worker.stop()
  await session.close()
  return result
}

/** From the send of a chord until its body starts, in one process; each is sent when the last one is over. */
export async function chords(
  environment: Environment,
  { count, members, warmUp }: { count: number; members: number; warmUp: number },
): Promise<LatencyResult> {
  const session = await openSession(environment)
  const { lateness, worker, ran } = await receiver(session, environment, { count, warmUp }, sinceSent, 'busy')
  for (let i = 0; i < warmUp + count; i++) {
    await session.sendChord(payload(i, nowMs()), members)
    await until(() => ran() > i, 1, 60_000)
  }
  const result = await lateness()
  await worker.stop()
  await session.close()
  return result
}

/** The producer of two processes. */
export async function sendPaced(environment: Environment, pace: Pace): Promise<null> {
  const session = await openSession(environment)
  await environment.parent.ready()
  await sendAtPace(session, pace, (i) => session.send(payload(i, nowMs())))
  await session.close()
  return null
}

/** The worker of two processes. `since` says which clock the payloads' `at` is of: sent (monotonic) or due (epoch). */
export async function receive(
  environment: Environment,
  { since, ...pace }: Pace & { since: 'sent' | 'due' },
): Promise<LatencyResult> {
  const session = await openSession(environment)
  const { lateness, worker } = await receiver(session, environment, pace, since === 'sent' ? sinceSent : sinceDue)
  await environment.parent.ready()
  const result = await lateness()
  await worker.stop()
  await session.close()
  return result
}

/** Sends everything ahead of one moment at which all of it is due. Answers how long before that it was done. */
export async function sendDelayed(
  environment: Environment,
  { count, dueInMs }: { count: number; dueInMs: number },
): Promise<{ readonly aheadMs: number }> {
  const session = await openSession(environment)
  await environment.parent.ready()
  const dueAtMs = Date.now() + dueInMs
  await session.sendDelayed(payloads(count, dueAtMs))
  const aheadMs = dueAtMs - Date.now()
  await session.close()
  return { aheadMs }
}

/** The clock a payload's `at` is of: of this process, or of another one that has told when it started. */
type Clock = (started: Started | undefined) => number
const sinceSent: Clock = (started) => started?.monotonicMs ?? nowMs()
const sinceDue: Clock = (started) => started?.epochMs ?? Date.now()

async function receiver(
  session: Session,
  { side }: Environment,
  { count, warmUp }: Omit<Pace, 'everyMs'>,
  clock: Clock,
  load: 'light' | 'busy' = 'light',
) {
  if (side === 'raw') throw new Error('the raw ceiling has no worker')
  const tally = new Tally(warmUp + count)
  const lateMs = new Float64Array(warmUp + count)
  const { settings } = traits[side]
  const setting = load === 'busy' ? settings[settings.length - 1] : undefined
  const worker = await session.work(setting ?? settings[0], ({ i, at }, started) => {
    lateMs[i] = clock(started) - at
    tally.add(i)
  })
  const lateness = async (): Promise<LatencyResult> => {
    await until(() => tally.distinct === warmUp + count, 5, 60_000).catch(() => {}) // what is missing shows below
    await pause(50) // so that a double would still be seen
    const counted = [...lateMs.subarray(warmUp)]
    return {
      p50Ms: quantile(counted, 0.5),
      p99Ms: quantile(counted, 0.99),
      maxMs: max(counted),
      exactness: tally.exactness(),
    }
  }
  return { lateness, worker, ran: () => tally.distinct }
}

/** Sends at fixed moments, whether or not the last send is through: a slow answer must not thin out the load. */
async function sendAtPace(
  session: Session,
  { count, everyMs, warmUp }: Pace,
  send: (i: number) => Promise<unknown>,
): Promise<void> {
  for (let i = 0; i < warmUp; i++) await send(i)
  // A worker that is slower than its producer must not meet the measured tasks behind the others.
  await until(async () => (await session.waiting()) === 0, 50, 60_000)
  await pause(500)
  const sends: Promise<unknown>[] = []
  const start = nowMs()
  for (let i = 0; i < count; ) {
    if (nowMs() >= start + i * everyMs) sends.push(send(warmUp + i++))
    else await pause(start + i * everyMs - nowMs())
  }
  await Promise.all(sends)
}
