/** Gathers the rounds' samples into measurements. */
import { median } from '../harness/stats.ts'
import type { Durability } from '../sides/side.ts'
import type { Measurement, Sample } from './measurement.ts'

/** Where a broker's samples were taken. */
export interface Surroundings {
  /** Of Celeriac and the raw ceiling on SQLite. */
  readonly durability: Durability
  readonly node: string
  /** What each side is and stores in, with versions. */
  readonly stores: Readonly<Partial<Record<Measurement['side'], string>>>
}

export function summarize(samples: readonly Sample[], { durability, node, stores }: Surroundings): Measurement[] {
  const groups = new Map<string, Sample[]>()
  for (const sample of samples) {
    const key = [sample.scenario, sample.metric, sample.side, sample.variant].join('\n')
    groups.set(key, [...(groups.get(key) ?? []), sample])
  }
  return [...groups.values()].map((group) => {
    const { broker, scenario, metric, side, variant, unit, better, count, load } = group[0] as Sample
    const values = group.map(({ value }) => value)
    const doubles = sum(group.map(({ exactness }) => exactness.doubles))
    const misses = sum(group.map(({ exactness }) => exactness.misses))
    return {
      broker,
      scenario,
      metric,
      side,
      variant,
      unit,
      better,
      value: rounded(median(values)),
      min: rounded(Math.min(...values)),
      max: rounded(Math.max(...values)),
      rounds: group.length,
      count,
      exact: doubles + misses === 0,
      doubles,
      misses,
      durability: promised(broker, side, durability),
      node,
      store: stores[side] ?? 'unknown',
      load: rounded(load),
    }
  })
}

/** The best setting of the best of these sides for a figure. An inexact one is never the best. */
export function best(
  measurements: readonly Measurement[],
  scenario: string,
  metric: string,
  sides: readonly Measurement['side'][],
): Measurement | undefined {
  const candidates = measurements.filter(
    (m) => m.scenario === scenario && m.metric === metric && sides.includes(m.side),
  )
  const rank = (m: Measurement): number => (m.better === 'higher' ? -m.value : m.value)
  return candidates.sort((a, b) => Number(b.exact) - Number(a.exact) || rank(a) - rank(b))[0]
}

/** Neither Celery nor celery-node waits for RabbitMQ's confirms; BullMQ, measured beside SQLite, is on Redis. */
function promised(
  broker: Measurement['broker'],
  side: Measurement['side'],
  durability: Durability,
): Measurement['durability'] {
  if (broker === 'redis' || side === 'bullmq') return 'memory'
  if (broker === 'amqp') return side === 'celeriac' || side === 'raw' ? 'confirmed' : 'unconfirmed'
  return durability
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0)
}

/** To what a reader can use: whole numbers from 100 on, three significant digits below. */
function rounded(value: number): number {
  return Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3))
}
