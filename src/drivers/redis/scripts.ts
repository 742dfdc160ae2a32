/** The broker's scripts. Every one is one atomic step of the server. */
import { defineJournalScript } from './journal.ts'
import { brokerLua } from './lua.ts'
import { saveLua } from './result-save.ts'
import { defineScript } from './script.ts'

/**
 * Defines `publish(first, last)`, for a script with `brokerLua`: publishes what these arguments say. Any number of: 'now',
 * queue, step, count, envelope …; or 'later', queue, step, delay in ms, envelope.
 */
export const publishLua = `
local function publish(i, last)
  while i <= last do
    local queue, step = ARGV[i + 1], ARGV[i + 2]
    if ARGV[i] == 'now' then
      local count = tonumber(ARGV[i + 3])
      local key = list_key(queue, step)
      for first = i + 4, i + 3 + count, 1000 do
        redis.call('LPUSH', key, unpack(ARGV, first, math.min(first + 999, i + 3 + count)))
      end
      i = i + 4 + count
    else
      delay(queue, now + tonumber(ARGV[i + 3]), step, ARGV[i + 4])
      i = i + 5
    end
  end
end

local function next_delayed()
  local next = redis.call('ZRANGE', P .. 'celeriac:due', 0, 0, 'WITHSCORES')
  return next[2] and tostring(math.max(0, next[2] - now)) or '-1'
end
`

/** ARGV[3]: prefix. Then as `publish` takes it. Replies with ms until the next delayed message is due, or -1. */
export const publishScript = defineJournalScript(`
local P = ARGV[3]
${brokerLua}
${publishLua}
publish(4, #ARGV)
reply = next_delayed()
`)

/**
 * ARGV: prefix, consumer, at most so many, number of the last one taken, whether the delayed are wanted ('1'), queue …
 *
 * Replies with false when the consumer's lease has lapsed; else with ms until the next delayed message is due or -1; the
 * places in the list of queues, from 0, of those that are paused; place and count of each run of messages of one queue; for
 * the delayed, the ms each would be kept back; and the envelopes, which are numbered on from ARGV[4].
 */
export const fetchScript = defineScript(`
local P, id, max, number, delayed = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5] == '1'
${brokerLua}
reap()
local next = promote()
if not redis.call('ZSCORE', P .. 'celeriac:consumers', id) then return false end
local any_paused = redis.call('EXISTS', P .. 'celeriac:paused') == 1
local open, paused = {}, {}
for i = 6, #ARGV do
  if any_paused and redis.call('SISMEMBER', P .. 'celeriac:paused', ARGV[i]) == 1 then
    paused[#paused + 1] = i - 6
  else
    open[#open + 1] = { index = i - 6, name = ARGV[i] }
  end
end
local texts, runs, waits = {}, {}, {}
local function lend(queue, place, found)
  if #found == 0 then return end
  local before = #texts
  take_up(id, number + before, queue.name, place, found)
  for i = 1, #found do texts[before + i] = found[i] end
  runs[#runs + 1], runs[#runs + 2] = queue.index, #found
end
local function take_delayed(queue, limit)
  local key = P .. 'celeriac:delayed:' .. queue.name
  local found = redis.call('ZRANGE', key, 0, math.min(limit, 1000) - 1, 'WITHSCORES')
  local members, places = {}, {}
  for i = 1, #found, 2 do
    members[#members + 1] = found[i]
    places[#places + 1] = 'd' .. found[i + 1] .. '/' .. string.sub(found[i], 14)
    waits[#waits + 1] = math.max(0, found[i + 1] - now)
  end
  lend(queue, places, later(queue.name, members))
  forget_later(queue.name, members)
  plan(queue.name)
end
-- A fair share of each queue first, then whatever is left, in turn.
local shares = #open > 1 and { math.ceil(max / #open), max } or { max }
for _, step in ipairs(delayed and { 'd' } or { '0', '3', '6', '9' }) do
  for _, share in ipairs(shares) do
    for _, queue in ipairs(open) do
      local limit = math.min(share, max - #texts)
      if limit > 0 and delayed then take_delayed(queue, limit)
      elseif limit > 0 then lend(queue, step, redis.call('RPOP', list_key(queue.name, step), limit) or {}) end
    end
  end
end
return { next, paused, runs, waits, texts }
`)

/**
 * Records what a blocking wait has moved to the inbox. ARGV[3…]: prefix, consumer, queue, number of the last one taken,
 * whether it was handed out already ('1'), envelope. Replies with '1', or with '' when it is not to be handed out: it was
 * given back already, or its queue is paused.
 */
