/** Replies to Celery's control messages: ours to whoever asks. Those to us come to the `ReplyBox`. */
import type { BusHeaders } from '../../broker/bus.ts'
import { type Asker, replyExchange } from '../../broker/celery-asker.ts'
import type { RedisClient } from './client.ts'
import { encodeJsonMessage } from './json-envelope.ts'
import { bindingKey, separator } from './keys.ts'
import { defineScript } from './script.ts'

/** An asker that died fetches nothing and removes nothing. In s. */
const expiresS = 60

/**
 * Puts a reply into every list that is bound under the asker's key, and lets these expire. In one step, so that none is
 * made after its asker has removed it.
 *
 * KEYS[1]: the bindings, `<key>SEP<pattern>SEP<list>` each. ARGV: prefix, asker's key, SEP, envelope, expiry in s.
 */
const replyScript = defineScript(`
local start = ARGV[2] .. ARGV[3]
for _, binding in ipairs(redis.call('SMEMBERS', KEYS[1])) do
  if string.sub(binding, 1, #start) == start then
    local _, before = string.find(binding, ARGV[3], #start + 1, true)
    if before then
      local list = ARGV[1] .. string.sub(binding, before + 1)
      redis.call('LPUSH', list, ARGV[4])
      redis.call('EXPIRE', list, ARGV[5])
    end
  end
end
`)

/** Resolves also when nobody waits for it any more. */
export async function sendReply(
  client: RedisClient,
  { routingKey, ticket }: Asker,
  json: string,
  headers: BusHeaders,
): Promise<void> {
  const envelope = encodeJsonMessage({
    exchange: replyExchange,
    routingKey,
    deliveryMode: 1,
    headers: { ...headers, ticket },
    json,
  })
  await client.script(
    replyScript,
    [bindingKey(client.prefix, replyExchange)],
    [client.prefix, routingKey, separator, envelope, expiresS],
  )
}
