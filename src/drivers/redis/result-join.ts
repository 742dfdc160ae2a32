/**
 * Joins on the keys of Celery's chords (`celery/backends/redis.py`): under `celery-taskset-meta-<group id>`, the parts
 * (`.j`, a sorted set), the size (`.s`), and how many more members came to it later (`.t`). Python members and ours can
 * so finish each other's chords.
 *
 * Python counts parts, and so counts a member twice that ran twice. Beside Celery's keys stands a hash of ours with the
 * ids of members that joined through here, so that none of them is added twice; and once the count reaches the size, ids
 * are told apart one by one, Python's too. Until then `joined` counts a Python member as often as it left a part.
 * After a join the hash keeps nothing but that it is closed.
 *
 * A join that has failed through here is held: Python then waits for members that never come, leaves the end to us, and
 * does not call the error callbacks a second time.
 */
import type { Logger } from '../../logger.ts'
import type { JoinChange, JoinPart, JoinProgress, OpenJoin } from '../../result/result-store.ts'
import type { RedisClient } from './client.ts'
import { decodePart, encodePart, scoreOf } from './result-part.ts'
import { expiryArg } from './result-save.ts'
import { defineScript } from './script.ts'

/** Defines `wanted_parts(size_key, later_key, own_key)`: how many parts a join waits for; nil while nobody has told it. */
const wantedLua = `
local held_by = 1000000000
local function wanted_parts(size_key, later_key, own_key)
  local size = tonumber(redis.call('GET', size_key) or '')
  local later = tonumber(redis.call('GET', later_key) or '') or 0
  if redis.call('HEXISTS', own_key, 'held') == 1 then later = later - held_by end
  return size and size + later
end
`

/**
 * Adds a part, or tells the size, or both, and looks where the join stands.
 *
 * - KEYS: the parts, the members that came later, the size (each of Celery), the hash of ours, the index of open joins
 * - ARGV: the group; ms until they go ('' for never); the size ('' where not told); the member's id ('' for no part), the
 *   part's score, the part, its state, how many members it brought along; '1' where a failed part fails nothing
 * - returns the members counted; the size, or false while nobody told it; the first member that failed, or false; and,
 *   once complete and until it is closed, parts and scores in turn
 */
const joinScript = defineScript(`${wantedLua}
local parts_key, later_key, size_key, own_key, index_key = unpack(KEYS)
local group, expires, size, member, score, part, state, added, settles = unpack(ARGV)

local closed = redis.call('HMGET', own_key, 'joined', 'size')
if closed[1] then return {tonumber(closed[1]), tonumber(closed[2]) or false, false, false} end

local function id_of(entry) return string.match(entry, '^%[%s*1%s*,%s*"([^"]*)"') end

-- The first part of a member counts, and only SUCCESS takes the place of what was none.
local known = member ~= '' and redis.call('HGET', own_key, 'member:' .. member)
if member ~= '' and (not known or (known ~= 'SUCCESS' and state == 'SUCCESS')) then
  if known then
    for _, entry in ipairs(redis.call('ZRANGE', parts_key, 0, -1)) do
      if id_of(entry) == member then redis.call('ZREM', parts_key, entry) end
    end
  end
  redis.call('HSET', own_key, 'member:' .. member, state)
  redis.call('ZADD', parts_key, score, part)
  if added ~= '0' then redis.call('INCRBY', later_key, added) end
  if state ~= 'SUCCESS' then
    redis.call('HSETNX', own_key, 'failed', member)
    -- As many members more as never come: Python waits for them, and leaves the end to us.
    if settles == '' and redis.call('HSETNX', own_key, 'held', '') == 1 then redis.call('INCRBY', later_key, held_by) end
  elseif redis.call('HGET', own_key, 'failed') == member then
    redis.call('HDEL', own_key, 'failed')
    if redis.call('HDEL', own_key, 'held') == 1 then redis.call('DECRBY', later_key, held_by) end
  end
end
if size ~= '' then
  redis.call('SET', size_key, size)
  redis.call('PUBLISH', size_key, size)
end
redis.call('ZADD', index_key, 'NX', redis.call('TIME')[1], group)
if expires ~= '' then
  for i = 1, 4 do redis.call('PEXPIRE', KEYS[i], expires) end
end

local failed = redis.call('HGET', own_key, 'failed')
local count = redis.call('ZCARD', parts_key)
local wanted = wanted_parts(size_key, later_key, own_key)
if not wanted then return {count, false, failed, false} end
if count < wanted then return {count, wanted, failed, false} end

local entries = redis.call('ZRANGE', parts_key, 0, -1, 'WITHSCORES')
local seen, distinct = {}, 0
for i = 1, #entries, 2 do
  local id = id_of(entries[i])
  if id and not seen[id] then
    seen[id] = true
    distinct = distinct + 1
  end
end
return {distinct, wanted, failed, distinct >= wanted and entries}
`)