export const adoptScript = defineJournalScript(`
local P, id, queue, number, isOut, text = ARGV[3], ARGV[4], ARGV[5], tonumber(ARGV[6]), ARGV[7] == '1', ARGV[8]
${brokerLua}
if redis.call('LREM', P .. 'celeriac:inbox:' .. id .. ':' .. queue, 1, text) == 1 then
  if not isOut and redis.call('SISMEMBER', P .. 'celeriac:paused', queue) == 1 then
    push(queue, '0', text, true)
  else
    take_up(id, number, queue, '0', { text })
    reply = '1'
  end
end
`)

/** Puts back what a blocking wait has moved to the inbox when nobody wanted it. ARGV[3…]: prefix, consumer, queue, envelope. */
export const declineScript = defineJournalScript(`
local P, id, queue, text = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
${brokerLua}
if redis.call('LREM', P .. 'celeriac:inbox:' .. id .. ':' .. queue, 1, text) == 1 then push(queue, '0', text, true) end
`)

/**
 * Settles. ARGV[3]: prefix, ARGV[4]: ms until saved records go, or ''. Then any number of:
 * - 'ack', consumer, count, number …
 * - 'release', consumer, number, ms to keep it back or '' to put it where it was
 * - 'effects', consumer, number, count of messages, (queue, step, delay in ms, envelope) …, count of records, (key, text) …
 *
 * Replies with the places, counted over all numbers from 0, of those not held any more; nothing of theirs was done.
 */
export const settleScript = defineJournalScript(`
local P, expires = ARGV[3], ARGV[4]
${brokerLua}
${saveLua}
local i, place, lost = 5, 0, {}
local function next_arg()
  i = i + 1
  return ARGV[i - 1]
end

local function ack_all(id, count)
  local key = P .. 'celeriac:held:' .. id
  for first = 0, count - 1, 1000 do
    local numbers, before = { unpack(ARGV, i + first, i + math.min(first + 999, count - 1)) }, #lost
    local held = redis.call('HMGET', key, unpack(numbers))
    for k = 1, #held do
      if not held[k] then lost[#lost + 1] = place + first + k - 1 end
    end
    -- None of the others is held by that number either.
    if #lost - before < #numbers then drop(id, numbers) end
  end
  i = i + count
  place = place + count
end

-- Takes one out of the consumer's hands: its envelope, queue and place, or nil when it was lost.
local function let_go(id, number)
  local held = redis.call('HGET', P .. 'celeriac:held:' .. id, number)
  place = place + 1
  local text = held and raw(id, number)
  if not text then
    lost[#lost + 1] = place - 1
    return nil
  end
  drop(id, { number })
  local where, queue = string.match(held, '^([^:]*):(.*)$')
  return text, queue, where
end

while ARGV[i] do
  local op, id = next_arg(), next_arg()
  if op == 'ack' then
    ack_all(id, tonumber(next_arg()))
  elseif op == 'release' then
    local number, wait = next_arg(), next_arg()
    local text, queue, where = let_go(id, number)
    if text then
      local step = string.match(where, '%d$')
      if wait == '' then push(queue, where, text, true) else delay(queue, now + tonumber(wait), step, text) end
    end
  else
    local number = next_arg()
    local is_held = redis.call('HDEL', P .. 'celeriac:held:' .. id, number) == 1
    if is_held then redis.call('HDEL', P .. 'celeriac:lent:' .. id, number) else lost[#lost + 1] = place end
    place = place + 1
    for _ = 1, tonumber(next_arg()) do
      local queue, step, wait, envelope = next_arg(), next_arg(), tonumber(next_arg()), next_arg()
      if is_held and wait > 0 then delay(queue, now + wait, step, envelope)
      elseif is_held then push(queue, step, envelope, false) end
    end
    for _ = 1, tonumber(next_arg()) do
      local key, record = next_arg(), next_arg()
      if is_held then save_record(key, record, expires) end
    end
  end
end
reply = table.concat(lost, ',')
`)

/** ARGV[3…]: prefix, consumer, lease in ms, name, its queues as JSON, those it may have inboxes of. Makes it known. */
export const enrolScript = defineJournalScript(`
local P, id = ARGV[3], ARGV[4]
${brokerLua}
redis.call('HSET', P .. 'celeriac:consumer:' .. id, 'name', ARGV[6], 'queues', ARGV[7], 'inboxes', ARGV[8])
redis.call('ZADD', P .. 'celeriac:consumers', now + tonumber(ARGV[5]), id)
`)

