/** Looks at queues, and empties them. */
import type { Depth, PeekedMessage, QueueInfo } from '../../broker/broker.ts'
import { defineScript, type RedisClient } from './client.ts'
import { decodeEnvelope } from './envelope.ts'
import { brokerLua } from './lua.ts'

/**
 * ARGV: prefix, queue … Replies, for each queue, with: ready, delayed, on loan, whether it is paused, consumers, and the
 * envelope that is next ('' when there is none).
 */
const depthScript = defineScript(`
local P = ARGV[1]
${brokerLua}
local lent, consumers = {}, {}
for _, id in ipairs(redis.call('ZRANGEBYSCORE', P .. 'celeriac:consumers', '(' .. now, '+inf')) do
  for _, held in ipairs(redis.call('HVALS', P .. 'celeriac:held:' .. id)) do
    local queue = string.match(held, '^[^:]*:(.*)$')
    lent[queue] = (lent[queue] or 0) + 1
  end
  for _, inbox in ipairs(inboxes_of(id)) do
    lent[inbox.queue] = (lent[inbox.queue] or 0) + redis.call('LLEN', inbox.key)
  end
  local queues = redis.call('HGET', P .. 'celeriac:consumer:' .. id, 'queues')
  for _, queue in ipairs(queues and cjson.decode(queues) or {}) do consumers[queue] = (consumers[queue] or 0) + 1 end
end
local replies = {}
for i = 2, #ARGV do
  local queue = ARGV[i]
  local delayed = P .. 'celeriac:delayed:' .. queue
  local due = redis.call('ZCOUNT', delayed, '-inf', now)
  local ready, next = due, ''
  for _, step in ipairs({ '0', '3', '6', '9' }) do
    local key = list_key(queue, step)
    ready = ready + redis.call('LLEN', key)
    if next == '' then next = redis.call('LINDEX', key, -1) or '' end
  end
  replies[#replies + 1] = {
    ready, redis.call('ZCARD', delayed) - due, lent[queue] or 0,
    redis.call('SISMEMBER', P .. 'celeriac:paused', queue), consumers[queue] or 0, next,
  }
end
return replies
`)

/** ARGV: prefix, queue, limit, offset. Replies with (state, due in epoch ms or 0, envelope) … in the order of delivery. */
const peekScript = defineScript(`
local P, queue, limit, offset = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
${brokerLua}
promote()
local reply = {}
local function add(state, due, text)
  if offset > 0 then offset = offset - 1 return end
  if limit == 0 then return end
  limit = limit - 1
  local n = #reply
  reply[n + 1], reply[n + 2], reply[n + 3] = state, due, text
end
for _, step in ipairs({ '0', '3', '6', '9' }) do
  local key = list_key(queue, step)
  local length = redis.call('LLEN', key)
  local skipped = math.min(offset, length)
  offset = offset - skipped
  local texts = limit > 0 and redis.call('LRANGE', key, -(skipped + limit), -(skipped + 1)) or {}
  if skipped == length then texts = {} end
  for i = #texts, 1, -1 do add('ready', '0', texts[i]) end
end
local members = redis.call('ZRANGE', P .. 'celeriac:delayed:' .. queue, offset, offset + limit - 1, 'WITHSCORES')
local delayed = redis.call('ZCARD', P .. 'celeriac:delayed:' .. queue)
if limit == 0 then members = {} end
offset = math.max(0, offset - delayed)
local kept = offset
offset = 0
for i = 1, #members, 2 do
  add('delayed', members[i + 1], redis.call('HGET', P .. 'celeriac:later:' .. queue, members[i]))
end
offset = kept
for _, id in ipairs(redis.call('ZRANGE', P .. 'celeriac:consumers', 0, -1)) do
  local held = held_by(id)
  for i = #held, 1, -1 do
    local one = held[i]
    local text = one.queue == queue and raw(id, one.number)
    if text then add('in-flight', '0', text) end
  end
  for _, inbox in ipairs(inboxes_of(id)) do
    if inbox.queue == queue then
      for _, text in ipairs(redis.call('LRANGE', inbox.key, 0, -1)) do add('in-flight', '0', text) end
    end
  end
end
return reply
`)

