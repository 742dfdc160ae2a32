/** Schedules on Redis: a hash for each scope. Entries advance in the script that publishes what became due. */
import type { Advance, EntryChange, ScheduleLead, ScheduleStore, StoredEntry } from '../../broker/schedule-store.ts'
import { LeaseLostError } from '../../errors.ts'
import type { RedisBroker } from './broker.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'
import type { Argument } from './connection.ts'
import { defineJournalScript } from './journal.ts'
import { RedisLock } from './lock.ts'
import { brokerLua } from './lua.ts'
import { argumentsOf } from './outbox.ts'
import { defineScript } from './script.ts'
import { publishLua } from './scripts.ts'

/**
 * Defines `write(key, name, revision, value)` for a script with the local `now`: value is the new one behind 'v', or ''
 * to remove the entry. Returns whether it had the revision. Revisions begin with the time, so that an entry which is made
 * anew has none of its predecessor's.
 */
const writeLua = `
local function write(key, name, revision, value)
  local text = redis.call('HGET', key, name)
  local found = text and string.match(text, '^%d+') or '0'
  if found ~= revision then return false end
  if value == '' then
    redis.call('HDEL', key, name)
  else
    local next = revision == '0' and now or tonumber(revision) + 1
    redis.call('HSET', key, name, string.format('%.0f', next) .. ' ' .. string.sub(value, 2))
  end
  return true
end
`

/**
 * ARGV[3…]: the entries' key, the key of changed names; then for each change name, revision, and value as `write` takes
 * it. Replies with the places of those that were refused, from 0, each with a blank behind it.
 */
const writeScript = defineJournalScript(`
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
${writeLua}
for i = 5, #ARGV, 3 do
  if write(ARGV[3], ARGV[i], ARGV[i + 1], ARGV[i + 2]) then redis.call('SADD', ARGV[4], ARGV[i])
  else reply = reply .. ((i - 5) / 3) .. ' ' end
end
`)

/**
 * ARGV[3…]: prefix, the entries' key, the fence's key, the token; then for each step name, revision, value as `write`
 * takes it, how many arguments of `publish` follow, and these. Replies with ms until the next delayed message is due or
 * -1, then the places of those that were refused, with blanks between; or with 'lost'.
 */
const advanceScript = defineJournalScript(`
local P = ARGV[3]
${brokerLua}
${publishLua}
${writeLua}
if tonumber(redis.call('GET', ARGV[5]) or '0') > tonumber(ARGV[6]) then
  reply = 'lost'
else
  local refused, place, i = '', 0, 7
  while ARGV[i] do
    local last = i + 3 + tonumber(ARGV[i + 3])
    if write(ARGV[4], ARGV[i], ARGV[i + 1], ARGV[i + 2]) then publish(i + 4, last)
    else refused = refused .. ' ' .. place end
    place = place + 1
    i = last + 1
  end
  reply = next_delayed() .. refused
end
`)

/**
 * Begins a lead, from which on older ones are refused.
 *
 * - KEYS: the fence, the changed names
 * - ARGV[1]: the token
 */
const beginScript = defineScript(`
if tonumber(redis.call('GET', KEYS[1]) or '0') < tonumber(ARGV[1]) then redis.call('SET', KEYS[1], ARGV[1]) end
redis.call('DEL', KEYS[2])
`)

/** KEYS[1]: the changed names. Replies with them, and forgets them. */
const changesScript = defineScript(`
local names = redis.call('SMEMBERS', KEYS[1])
redis.call('DEL', KEYS[1])
return names
`)

/** Entries read, and steps taken, in one call to the server. */
const fullCall = 1_000

export class RedisScheduleStore implements ScheduleStore {
  readonly #broker: RedisBroker
  readonly #client: RedisClient
  readonly #use: ClientUse
  readonly #lock: RedisLock
  readonly #scope: string
  readonly #entries: string
  readonly #changed: string
  readonly #fence: string

