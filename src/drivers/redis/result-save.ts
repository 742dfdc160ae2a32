/**
 * Saving records: the rule which one replaces which, as a piece of Lua that other scripts take in too, and a group
 * commit: what is saved in one turn of the event loop goes to the server in one script.
 *
 * The rule. A record of an older attempt (`fence`) never replaces one of a newer, and nothing of the same attempt
 * replaces SUCCESS. Records of Python have no fence, and Python overwrites whatever is not SUCCESS without asking:
 * - its SUCCESS is final for us, as it is for Python itself. When a message goes round again after Python has run it,
 *   its first result stands;
 * - any other counts as attempt `retries + 1` (it tells its retries with `result_extended`; 0 are assumed where not).
 *   So PENDING, which the sender may save after a quick Python worker is done, never replaces it, and every run here does.
 */
import type { ResultRecord } from '../../result/result-store.ts'
import type { RedisClient } from './client.ts'
import { encodeRecord } from './result-record.ts'
import { defineScript } from './script.ts'

/**
 * Defines `save_record(key, text, expires)`, for use within a script:
 *
 * - `key`: the record's key, and the channel it is published on
 * - `text`: the record, from `encodeRecord`
 * - `expires`: ms until it goes, '' for never
 * - returns 1, or 0 when it was passed over
 *
 * Ours are never decoded: status and fence are the first things in the text, and only that much of it is read.
 */
export const saveLua = `
local function record_head(text)
  local status, fence = string.match(text, '^{"status":"(.-)","celeriac":{"fence":(%d+)')
  return status, tonumber(fence)
end

-- Of a record that does not begin as ours do. What cannot be read is older than anything.
local function foreign_head(key, start)
  if string.find(start, '^%s*{%s*"status"%s*:%s*"SUCCESS"') then return 'SUCCESS', math.huge end
  local decoded, record = pcall(cjson.decode, redis.call('GET', key))
  if not decoded or type(record) ~= 'table' then return '', -1 end
  if type(record.celeriac) == 'table' and tonumber(record.celeriac.fence) then
    return record.status, tonumber(record.celeriac.fence)
  end
  if record.status == 'SUCCESS' then return 'SUCCESS', math.huge end
  return record.status, (tonumber(record.retries) or 0) + 1
end

local function save_record(key, text, expires)
  local start = redis.pcall('GETRANGE', key, 0, 255)
  if type(start) == 'string' and start ~= '' then
    local status, fence = record_head(start)
    if not fence then status, fence = foreign_head(key, start) end
    local _, new_fence = record_head(text)
    if new_fence < fence or (new_fence == fence and status == 'SUCCESS') then return 0 end
  end
  if expires == '' then
    redis.call('SET', key, text)
  else
    redis.call('SET', key, text, 'PX', expires)
  end
  redis.call('PUBLISH', key, text)
  return 1
end
`

/**
 * Saves records in the order given.
 *
 * - KEYS: a key for each
 * - ARGV[1]: ms until they go, '' for never; ARGV[i + 1]: the record of KEYS[i]
 */
const saveScript = defineScript(`${saveLua}
for i, key in ipairs(KEYS) do save_record(key, ARGV[i + 1], ARGV[1]) end
`)

/** The key of a task's record, and the name of the channel it is told on. */
export function recordKey({ prefix }: RedisClient, taskId: string): string {
  return `${prefix}celery-task-meta-${taskId}`
}

/** What `save_record` takes for a record: its key and its text. */
export function saveArgs(record: ResultRecord, client: RedisClient): [key: string, text: string] {
  return [recordKey(client, record.taskId), encodeRecord(record)]
}

/** When what is stored now goes, as scripts take it: ms, or '' for never. */
export function expiryArg({ resultExpiresMs }: RedisClient): string {
  return Number.isFinite(resultExpiresMs) ? String(Math.max(1, Math.ceil(resultExpiresMs))) : ''
}

/** One script call. A call too many costs a millisecond; one too large keeps the server from everybody else. */
interface Batch {
  readonly keys: string[]
  readonly texts: string[]
  /** Characters in the texts. */
  length: number
  readonly saved: Promise<void>
}

const maxRecords = 500
const maxLength = 1_000_000

export class ResultWriter {
  readonly #client: RedisClient
  #open: Batch | undefined

  constructor(client: RedisClient) {
    this.#client = client
  }

  /** Resolves once the server holds the records, or newer ones. */
  async save(records: readonly ResultRecord[]): Promise<void> {
    // All of them are encoded before the first is added: one that cannot be leaves no other behind.
    const encoded = records.map((record) => saveArgs(record, this.#client))
    const batches = new Set(encoded.map(([key, text]) => this.#add(key, text)))
    await Promise.all(Array.from(batches, ({ saved }) => saved))
  }

  #add(key: string, text: string): Batch {
    const batch = this.#open ?? this.#begin()
    batch.keys.push(key)
    batch.texts.push(text)
    batch.length += text.length
    if (batch.keys.length >= maxRecords || batch.length >= maxLength) this.#open = undefined
    return batch
  }

  #begin(): Batch {
    const keys: string[] = []
    const texts: string[] = []
    const saved = new Promise<void>((resolve) => setImmediate(resolve)).then(async () => {
      if (this.#open === batch) this.#open = undefined
      await this.#client.script(saveScript, keys, [expiryArg(this.#client), ...texts])
    })
    const batch: Batch = { keys, texts, length: 0, saved }
    this.#open = batch
    return batch
  }
}