/** ARGV: prefix, queue. Drops what is ready or delayed; replies with how many there were. */
const purgeScript = defineScript(`
local P, queue = ARGV[1], ARGV[2]
${brokerLua}
local delayed = P .. 'celeriac:delayed:' .. queue
local count = redis.call('ZCARD', delayed)
redis.call('DEL', delayed, P .. 'celeriac:later:' .. queue)
redis.call('ZREM', P .. 'celeriac:due', queue)
for _, step in ipairs({ '0', '3', '6', '9' }) do
  local key = list_key(queue, step)
  count = count + redis.call('LLEN', key)
  redis.call('DEL', key)
end
return count
`)

type DepthReply = [ready: number, delayed: number, lent: number, paused: number, consumers: number, next: string]

export async function depthOf(client: RedisClient, queue: string): Promise<Depth> {
  const [[ready, delayed, inFlight]] = (await client.script(depthScript, [], [client.prefix, queue])) as [DepthReply]
  return { ready, delayed, inFlight }
}

/** Every queue that was used by us, or declared by Python for the default exchange or one of a queue's own name. */
export async function queuesOf(client: RedisClient): Promise<QueueInfo[]> {
  const names = await queueNames(client)
  if (names.length === 0) return []
  const replies = (await client.script(depthScript, [], [client.prefix, ...names])) as DepthReply[]
  const nowMs = client.clock.now()
  return names.map((queue, index): QueueInfo => {
    const [ready, delayed, inFlight, paused, consumers, next] = replies[index] as DepthReply
    const publishedAt = next === '' ? undefined : decodeEnvelope(next).publishedAt
    return {
      queue,
      ready,
      delayed,
      inFlight,
      paused: paused === 1,
      consumers,
      oldestMs: next === '' ? null : Math.max(0, nowMs - (publishedAt ?? nowMs)),
    }
  })
}

export async function peekAt(
  client: RedisClient,
  queue: string,
  limit: number,
  offset: number,
): Promise<PeekedMessage[]> {
  if (limit <= 0) return []
  const reply = (await client.script(peekScript, [], [client.prefix, queue, limit, offset])) as string[]
  const messages: PeekedMessage[] = []
  for (let i = 0; i + 2 < reply.length; i += 3) {
    const { message, losses, publishedAt } = decodeEnvelope(reply[i + 2] as string)
    const state = reply[i] as PeekedMessage['state']
    messages.push({
      ...message,
      queue,
      state,
      at: state === 'delayed' ? Number(reply[i + 1]) : (publishedAt ?? client.clock.now()),
      // What is on loan is being delivered once more than it was lost.
      deliveryCount: state === 'in-flight' ? losses + 1 : losses,
    })
  }
  return messages
}

export async function purgeQueue(client: RedisClient, queue: string): Promise<number> {
  return Number(await client.script(purgeScript, [], [client.prefix, queue]))
}

async function queueNames(client: RedisClient): Promise<string[]> {
  const used = (await client.command('SMEMBERS', `${client.prefix}celeriac:queues`)) as string[]
  const bindings = new Set([...used, 'celery'].map((exchange) => `${client.prefix}_kombu.binding.${exchange}`))
  const bound = (await client.command('SUNION', ...bindings)) as string[]
  const declared = bound.map((member) => member.split('\x06\x16').at(-1) ?? '').filter((queue) => !isPrivate(queue))
  return [...new Set([...used, ...declared])].sort()
}

/** Python's queues for remote control and events. */
function isPrivate(queue: string): boolean {
  return queue === '' || queue.endsWith('.pidbox') || queue.startsWith('celeryev')
}
