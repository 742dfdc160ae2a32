/** Which queues a migration is to move, and what speaks against it. */
import type { Broker, BrokerCapabilities, QueueInfo } from '../broker/broker.ts'
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { deadSuffix } from '../send/dead-letters.ts'
import { UsageError } from './values.ts'

/** Queues of the machinery, ours and Celery's: remote control, events, delays, replies. */
const machinery = [/^celeriac\./, /\.celery\.pidbox$/, /^celeryev\./, /^celery_delayed_/, /^amq\.gen-/]
const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

/** The named queues with their dead letters, or all; each before its dead letters. */
export async function planOf(source: Broker, names: readonly string[] | undefined): Promise<QueueInfo[]> {
  const known = (await source.queues()).filter(({ queue }) => !isMachinery(queue))
  const infoOf = async (queue: string): Promise<QueueInfo> =>
    known.find((info) => info.queue === queue) ?? {
      queue,
      ...(await source.depth(queue)),
      paused: false,
      consumers: 0,
      oldestMs: null,
    }
  // Servers that lend by connection need not know their queues by name; asked for one, they know it.
  const isListed = source.capabilities.lease === 'timed' || known.length > 0
  if (names === undefined) {
    if (isListed) return known.sort((a, b) => (a.queue < b.queue ? -1 : 1))
    throw new UsageError('the source does not tell which queues it has: name them with --queue (may be repeated)')
  }
  const plan: QueueInfo[] = []
  for (const name of new Set(names)) {
    const info = await infoOf(name)
    const dead = await infoOf(`${name}${deadSuffix}`)
    if (!known.includes(info) && isEmpty(info) && isEmpty(dead)) refuseUnknown(name, known)
    plan.push(info)
    if (known.includes(dead) || !isEmpty(dead)) plan.push(dead)
  }
  return plan
}

/** Nobody is given messages of a paused queue, and a migration is not let in either. */
export function refusePaused(plan: readonly QueueInfo[]): void {
  const paused = plan.find((info) => info.paused && !isEmpty(info))
  if (paused === undefined) return
  throw new CeleriacError(
    'CONFIG_INVALID',
    `'${paused.queue}' is paused at the source, so nobody may fetch from it: stop its workers instead, then ` +
      '`celeriac queue resume` it and migrate',
  )
}

/** Whether there is surely nothing to move: servers that lend by connection do not count what is delayed. */
export function isSpent(info: QueueInfo, { lease }: BrokerCapabilities): boolean {
  return isEmpty(info) && (lease === 'timed' || info.queue.endsWith(deadSuffix))
}

function isEmpty({ ready, delayed, inFlight }: QueueInfo): boolean {
  return ready + delayed + inFlight === 0
}

function isMachinery(queue: string): boolean {
  return uuid.test(queue) || machinery.some((pattern) => pattern.test(queue))
}

function refuseUnknown(name: string, known: readonly QueueInfo[]): never {
  const names = known.map(({ queue }) => queue)
  const guess = nearest(name, names)
  const advice = guess === undefined ? `it has ${names.join(', ') || 'none'}` : `did you mean '${guess}'?`
  throw new UsageError(`the source has no queue '${name}'; ${advice}`)
}