/**
 * After a broken connection, a consumer goes on under another id, so that what is still on its way on the old one cannot
 * take messages for it unseen. ARGV[3…]: prefix, old id, new id, then as `enrolScript`, number it knows of …
 * What the old id holds and nobody knows of is given back; the old id lapses in a minute, with whatever still reached it.
 */
export const succeedScript = defineJournalScript(`
local P, old, id = ARGV[3], ARGV[4], ARGV[5]
${brokerLua}
local known = {}
for i = 10, #ARGV do known[ARGV[i]] = true end
redis.call('HSET', P .. 'celeriac:consumer:' .. id, 'name', ARGV[7], 'queues', ARGV[8], 'inboxes', ARGV[9])
redis.call('ZADD', P .. 'celeriac:consumers', now + tonumber(ARGV[6]), id)
for _, held in ipairs(held_by(old)) do
  if not known[tostring(held.number)] then
    local text = raw(old, held.number)
    if text then push(held.queue, held.place, text, true) end
    drop(old, { held.number })
  end
end
for _, kind in ipairs({ 'held:', 'lent:' }) do
  local key = P .. 'celeriac:' .. kind
  if redis.call('EXISTS', key .. old) == 1 then redis.call('RENAME', key .. old, key .. id) end
end
for _, inbox in ipairs(inboxes_of(old)) do
  for _, text in ipairs(redis.call('LRANGE', inbox.key, 0, -1)) do push(inbox.queue, '0', text, true) end
  redis.call('DEL', inbox.key)
end
if redis.call('ZSCORE', P .. 'celeriac:consumers', old) then
  redis.call('ZADD', P .. 'celeriac:consumers', now + 60000, old)
  redis.call('HSET', P .. 'celeriac:consumer:' .. old, 'queues', '[]')
end
`)

/** ARGV[3…]: prefix, consumer. Gives back what it holds, to its old places and uncounted, and forgets it. */
export const leaveScript = defineJournalScript(`
local P = ARGV[3]
${brokerLua}
give_back(ARGV[4], false)
`)

/** ARGV: prefix, consumer, ms. Makes its lease last at least so long; replies with 1, or 0 when it has lapsed. */
export const extendScript = defineScript(`
local P, id = ARGV[1], ARGV[2]
${brokerLua}
if not redis.call('ZSCORE', P .. 'celeriac:consumers', id) then return 0 end
redis.call('ZADD', P .. 'celeriac:consumers', 'GT', now + tonumber(ARGV[3]), id)
return 1
`)

/** ARGV: prefix. Moves what is due; replies with ms until the next is, or -1. */
export const promoteScript = defineScript(`
local P = ARGV[1]
${brokerLua}
return promote()
`)

/**
 * What the lease thread does. ARGV: prefix, whether to look after Python's ('1'), Python's visibility timeout in ms, then
 * (consumer, lease in ms) …
 *
 * Renews the leases, gives back what lapsed consumers held, and, as any of Python's workers does, what strangers have not
 * acknowledged within the visibility timeout (kombu `transport/redis.py`, `restore_visible`).
 */
export const renewScript = defineScript(`
local P, restores, timeout = ARGV[1], ARGV[2] == '1', tonumber(ARGV[3])
${brokerLua}
for i = 4, #ARGV, 2 do
  redis.call('ZADD', P .. 'celeriac:consumers', 'XX', 'GT', now + tonumber(ARGV[i + 1]), ARGV[i])
end
reap()
if not restores then return end
local function target(exchange, key)
  if exchange == '' then return key end
  for _, member in ipairs(redis.call('SMEMBERS', P .. '_kombu.binding.' .. exchange)) do
    local bound, queue = string.match(member, '^(.-)' .. SEP .. '.-' .. SEP .. '(.*)$')
    if bound == key then return queue end
  end
  return key
end
if redis.call('SET', P .. 'unacked_mutex', 'celeriac', 'NX', 'PX', 300000) then
  local before = string.format('%.3f', (now - timeout) / 1000)
  for _, tag in ipairs(redis.call('ZRANGEBYSCORE', P .. 'unacked_index', '-inf', '(' .. before, 'LIMIT', 0, 100)) do
    local record = redis.call('HGET', P .. 'unacked', tag)
    local text, exchange, key = string.match(record or '', '^%[(.*), ?"([^"]*)", ?"([^"]*)"%]$')
    if text then
      local wire = tonumber(string.match(text, '"priority": ?(%d)') or 0)
      push(target(exchange, key), tostring(wire - wire % 3), counted(text), true)
    end
    redis.call('ZREM', P .. 'unacked_index', tag)
    redis.call('HDEL', P .. 'unacked', tag)
  end
  redis.call('DEL', P .. 'unacked_mutex')
end
`)
