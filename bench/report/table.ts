/** The figures as people read them: a row per figure, a column per side, and Celeriac's ratio to raw and the best peer. */
import type { BrokerName, SideName } from '../sides/side.ts'
import { sidesOf } from '../sides/traits.ts'
import type { Bar } from './bars.ts'
import { best } from './collector.ts'
import type { Measurement } from './measurement.ts'

const titles: Readonly<Record<SideName, string>> = {
  celeriac: 'Celeriac',
  bullmq: 'BullMQ',
  'bee-queue': 'bee-queue',
  'celery-node': 'celery-node',
  celery: 'Celery',
}
const stores: Readonly<Record<BrokerName, string>> = { sqlite: 'SQLite', redis: 'Redis', amqp: 'RabbitMQ' }

/** Of the measurements of one broker. */
export function figuresTable(measurements: readonly Measurement[], broker: BrokerName): string {
  const peers = sidesOf[broker].filter((side) => side !== 'celeriac' && measurements.some((m) => m.side === side))
  const seen = new Set<string>()
  const head = ['', 'unit', titles.celeriac, `raw ${stores[broker]}`, ...peers.map((side) => titles[side])]
  const rows = [[...head, '× raw', peers.length === 1 ? `× ${titles[peers[0] as SideName]}` : '× best peer']]
  for (const { scenario, metric, unit } of measurements) {
    const name = `${scenario}: ${metric}`
    if (seen.has(name)) continue
    seen.add(name)
    const of = (side: Measurement['side']): Measurement | undefined => best(measurements, scenario, metric, [side])
    const [ours, raw] = [of('celeriac'), of('raw')]
    const cells = [ours, raw, ...peers.map(of)].map(cell)
    rows.push([name, unit, ...cells, ratio(ours, raw), ratio(ours, best(measurements, scenario, metric, peers))])
  }
  return aligned(rows)
}

export function barsTable(bars: readonly Bar[]): string {
  return aligned([['bar', 'verdict', 'measured'], ...bars.map(({ text, verdict, got }) => [text, verdict, got])])
}

function cell(measurement: Measurement | undefined): string {
  if (measurement === undefined) return '–'
  const { value, min, max, exact, doubles, misses, variant, rounds } = measurement
  const range = rounds > 1 ? ` (${number(min)}–${number(max)})` : ''
  const setting = variant === '' ? '' : ` ${variant}`
  const flaw = exact ? '' : ` INVALID: ${doubles} doubles, ${misses} misses`
  return `${number(value)}${range}${setting}${flaw}`
}

/** How many times the other's figure ours is. Of differences in memory, which may be about zero, that says nothing. */
function ratio(ours: Measurement | undefined, other: Measurement | undefined): string {
  if (ours === undefined || other === undefined || ours.unit === 'MB') return '–'
  return (ours.value / other.value).toFixed(2)
}

function number(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 3 })
}

function aligned(rows: readonly (readonly string[])[]): string {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => (row[column] ?? '').length)))
  const line = (row: readonly string[]): string =>
    row
      .map((text, column) => (column === 0 ? text.padEnd(widths[column] ?? 0) : text.padStart(widths[column] ?? 0)))
      .join('  ')
  const [head = [], ...body] = rows.map(line)
  return [head, '-'.repeat(head.length), ...body].join('\n')
}