  constructor(broker: RedisBroker, scope: string) {
    const { client } = broker
    this.#broker = broker
    this.#client = client
    this.#use = new ClientUse(client, 'the store of schedules')
    this.#lock = new RedisLock(client)
    this.#scope = scope
    this.#entries = `${client.prefix}celeriac:schedule:${scope}`
    this.#changed = `${client.prefix}celeriac:schedule-changed:${scope}`
    this.#fence = `${client.prefix}celeriac:schedule-fence:${scope}`
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async *list(): AsyncIterable<StoredEntry[]> {
    this.#use.assertOpen()
    let cursor = '0'
    do {
      const reply = await this.#client.command('HSCAN', this.#entries, cursor, 'COUNT', fullCall)
      const [next, pairs] = reply as [string, string[]]
      const entries: StoredEntry[] = []
      for (let i = 0; i < pairs.length; i += 2) entries.push(entryOf(pairs[i], pairs[i + 1]))
      yield entries
      cursor = String(next)
    } while (cursor !== '0')
  }

  async load(names: readonly string[]): Promise<StoredEntry[]> {
    this.#use.assertOpen()
    const found: StoredEntry[] = []
    for (const some of inGroups(names)) {
      const texts = (await this.#client.command('HMGET', this.#entries, ...some)) as (string | null)[]
      for (const [index, text] of texts.entries()) if (text !== null) found.push(entryOf(some[index], text))
    }
    return found
  }

  async write(changes: readonly EntryChange[]): Promise<string[]> {
    this.#use.assertOpen()
    const refused: string[] = []
    for (const some of inGroups(changes)) {
      const args: Argument[] = [this.#entries, this.#changed]
      for (const { name, revision, value } of some) args.push(name, revision, value === null ? '' : `v${value}`)
      const reply = await this.#client.ordered(writeScript, args, this.#client.publishTimeoutMs)
      refused.push(...namesAt(reply, some))
    }
    return refused
  }

  async lead(leaseMs: number): Promise<ScheduleLead | null> {
    this.#use.assertOpen()
    const lease = await this.#lock.acquire(`celeriac.beat:${this.#scope}`, leaseMs)
    if (lease === null) return null
    await this.#client.script(beginScript, [this.#fence, this.#changed], [lease.token])
    return {
      renew: (newLeaseMs) => lease.renew(newLeaseMs),
      changes: async () => ((await this.#client.script(changesScript, [this.#changed], [])) as string[] | null) ?? [],
      advance: (steps) => this.#advance(steps, lease.token),
      release: () => lease.release(),
    }
  }

  close(): Promise<void> {
    return this.#use.close()
  }

  async #advance(steps: readonly Advance[], token: number): Promise<string[]> {
    this.#use.assertOpen()
    const { outbox } = this.#broker
    const args: Argument[] = [this.#client.prefix, this.#entries, this.#fence, token]
    for (const { name, revision, value, publish } of steps) {
      const published = argumentsOf(outbox.encode(publish))
      args.push(name, revision, `v${value}`, published.length, ...published)
    }
    const reply = await this.#client.ordered(advanceScript, args, this.#client.publishTimeoutMs)
    if (reply === 'lost') throw new LeaseLostError('another beat leads')
    const [next = '', ...places] = reply.split(' ')
    outbox.published(next)
    return namesAt(places.join(' '), steps)
  }
}

function entryOf(name = '', text = ''): StoredEntry {
  const end = text.indexOf(' ')
  return { name, revision: Number(text.slice(0, end)), value: text.slice(end + 1) }
}

/** `0 12 `: places with blanks between. */
function namesAt(places: string, items: readonly { readonly name: string }[]): string[] {
  return (places.match(/\d+/g) ?? []).map((place) => items[Number(place)]?.name ?? '')
}

function* inGroups<T>(items: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < items.length; at += fullCall) yield items.slice(at, at + fullCall)
}
