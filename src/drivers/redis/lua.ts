/** What the broker's scripts are made of. Keys and their contents are described in `keys.ts`. */

/**
 * Defines, for a script that has set the local `P` to the prefix:
 *
 * - `now`: the server's time, epoch ms
 * - `push(queue, place, text, front)`: puts an envelope behind the others of its place, or, with `front`, before them
 * - `take_up(id, number, queue, place, texts)`: records envelopes of one queue as on loan, numbered on from `number`;
 *   `place` is a text for all, or a list of one for each
 * - `raw(id, number)`: an envelope on loan, or nil
 * - `drop(id, numbers)`: forgets what was on loan
 * - `counted(text)`: the envelope with one lost consumer more
 * - `give_back(id, count)`: gives back all that a consumer holds, and forgets the consumer
 * - `reap()`: does that for consumers whose leases have lapsed
 * - `later(queue, members)`, `forget_later(queue, members)`: envelopes that are delayed, and how they are dropped
 * - `promote()`: moves what is due to the lists; returns ms until the next is due, or -1
 */
export const brokerLua = `
local SEP = '\\6\\22'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function in_pieces(command, key, items)
  local n = 0
  for first = 1, #items, 1000 do
    n = n + redis.call(command, key, unpack(items, first, math.min(first + 999, #items)))
  end
  return n
end

local function list_key(queue, step)
  if step == '0' then return P .. queue end
  return P .. queue .. SEP .. step
end

local function delay(queue, due, step, text)
  local number = redis.call('INCR', P .. 'celeriac:number')
  local member = string.format('%013d', number) .. step
  redis.call('ZADD', P .. 'celeriac:delayed:' .. queue, due, member)
  redis.call('HSET', P .. 'celeriac:later:' .. queue, member, text)
  redis.call('ZADD', P .. 'celeriac:due', 'LT', due, queue)
end

local function push(queue, place, text, front)
  local due, step = string.match(place, '^d(%d+)/(%d)$')
  if due then return delay(queue, due, step, text) end
  redis.call(front and 'RPUSH' or 'LPUSH', list_key(queue, place), text)
end

-- Envelopes are moved, and never put together or taken apart here: Lua reads every text that is made from end to end.
local function take_up(id, number, queue, place, texts)
  local held, contents = {}, {}
  local place_of_all = type(place) == 'string' and place .. ':' .. queue
  for i = 1, #texts do
    held[2 * i - 1], held[2 * i] = number + i, place_of_all or place[i] .. ':' .. queue
    contents[2 * i - 1], contents[2 * i] = number + i, texts[i]
  end
  in_pieces('HSET', P .. 'celeriac:held:' .. id, held)
  in_pieces('HSET', P .. 'celeriac:lent:' .. id, contents)
end

local function raw(id, number)
  return redis.call('HGET', P .. 'celeriac:lent:' .. id, number) or nil
end

local function drop(id, numbers)
  in_pieces('HDEL', P .. 'celeriac:held:' .. id, numbers)
  in_pieces('HDEL', P .. 'celeriac:lent:' .. id, numbers)
end

local function counted(text)
  local losses, rest = string.match(text, '^{"celeriac%-losses": ?(%d+), ?(.*)$')
  if losses then return '{"celeriac-losses":' .. (losses + 1) .. ',' .. rest end
  if string.sub(text, 1, 1) ~= '{' then return text end
  return '{"celeriac-losses":1,' .. string.sub(text, 2)
end

-- What is held, the last first, so that each goes before those that were behind it.
local function held_by(id)
  local all = redis.call('HGETALL', P .. 'celeriac:held:' .. id)
  local held = {}
  for i = 1, #all, 2 do
    local place, queue = string.match(all[i + 1], '^([^:]*):(.*)$')
    held[#held + 1] = { number = tonumber(all[i]), place = place, queue = queue }
  end
  table.sort(held, function(a, b) return a.number > b.number end)
  return held
end

local function inboxes_of(id)
  local queues = redis.call('HGET', P .. 'celeriac:consumer:' .. id, 'inboxes')
  local keys = {}
  for _, queue in ipairs(queues and cjson.decode(queues) or {}) do
    keys[#keys + 1] = { queue = queue, key = P .. 'celeriac:inbox:' .. id .. ':' .. queue }
  end
  return keys
end

local function give_back(id, count)
  for _, inbox in ipairs(inboxes_of(id)) do
    for _, text in ipairs(redis.call('LRANGE', inbox.key, 0, -1)) do
      push(inbox.queue, '0', count and counted(text) or text, true)
    end
    redis.call('DEL', inbox.key)
  end
  for _, held in ipairs(held_by(id)) do
    local text = raw(id, held.number)
    if text then push(held.queue, held.place, count and counted(text) or text, true) end
  end
  for _, kind in ipairs({ 'held:', 'lent:', 'consumer:' }) do redis.call('DEL', P .. 'celeriac:' .. kind .. id) end
  redis.call('ZREM', P .. 'celeriac:consumers', id)
end

local function reap()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'celeriac:consumers', '-inf', now, 'LIMIT', 0, 20)) do
    give_back(id, true)
  end
end

local function plan(queue)
  local first = redis.call('ZRANGE', P .. 'celeriac:delayed:' .. queue, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', P .. 'celeriac:due', first[2], queue)
  else
    redis.call('ZREM', P .. 'celeriac:due', queue)
  end
end

-- The envelopes of members of a queue's delays: at most 1000 of them.
local function later(queue, members)
  if #members == 0 then return {} end
  return redis.call('HMGET', P .. 'celeriac:later:' .. queue, unpack(members))
end

local function forget_later(queue, members)
  in_pieces('ZREM', P .. 'celeriac:delayed:' .. queue, members)
  in_pieces('HDEL', P .. 'celeriac:later:' .. queue, members)
end

local function promote()
  for _, queue in ipairs(redis.call('ZRANGEBYSCORE', P .. 'celeriac:due', '-inf', now, 'LIMIT', 0, 100)) do
    local key = P .. 'celeriac:delayed:' .. queue
    -- Some at a time: the first can run while the others are moved.
    local due = redis.call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, 500)
    local texts = later(queue, due)
    local lists = {}
    for i = 1, #due do
      local step = string.sub(due[i], 14)
      lists[step] = lists[step] or {}
      lists[step][#lists[step] + 1] = texts[i]
    end
    for step, texts in pairs(lists) do in_pieces('LPUSH', list_key(queue, step), texts) end
    forget_later(queue, due)
    plan(queue)
  end
  local next = redis.call('ZRANGE', P .. 'celeriac:due', 0, 0, 'WITHSCORES')
  if not next[2] then return -1 end
  return math.max(0, next[2] - now)
end
`
