/**
 * Who belongs to a group. Ours is an object under a key of our own; Celery's, where it must know, the tuples of its
 * `GroupResult` under `celery-taskset-meta-<group id>` (`celery/result.py`, `as_tuple`), told on a channel of that name.
 * Celery's own are read where there is none of ours.
 */
import type { GroupMember, GroupRecord } from '../../result/result-store.ts'
import type { RedisClient } from './client.ts'
import { expiryArg } from './result-save.ts'
import { defineScript } from './script.ts'

/**
 * - KEYS: a key for each
 * - ARGV[1]: ms until they go, '' for never; ARGV[i + 1]: the text of KEYS[i]; those of Celery's form are told too
 */
const saveScript = defineScript(`
for i, key in ipairs(KEYS) do
  if ARGV[1] == '' then
    redis.call('SET', key, ARGV[i + 1])
  else
    redis.call('SET', key, ARGV[i + 1], 'PX', ARGV[1])
  end
  if string.sub(ARGV[i + 1], 1, 10) == '{"result":' then redis.call('PUBLISH', key, ARGV[i + 1]) end
end
`)

export class ResultGroups {
  readonly #client: RedisClient

  constructor(client: RedisClient) {
    this.#client = client
  }

  async save(groups: readonly GroupRecord[], forCelery: boolean): Promise<void> {
    for (const group of groups) {
      const { groupId } = group
      const keys = [this.#ownKey(groupId), ...(forCelery ? [this.#celeryKey(groupId)] : [])]
      const texts = [JSON.stringify(group), ...(forCelery ? [celeryText(group)] : [])]
      await this.#client.script(saveScript, keys, [expiryArg(this.#client), ...texts])
    }
  }

  async load(groupId: string): Promise<GroupRecord | undefined> {
    const own = await this.#client.command('GET', this.#ownKey(groupId))
    if (typeof own === 'string') return JSON.parse(own) as GroupRecord
    const theirs = await this.#client.command('GET', this.#celeryKey(groupId))
    return typeof theirs === 'string' ? readCelery(groupId, theirs) : undefined
  }

  #ownKey(groupId: string): string {
    return `${this.#client.prefix}celeriac:group:${groupId}`
  }

  #celeryKey(groupId: string): string {
    return `${this.#client.prefix}celery-taskset-meta-${groupId}`
  }
}

function celeryText({ groupId, members }: GroupRecord): string {
  return JSON.stringify({ result: tupleOf({ groupId, members }) })
}

/** `[[id, parent], null]` for a task, `[[id, parent], [members …]]` for a group. */
function tupleOf(member: GroupMember): unknown {
  return typeof member === 'string'
    ? [[member, null], null]
    : [[member.groupId, null], member.members.map((inner) => tupleOf(inner))]
}

/** Undefined for what is none. */
function readCelery(groupId: string, text: string): GroupRecord | undefined {
  try {
    const { result } = JSON.parse(text) as { result?: unknown }
    const member = memberOf(result)
    return typeof member === 'object' ? { groupId, members: member.members, starts: null, bodyId: null } : undefined
  } catch {
    return undefined
  }
}

/** @throws TypeError for what is no tuple */
function memberOf(tuple: unknown): GroupMember {
  const [[id], members] = tuple as [[string], unknown[] | null]
  return members === null ? id : { groupId: id, members: members.map(memberOf) }
}
