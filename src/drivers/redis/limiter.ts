/**
 * Limits on Redis: a key for each bucket, for the slots of one limit and for each claim, all on the server's clock, all
 * gone by themselves when they are over. A script sees one key; what is asked of several goes out one after the other
 * without waiting. All may run twice when an answer was lost: only a reservation does not know itself again, and then
 * a token is wasted, which costs less than noting every call.
 *
 * As with locks, a replica that is promoted may not have heard of the last calls: for a moment there may be more of a
 * limit than there should be.
 */
import type { Limiter, Slot, SlotAsk, TokenAsk } from '../../broker/limiter.ts'
import { assertTokenAsks } from '../../broker/token-bucket.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'
import type { Argument } from './connection.ts'
import { defineScript, type Script } from './script.ts'

/** `now`: the server's time, epoch ms; `whole(number)`: as a text, without an exponent. */
const timeLua = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function whole(number) return string.format('%.0f', number) end
`

/**
 * Takes tokens of one bucket: `reserveToken` of `broker/token-bucket.ts`, where it is explained, for several asks.
 *
 * - KEYS[1]: the bucket: `<since> <taken> <limit> <per ms>`; rates are compared as they are written
 * - ARGV: for each ask the limit, per how many ms, the burst, and how long it waits in ms
 * - returns for each the ms to wait, or -1
 */
const reserveScript = defineScript(`
${timeLua}
local since, taken, limit, per = string.match(redis.call('GET', KEYS[1]) or '', '^(%S+) (%S+) (%S+) (%S+)$')
since, taken = tonumber(since), tonumber(taken)
local function free_at() return since + taken * tonumber(per) / tonumber(limit) end
local waits, reserved = {}, false
for at = 1, #ARGV, 4 do
  if not since or free_at() <= now then
    since, taken = now, 0
  elseif limit ~= ARGV[at] or per ~= ARGV[at + 1] then
    since, taken = math.ceil(free_at()), 0
  end
  limit, per = ARGV[at], ARGV[at + 1]
  local early = taken - tonumber(ARGV[at + 2]) + 1
  local wait = math.max(0, math.floor(since - now + early * tonumber(per) / tonumber(limit)))
  if wait > tonumber(ARGV[at + 3]) then
    waits[#waits + 1] = -1
  else
    taken = taken + 1
    reserved = true
    waits[#waits + 1] = wait
  end
end
if reserved then
  local text = whole(since) .. ' ' .. whole(taken) .. ' ' .. limit .. ' ' .. per
  redis.call('SET', KEYS[1], text, 'PX', whole(math.max(1, math.ceil(free_at() - now))))
end
return waits
`)

/**
 * Takes slots of one limit. The key goes with the last of its leases.
 *
 * - KEYS[1]: who holds them
 * - ARGV: the lease in ms; then for each ask the limit and the holder
 * - returns for each 1, or 0
 */
const acquireScript = defineScript(`
${timeLua}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local held = redis.call('ZCARD', KEYS[1])
local answers = {}
for at = 2, #ARGV, 2 do
  local has = redis.call('ZSCORE', KEYS[1], ARGV[at + 1])
  if not has and held < tonumber(ARGV[at]) then
    held = held + 1
    has = true
  end
  if has then redis.call('ZADD', KEYS[1], whole(now + ARGV[1]), ARGV[at + 1]) end
  answers[#answers + 1] = has and 1 or 0
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then redis.call('PEXPIREAT', KEYS[1], whole(last)) end
return answers
`)

/**
 * - KEYS[1]: who holds slots of one limit
 * - ARGV: the new lease in ms; then the holders
 * - returns for each 1, or 0 when it was lost
 */
const renewScript = defineScript(`
${timeLua}
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', whole(now))
local answers = {}
for at = 2, #ARGV do
  local has = redis.call('ZSCORE', KEYS[1], ARGV[at])
  if has then redis.call('ZADD', KEYS[1], whole(now + ARGV[1]), ARGV[at]) end
  answers[#answers + 1] = has and 1 or 0
end
local last = redis.call('ZRANGE', KEYS[1], -1, -1, 'WITHSCORES')[2]
if last then redis.call('PEXPIREAT', KEYS[1], whole(last)) end
return answers
`)

/**
 * - KEYS[1]: who holds slots of one limit
 * - ARGV: the holders who let go of theirs
 */
const releaseScript = defineScript(`
for _, holder in ipairs(ARGV) do redis.call('ZREM', KEYS[1], holder) end
`)

/**
 * - KEYS[1]: the claim
 * - ARGV: the value, how long in ms
 * - returns the value it stands for
 */
const claimScript = defineScript(`
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
`)

/**
 * - KEYS[1]: the claim
 * - ARGV[1]: the value
 */
const unclaimScript = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)

export class RedisLimiter implements Limiter {
  readonly #client: RedisClient
  readonly #use: ClientUse

  constructor(client: RedisClient) {
    this.#client = client
    this.#use = new ClientUse(client, 'the limiter')
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async reserve(asks: readonly TokenAsk[]): Promise<(number | null)[]> {
    assertTokenAsks(asks)
    const waits = await this.#each('bucket', asks, reserveScript, [], ({ limit, perMs, burst = 1, maxWaitMs }) => [
      limit,
      perMs,
      burst,
      Math.min(maxWaitMs, Number.MAX_SAFE_INTEGER),
    ])
    return waits.map((waitMs) => (waitMs < 0 ? null : waitMs))
  }

  async acquire(asks: readonly SlotAsk[], leaseMs: number): Promise<boolean[]> {
    const answers = await this.#each('slots', asks, acquireScript, [wholeMs(leaseMs)], ({ limit, holder }) => [
      limit,
      holder,
    ])
    return answers.map((answer) => answer === 1)
  }

  async renew(slots: readonly Slot[], leaseMs: number): Promise<Slot[]> {
    const answers = await this.#each('slots', slots, renewScript, [wholeMs(leaseMs)], ({ holder }) => [holder])
    return slots.filter((_, index) => answers[index] !== 1)
  }

  async release(slots: readonly Slot[]): Promise<void> {
    await this.#each('slots', slots, releaseScript, [], ({ holder }) => [holder])
  }

  async claim(key: string, value: string, ttlMs: number): Promise<string> {
    return String(await this.#script(claimScript, `claim:${key}`, [value, wholeMs(ttlMs)]))
  }

  async unclaim(key: string, value: string): Promise<void> {
    await this.#script(unclaimScript, `claim:${key}`, [value])
  }

  close(): Promise<void> {
    return this.#use.close()
  }

  /** Runs the script once for each key with all that is asked of it. Answers in the order of the asks. */
  async #each<Ask extends { readonly key: string }>(
    kind: 'bucket' | 'slots',
    asks: readonly Ask[],
    script: Script,
    first: readonly Argument[],
    argumentsOf: (ask: Ask) => readonly Argument[],
  ): Promise<number[]> {
    const places = new Map<string, number[]>()
    for (const [place, { key }] of asks.entries()) {
      const known = places.get(key)
      if (known === undefined) places.set(key, [place])
      else known.push(place)
    }
    const answers: number[] = []
    await Promise.all(
      [...places].map(async ([key, its]) => {
        const args = [...first, ...its.flatMap((place) => argumentsOf(asks[place] as Ask))]
        const reply = (await this.#script(script, `${kind}:${key}`, args)) as number[] | null
        for (const [nth, place] of its.entries()) answers[place] = reply?.[nth] ?? 0
      }),
    )
    return answers
  }

  async #script(script: Script, key: string, args: readonly Argument[]): Promise<unknown> {
    this.#use.assertOpen()
    return this.#client.script(script, [`${this.#client.prefix}celeriac:${key}`], args)
  }
}

/** At least one: none would end the key at once. */
function wholeMs(ms: number): string {
  return String(Math.min(Math.max(1, Math.ceil(ms)), Number.MAX_SAFE_INTEGER))
}
