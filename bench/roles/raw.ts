/**
 * The raw ceiling: the loop a good engineer writes against the plain store when there is no task queue around it, with
 * messages as large as Celeriac's. Nothing of them is parsed, nobody is woken, no lease is renewed.
 */
import type { BrokerName } from '../sides/side.ts'
import { drainAmqp, fillAmqp } from './raw-amqp.ts'
import type { RawDrain, RawDrainResult, RawFill, RawFillResult, RawParams } from './raw-loop.ts'
import { drainRedis, fillRedis } from './raw-redis.ts'
import { drainSqlite, fillSqlite } from './raw-sqlite.ts'
import type { Environment } from './role.ts'

const loops: Readonly<Record<BrokerName, { readonly fill: RawFill; readonly drain: RawDrain }>> = {
  sqlite: { fill: fillSqlite, drain: drainSqlite },
  redis: { fill: fillRedis, drain: drainRedis },
  amqp: { fill: fillAmqp, drain: drainAmqp },
}

export function rawFill({ store }: Environment, params: RawParams): Promise<RawFillResult> {
  return loops[store.broker].fill(store, params)
}

export function rawDrain({ store }: Environment, params: RawParams): Promise<RawDrainResult> {
  return loops[store.broker].drain(store, params)
}