/**
 * Removes all of a join but the word that it is over. Late parts find that, for as long as an open join would last.
 *
 * - KEYS: as above
 * - ARGV: the group; ms until the word goes, '' for never
 */
const closeScript = defineScript(`${wantedLua}
local parts_key, later_key, size_key, own_key, index_key = unpack(KEYS)
local group, expires = unpack(ARGV)

if redis.call('HEXISTS', own_key, 'joined') == 0 then
  local joined = redis.call('ZCARD', parts_key)
  local wanted = wanted_parts(size_key, later_key, own_key)
  redis.call('UNLINK', own_key)
  redis.call('HSET', own_key, 'joined', joined, 'size', wanted or '')
end
redis.call('UNLINK', parts_key, later_key, size_key)
redis.call('ZREM', index_key, group)
if expires ~= '' then redis.call('PEXPIRE', own_key, expires) end
`)

/**
 * Joins in the index, the oldest first.
 *
 * - KEYS[1]: the index
 * - ARGV[1]: how many at most
 * - returns groups
 */
const openScript = defineScript(`
return redis.call('ZRANGE', KEYS[1], 0, tonumber(ARGV[1]) - 1)
`)

export class ResultJoins {
  readonly #client: RedisClient

  constructor(client: RedisClient) {
    this.#client = client
  }

  async join(groupId: string, { part, size, settles = false }: JoinChange): Promise<JoinProgress> {
    const own =
      part === undefined
        ? ['', '', '', '', '0']
        : [part.memberId, scoreOf(part), encodePart(part), part.state, String(part.added ?? 0)]
    const told = size === undefined ? '' : String(size)
    const args = [groupId, expiryArg(this.#client), told, ...own, settles ? '1' : '']
    const reply = await this.#client.script(joinScript, this.#keys(groupId), args)
    const [joined, wanted, failed, entries] = reply as [number, number | null, string | null, string[] | null]
    return {
      joined,
      size: wanted ?? undefined,
      parts: entries === null ? undefined : readParts(entries, groupId, this.#client.logger),
      failed: failed ?? undefined,
    }
  }

  async close(groupId: string): Promise<void> {
    await this.#client.script(closeScript, this.#keys(groupId), [groupId, expiryArg(this.#client)])
  }

  /** What was begun by Python, and has no member here yet, is not among them. */
  async open(limit: number): Promise<OpenJoin[]> {
    const groups = (await this.#client.script(openScript, [this.#indexKey], [String(limit)])) as string[]
    const open: OpenJoin[] = []
    for (const groupId of groups) {
      const [parts, , size, own] = this.#keys(groupId) as [string, string, string, string]
      const left = await this.#client.command('EXISTS', parts, size, own)
      if (left === 0) {
        await this.#client.command('ZREM', this.#indexKey, groupId)
        continue
      }
      const { joined, size: wanted, failed } = await this.join(groupId, {})
      open.push({ groupId, joined, size: wanted, failed })
    }
    return open
  }

  get #indexKey(): string {
    return `${this.#client.prefix}celeriac:joins`
  }

  #keys(groupId: string): string[] {
    const { prefix } = this.#client
    const group = `${prefix}celery-taskset-meta-${groupId}`
    return [`${group}.j`, `${group}.t`, `${group}.s`, `${prefix}celeriac:join:${groupId}`, this.#indexKey]
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
