/**
 * Joins on the keys of Celery's chords (`celery/backends/redis.py`): under `celery-taskset-meta-<group id>`, the parts
 * (`.j`, a sorted set), the size (`.s`), and how many more members came to it later (`.t`). Python members and ours can
 * so finish each other's chords.
 *
 * Python counts parts, and so counts a member twice that ran twice. Beside Celery's keys stands a hash of ours with the
 * ids of members that joined through here, so that none of them is added twice; and once the count reaches the size, ids
 * are told apart one by one, Python's too. Until then `joined` counts a Python member as often as it left a part.
 * After a join the hash keeps nothing but that it is closed.
 */
import type { Logger } from '../../logger.ts'
import type { JoinPart, JoinProgress } from '../../result/result-store.ts'
import type { RedisClient } from './client.ts'
import { decodePart, encodePart, scoreOf } from './result-part.ts'
import { expiryArg } from './result-save.ts'
import { defineScript } from './script.ts'

/**
 * Adds a part, or tells the size, or both, and looks where the join stands.
 *
 * - KEYS: the parts, the members that came later, the size (each of Celery), the hash of ours
 * - ARGV: ms until they go ('' for never), the size ('' where not told), the member's id ('' for no part), the part's
 *   score, the part
 * - returns the members counted; the size, or false while nobody told it; and, once complete and until it is closed,
 *   parts and scores in turn
 */
const joinScript = defineScript(`
local parts_key, later_key, size_key, own_key = unpack(KEYS)
local expires, size, member, score, part = unpack(ARGV)

local closed = redis.call('HMGET', own_key, 'joined', 'size')
if closed[1] then return {tonumber(closed[1]), tonumber(closed[2]) or false, false} end

if member ~= '' and redis.call('HSETNX', own_key, 'member:' .. member, '') == 1 then
  redis.call('ZADD', parts_key, score, part)
end
if size ~= '' then
  redis.call('SET', size_key, size)
  redis.call('PUBLISH', size_key, size)
end
if expires ~= '' then
  for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, expires) end
end

local count = redis.call('ZCARD', parts_key)
local told = tonumber(redis.call('GET', size_key) or '')
if not told then return {count, false, false} end
local wanted = told + (tonumber(redis.call('GET', later_key) or '') or 0)
if count < wanted then return {count, wanted, false} end

local entries = redis.call('ZRANGE', parts_key, 0, -1, 'WITHSCORES')
local seen, distinct = {}, 0
for i = 1, #entries, 2 do
  local id = string.match(entries[i], '^%[%s*1%s*,%s*"([^"]*)"')
  if id and not seen[id] then
    seen[id] = true
    distinct = distinct + 1
  end
end
return {distinct, wanted, distinct >= wanted and entries}
`)

/**
 * Removes all of a join but the word that it is over. Late parts find that, for as long as an open join would last.
 *
 * - KEYS: as above
 * - ARGV[1]: ms until the word goes, '' for never
 */
const closeScript = defineScript(`
local parts_key, later_key, size_key, own_key = unpack(KEYS)
local expires = ARGV[1]

if redis.call('HEXISTS', own_key, 'joined') == 0 then
  local joined = redis.call('ZCARD', parts_key)
  local told = tonumber(redis.call('GET', size_key) or '')
  local wanted = told and told + (tonumber(redis.call('GET', later_key) or '') or 0)
  redis.call('UNLINK', own_key)
  redis.call('HSET', own_key, 'joined', joined, 'size', wanted or '')
end
redis.call('UNLINK', parts_key, later_key, size_key)
if expires ~= '' then redis.call('PEXPIRE', own_key, expires) end
`)

export class ResultJoins {
  readonly #client: RedisClient

  constructor(client: RedisClient) {
    this.#client = client
  }

  async join(groupId: string, { part, size }: { part?: JoinPart; size?: number }): Promise<JoinProgress> {
    const expires = expiryArg(this.#client)
    const own = part === undefined ? ['', '', ''] : [part.memberId, scoreOf(part), encodePart(part)]
    const args = [expires, size === undefined ? '' : String(size), ...own]
    const reply = await this.#client.script(joinScript, this.#keys(groupId), args)
    const [joined, wanted, entries] = reply as [number, number | null, string[] | null]
    return {
      joined,
      size: wanted ?? undefined,
      parts: entries === null ? undefined : readParts(entries, groupId, this.#client.logger),
    }
  }

  async close(groupId: string): Promise<void> {
    await this.#client.script(closeScript, this.#keys(groupId), [expiryArg(this.#client)])
  }

  #keys(groupId: string): string[] {
    const { prefix } = this.#client
    const group = `${prefix}celery-taskset-meta-${groupId}`
    return [`${group}.j`, `${group}.t`, `${group}.s`, `${prefix}celeriac:join:${groupId}`]
  }
}

/** Of a member that left several parts, its SUCCESS counts before anything else. */
function readParts(entries: readonly string[], groupId: string, logger: Logger): JoinPart[] {
  const parts = new Map<string, JoinPart>()
  for (let at = 0; at + 1 < entries.length; at += 2) {
    const part = decodePart(entries[at] as string, entries[at + 1] as string)
    if (part === undefined) {
      logger.warn({ group: groupId, part: entries[at] }, 'a part of a chord cannot be read and was passed over')
      continue
    }
    const known = parts.get(part.memberId)
    if (known === undefined || (known.state !== 'SUCCESS' && part.state === 'SUCCESS')) parts.set(part.memberId, part)
  }
  return [...parts.values()]
}
