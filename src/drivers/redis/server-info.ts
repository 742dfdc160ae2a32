/** What the server says of itself: `INFO` (https://redis.io/docs/latest/commands/info/). */
import type { ServerInfo } from '../../broker/broker.ts'
import type { RedisClient } from './client.ts'

const facts = [
  'redis_mode',
  'role',
  'maxmemory_policy',
  'aof_enabled',
  'uptime_in_seconds',
  'evicted_keys',
  'blocked_clients',
]

export async function serverOf(client: RedisClient): Promise<ServerInfo> {
  const lines = String(await client.command('INFO')).matchAll(/^([\w-]+):(.*?)\r?$/gm)
  const info = new Map([...lines].map(([, name = '', value = '']) => [name, value]))
  const number = (name: string): number | null => {
    const value = Number(info.get(name))
    return info.has(name) && Number.isFinite(value) ? value : null
  }
  return {
    product: info.has('valkey_version') ? 'Valkey' : 'Redis',
    version: info.get('valkey_version') ?? info.get('redis_version') ?? null,
    memoryBytes: number('used_memory'),
    // 0 = as much as there is.
    memoryLimitBytes: number('maxmemory') || null,
    connections: number('connected_clients'),
    fileBytes: null,
    facts: Object.fromEntries(facts.flatMap((name) => (info.has(name) ? [[name, String(info.get(name))]] : []))),
  }
}
