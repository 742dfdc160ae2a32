/**
 * The raw ceiling on Redis: one script call acknowledges a batch and fetches the next, several calls at a time. The
 * messages are in a list; what is fetched moves into a hash, and its lease into a sorted set. Same client as Celeriac's.
 */
import { connectRedis } from '../harness/native-client.ts'
import { Tally } from '../harness/tally.ts'
import { nowMs } from '../harness/time.ts'
import { heldOf, indexDigits, type RawDrain, type RawFill, rawMessage } from './raw-loop.ts'

const list = 'raw'
const keys = [list, 'raw:leases', 'raw:held'] as const
const leaseMs = 30_000

/**
 * KEYS: the list, the leases (sorted set: id → when it ends), the held (hash: id → message).
 * ARGV: how many to fetch, when their lease ends, the ids to acknowledge. Returns the fetched messages.
 */
const acknowledgeAndFetch = `
  if #ARGV > 2 then
    redis.call('ZREM', KEYS[2], unpack(ARGV, 3))
    redis.call('HDEL', KEYS[3], unpack(ARGV, 3))
  end
  local fetched = redis.call('RPOP', KEYS[1], ARGV[1])
  if not fetched then return {} end
  local leases, held = {}, {}
  for i = 1, #fetched do
    local id = string.sub(fetched[i], 1, ${indexDigits})
    leases[2 * i - 1], leases[2 * i] = ARGV[2], id
    held[2 * i - 1], held[2 * i] = id, fetched[i]
  end
  redis.call('ZADD', KEYS[2], unpack(leases))
  redis.call('HSET', KEYS[3], unpack(held))
  return fetched
`

/** Pushes of `batch` messages, `inFlight` of them at a time. */
export const fillRedis: RawFill = async (store, { count, batch, inFlight, messageBytes }) => {
  const redis = await connectRedis(store.url)
  const messages = Array.from({ length: count }, (_, i) => rawMessage(i, messageBytes))
  let next = 0
  const push = async (): Promise<void> => {
    while (next < count) {
      const from = next
      next += batch
      await redis.lpush(list, ...messages.slice(from, from + batch))
    }
  }
  const start = nowMs()
  await Promise.all(Array.from({ length: inFlight }, push))
  const perSecond = (count / (nowMs() - start)) * 1_000
  const held = await redis.llen(list)
  await redis.quit()
  return { perSecond, exactness: heldOf(count, held) }
}

export const drainRedis: RawDrain = async (store, { count, batch, inFlight }) => {
  const redis = await connectRedis(store.url)
  const sha = await redis.script('LOAD', acknowledgeAndFetch)
  const tally = new Tally(count)
  const loop = async (): Promise<void> => {
    let done: string[] = []
    for (;;) {
      const reply = await redis.evalsha(sha, keys.length, ...keys, batch, Date.now() + leaseMs, ...done)
      const fetched = reply as string[]
      if (fetched.length === 0) return
      done = fetched.map((message) => message.slice(0, indexDigits))
      for (const id of done) tally.add(Number(id))
    }
  }
  const start = nowMs()
  const cpuAtStart = process.cpuUsage()
  await Promise.all(Array.from({ length: inFlight }, loop))
  const seconds = (nowMs() - start) / 1_000
  const { user, system } = process.cpuUsage(cpuAtStart)
  const unacknowledged = await redis.zcard(keys[1])
  await redis.quit()
  if (unacknowledged > 0) throw new Error(`${unacknowledged} messages were not acknowledged`)
  return { perSecond: count / seconds, cpuUsPerTask: (user + system) / count, exactness: tally.exactness() }
}
