/**
 * Pausing a queue. Fetches by script see the mark; consumers that wait by blocking are woken, and then see it too.
 *
 * One may have seen that the queue was not paused, and begin to wait just after it was: therefore nobody begins a wait
 * later than 50 ms after he looked, and waits are ended a second time after that.
 */
import { blockedKey } from './blocker.ts'
import type { RedisClient } from './client.ts'

const secondTimeMs = 100

export async function pauseQueue(client: RedisClient, queue: string): Promise<void> {
  await client.command('SADD', pausedKey(client), queue)
  await endWaits(client, queue)
  await new Promise((resolve) => setTimeout(resolve, secondTimeMs))
  await endWaits(client, queue)
}

export async function resumeQueue(client: RedisClient, queue: string): Promise<void> {
  await client.command('SREM', pausedKey(client), queue)
}

/** Set of the queues that are paused. */
export function pausedKey({ prefix }: RedisClient): string {
  return `${prefix}celeriac:paused`
}

async function endWaits(client: RedisClient, queue: string): Promise<void> {
  const fields = (await client.command('HGETALL', blockedKey(client))) as string[]
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (fields[i + 1] === queue) await client.command('CLIENT', 'UNBLOCK', fields[i] as string)
  }
}
