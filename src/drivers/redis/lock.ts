/**
 * Locks on Redis: a key per held name that goes by itself with its lease, on the server's clock. Its value tells who
 * holds it; tokens come from one counter for all names, so that a name that is free leaves nothing behind.
 *
 * The lock lives on one server. A replica that is promoted before it has heard of an acquisition knows nothing of it,
 * and may give a token a second time: what is written under the lock should bear that, or wait for replicas
 * (`WAIT`, `min-replicas-to-write`).
 */
import { randomUUID } from 'node:crypto'
import type { Lock, LockLease } from '../../broker/lock.ts'
import type { RedisClient } from './client.ts'
import { ClientUse } from './client-use.ts'
import { defineScript } from './script.ts'

/**
 * Takes the lock, if nobody has it. A second try of the same acquisition, whose first answer was lost, finds it held by
 * itself and is given what the first one was.
 *
 * - KEYS: the lock, the counter of tokens
 * - ARGV: the acquisition's id, the lease in ms
 * - returns the token, or false
 */
const acquireScript = defineScript(`
local holder = redis.call('GET', KEYS[1])
if holder then
  local id, token = string.match(holder, '^(.-):(%d+)$')
  if id ~= ARGV[1] then return false end
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return tonumber(token)
end
local token = redis.call('INCR', KEYS[2])
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. token, 'PX', ARGV[2])
return token
`)

/**
 * - KEYS[1]: the lock
 * - ARGV: the holder, the new lease in ms
 * - returns 1, or 0 when somebody else or nobody holds it
 */
const renewScript = defineScript(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`)

/**
 * - KEYS[1]: the lock
 * - ARGV[1]: the holder
 */
const releaseScript = defineScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
`)

export class RedisLock implements Lock {
  readonly #client: RedisClient
  readonly #use: ClientUse

  constructor(client: RedisClient) {
    this.#client = client
    this.#use = new ClientUse(client, 'the lock')
  }

  open(): Promise<void> {
    return this.#use.open()
  }

  async acquire(name: string, leaseMs: number): Promise<LockLease | null> {
    this.#use.assertOpen()
    const client = this.#client
    const key = `${client.prefix}celeriac:lock:${name}`
    const id = randomUUID()
    const token = await client.script(acquireScript, [key, `${client.prefix}celeriac:lock-token`], [id, lease(leaseMs)])
    return typeof token === 'number' ? new RedisLockLease(client, { name, key, token, holder: `${id}:${token}` }) : null
  }

  close(): Promise<void> {
    return this.#use.close()
  }
}

interface Held {
  readonly name: string
  readonly key: string
  readonly token: number
  /** The key's value. */
  readonly holder: string
}

class RedisLockLease implements LockLease {
  readonly name: string
  readonly token: number
  readonly #client: RedisClient
  readonly #held: Held

  constructor(client: RedisClient, held: Held) {
    this.name = held.name
    this.token = held.token
    this.#client = client
    this.#held = held
  }

  async renew(leaseMs: number): Promise<boolean> {
    const { key, holder } = this.#held
    return (await this.#client.script(renewScript, [key], [holder, lease(leaseMs)])) === 1
  }

  async release(): Promise<void> {
    const { key, holder } = this.#held
    await this.#client.script(releaseScript, [key], [holder])
  }
}

/** Whole ms, at least one: none would end the key at once. */
function lease(leaseMs: number): string {
  return String(Math.max(1, Math.ceil(leaseMs)))
}
