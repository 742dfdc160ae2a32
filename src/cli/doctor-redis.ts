/** What the doctor asks a Redis: whether it keeps what it accepts, and whether its clock is ours. */

import { systemClock } from '../clock.ts'
import type { AppConfig } from '../config.ts'
import { shortTime } from '../duration.ts'
import { error, type Finding, ok, warn } from './finding.ts'

export interface RedisFacts {
  /** By the names of `INFO`. */
  readonly info: ReadonlyMap<string, string>
  /** The setting `save`, `''` where there are no snapshots; undefined where the server does not tell. */
  readonly save: string | undefined
  readonly clock: ClockReading
}

export interface ClockReading {
  /** How far the server's clock is ahead of ours, in ms. */
  readonly aheadMs: number
  /** By how much that may be wrong, in ms. */
  readonly errorMs: number
}

/** Below this nobody will notice, in ms: countdowns are given in seconds. */
const toleratedSkewMs = 1_000
const clockReadings = 3

/** @throws CeleriacError the server cannot be reached */
export async function readRedis(url: string, config: AppConfig): Promise<RedisFacts> {
  const { RedisClient } = await import('../drivers/redis/index.ts')
  const client = new RedisClient({ ...config, url, clock: systemClock })
  await client.open()
  try {
    const info = readInfo(String(await client.command('INFO')))
    // Services that manage Redis for others often forbid it.
    const save = await client.commandOnce('CONFIG', 'GET', 'save').then(secondOf, () => undefined)
    return { info, save, clock: await readClock(() => client.command('TIME')) }
  } finally {
    await client.close()
  }
}

export function aboutRedis({ info, save, clock }: RedisFacts): Finding[] {
  const version = info.get('valkey_version') ?? info.get('redis_version') ?? 'unknown'
  const name = info.has('valkey_version') ? 'Valkey' : 'Redis'
  return [ok('redis', `${name} ${version}`), aboutMemory(info), aboutPersistence(info, save), aboutClock(clock)]
}

function aboutMemory(info: RedisFacts['info']): Finding {
  const policy = info.get('maxmemory_policy') ?? 'unknown'
  const isLimited = Number(info.get('maxmemory') ?? 0) > 0
  if (policy === 'noeviction') return ok('memory', "maxmemory-policy is 'noeviction': nothing is dropped")
  const advice = 'CONFIG SET maxmemory-policy noeviction, and the same in redis.conf'
  if (isLimited)
    return error('memory', `maxmemory-policy is '${policy}': when memory is short, tasks are dropped`, advice)
  return warn('memory', `maxmemory-policy is '${policy}', which drops tasks as soon as there is a maxmemory`, advice)
}

function aboutPersistence(info: RedisFacts['info'], save: string | undefined): Finding {
  const about = 'persistence'
  const isAppending = info.get('aof_enabled') === '1'
  const hasFailed = info.get(isAppending ? 'aof_last_write_status' : 'rdb_last_bgsave_status') === 'err'
  if (hasFailed) {
    return error(about, 'its last write to disk has failed', "look at the server's log and at the room on its disk")
  }
  if (isAppending) return ok(about, 'appendonly is on')
  const advice = 'CONFIG SET appendonly yes, and the same in redis.conf'
  if (save === '') return warn(about, 'it keeps nothing on disk: when it ends, all tasks are lost', advice)
  const snapshots = save === undefined ? 'appendonly is off' : 'it only writes snapshots'
  return warn(about, `${snapshots}: a crash loses what came since the last one`, advice)
}

export function aboutClock({ aheadMs, errorMs }: ClockReading): Finding {
  const skewMs = Math.abs(aheadMs)
  if (skewMs - errorMs <= toleratedSkewMs) return ok('clock', "the server's clock is ours, within a second")
  return warn(
    'clock',
    `the server's clock is ${shortTime(skewMs)} ${aheadMs > 0 ? 'ahead of' : 'behind'} this machine's`,
    'let both follow NTP (chrony, systemd-timesyncd): countdowns, expiry and leases go by the clock',
  )
}

function readInfo(text: string): Map<string, string> {
  const lines = text.split(/\r?\n/).filter((line) => line.includes(':') && !line.startsWith('#'))
  return new Map(lines.map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)]))
}

/** The quickest of a few answers says most. */
async function readClock(time: () => Promise<unknown>): Promise<ClockReading> {
  const readings: ClockReading[] = []
  for (let count = 0; count < clockReadings; count++) {
    const since = performance.now()
    const [seconds, microseconds] = ((await time()) as unknown[]).map(Number)
    const errorMs = (performance.now() - since) / 2
    const serverMs = (seconds ?? 0) * 1_000 + (microseconds ?? 0) / 1_000
    readings.push({ aheadMs: serverMs - (Date.now() - errorMs), errorMs })
  }
  return readings.reduce((best, reading) => (reading.errorMs < best.errorMs ? reading : best))
}

/** Of a name and its value, as servers of both protocols give it. */
function secondOf(reply: unknown): string | undefined {
  const value = Array.isArray(reply) ? reply[1] : Object.values((reply ?? {}) as object)[0]
  return value === undefined ? undefined : String(value)
}
