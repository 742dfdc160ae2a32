/**
 * Tasks in child processes, two slots for everybody: what a pool leaves of the processors for work, how fast nothing
 * passes through it beside Celery's prefork, and how well it shares out tasks of unequal lengths.
 */
import { runChild } from '../harness/processes.ts'
import { type Optimization, slots } from '../roles/pools.ts'
import type { Setting } from '../sides/side.ts'
import { type Bench, type Figure, rate, record, size, type Turn, takeTurns, time, withStore } from './bench.ts'

const scenario = 'pools'
const modes: readonly Optimization[] = ['fair', 'throughput']

/** No-op tasks of a full run, for seconds of each. */
const noops: Readonly<Record<Optimization, number>> = { fair: 30_000, throughput: 60_000 }
const celeryNoops = 4_000

/** Celery takes `fair` by default since its version 4. */
const celerySettings: readonly Setting[] = [
  { variant: 'fair, prefetch 4', concurrency: slots, prefetchMultiplier: 4, optimization: 'fair' },
  { variant: 'fair, prefetch 64', concurrency: slots, prefetchMultiplier: 64, optimization: 'fair' },
  { variant: 'default, prefetch 64', concurrency: slots, prefetchMultiplier: 64, optimization: 'default' },
]

/** Work for a processor: a metric, and how long its tasks take in ms. */
interface Load {
  readonly metric: string
  readonly durationsMs: readonly number[]
  readonly figure: (metric: string, count: number, ms: number) => Figure
}

export async function pools(bench: Bench): Promise<void> {
  const roundsPerMs = await calibrate(bench)
  await takeTurns(bench, [
    ...loads(bench).flatMap((load) => loadTurns(bench, load, roundsPerMs)),
    ...noopTurns(bench),
    ...celeryTurns(bench),
  ])
}

function loads(bench: Bench): Load[] {
  const rateOf: Load['figure'] = (metric, count, ms) => rate(metric, (count / ms) * 1_000)
  const timeOf: Load['figure'] = (metric, _count, ms) => time(metric, ms)
  const [busy, short, skewed] = [size(bench, 400, 100), size(bench, 1_000, 200), size(bench, 800, 200)]
  return [
    { metric: 'tasks of 10 ms', durationsMs: Array.from({ length: busy }, () => 10), figure: rateOf },
    { metric: 'time for all, 2 ms each', durationsMs: Array.from({ length: short }, () => 2), figure: timeOf },
    {
      metric: 'time for all, 1 % of 1 s, others 10 ms',
      durationsMs: shuffled(Array.from({ length: skewed }, (_, i) => (i % 100 === 0 ? 1_000 : 10))),
      figure: timeOf,
    },
  ]
}

function loadTurns(bench: Bench, { metric, durationsMs, figure }: Load, roundsPerMs: number): Turn[] {
  const count = durationsMs.length
  const pieces = durationsMs.map((ms) => Math.round(ms * roundsPerMs))
  const bare = turn(bench, 'raw', metric, async (store) => {
    const { ms, exactness } = await runChild({ role: 'bareChildren', side: 'raw', store, params: { pieces } })
    // What there is to reach is the same for both.
    const figures = modes.map((mode) => figure(`${metric}, ${mode}`, count, ms))
    record(bench, { scenario, side: 'raw', variant: '2 bare children', count, exactness }, figures)
  })
  const ours = modes.map((optimization) =>
    turn(bench, 'celeriac', `${metric}, ${optimization}`, async (store) => {
      await runChild({ role: 'fillWork', side: 'celeriac', store, params: { pieces } })
      const params = { count, optimization }
      const { ms, exactness } = await runChild({ role: 'drainPool', side: 'celeriac', store, params })
      record(bench, { scenario, side: 'celeriac', count, exactness }, [figure(`${metric}, ${optimization}`, count, ms)])
    }),
  )
  const [fair, ...others] = bench.sides.includes('celeriac') ? ours : []
  // Beside both of those it is compared with: on a machine that others use too, a minute makes a difference.
  return [...(fair === undefined ? [] : [fair]), ...(bench.measuresRaw ? [bare] : []), ...others]
}

function noopTurns(bench: Bench): Turn[] {
  if (!bench.sides.includes('celeriac')) return []
  const side = 'celeriac'
  return modes.map((optimization) => {
    const metric = `no-op tasks, ${optimization}`
    return turn(bench, side, metric, async (store) => {
      const count = size(bench, noops[optimization], 5_000)
      await runChild({ role: 'fill', side, store, params: { count } })
      const { ms, cpuUsPerTask, parentCpuUsPerTask, exactness } = await runChild({
        role: 'drainPool',
        side,
        store,
        params: { count, optimization },
      })
      record(bench, { scenario, side, count, exactness }, [
        rate(metric, (count / ms) * 1_000),
        time(`CPU per ${metric}`, cpuUsPerTask, 'µs'),
        time(`CPU per ${metric}: the worker's own process`, parentCpuUsPerTask, 'µs'),
      ])
    })
  })
}

function celeryTurns(bench: Bench): Turn[] {
  if (!bench.sides.includes('celery')) return []
  const side = 'celery'
  return celerySettings.map((setting) =>
    turn(bench, side, `no-op tasks, ${setting.variant}`, async (store) => {
      const count = size(bench, celeryNoops, 500)
      await runChild({ role: 'fill', side, store, params: { count } })
      const { perSecond, cpuUsPerTask, exactness } = await runChild({
        role: 'drain',
        side,
        store,
        params: { count, setting },
      })
      record(bench, { scenario, side, variant: setting.variant, count, exactness }, [
        ...modes.map((mode) => rate(`no-op tasks, ${mode}`, perSecond)),
        ...modes.map((mode) => time(`CPU per no-op tasks, ${mode}`, cpuUsPerTask, 'µs')),
      ])
    }),
  )
}

function turn(
  bench: Bench,
  side: 'celeriac' | 'celery' | 'raw',
  what: string,
  use: Parameters<typeof withStore>[2],
): Turn {
  return { name: `${scenario}: ${side} ${what}`, run: () => withStore(bench, side, use) }
}

/** Rounds of the busy loop in a millisecond, with both slots busy. */
export async function calibrate(bench: Bench): Promise<number> {
  const rounds = 1_000_000
  const pieces = Array.from({ length: 200 }, () => rounds)
  let roundsPerMs = 0
  await withStore(bench, 'raw', async (store) => {
    const { ms } = await runChild({ role: 'bareChildren', side: 'raw', store, params: { pieces } })
    roundsPerMs = (rounds * pieces.length) / slots / ms
  })
  return roundsPerMs
}

/** The same order in every run: Fisher and Yates', by a linear congruential generator. */
function shuffled(values: number[]): number[] {
  let seed = 20
  for (let i = values.length - 1; i > 0; i--) {
    seed = (Math.imul(seed, 1_664_525) + 1_013_904_223) >>> 0
    const j = Math.floor((seed / 2 ** 32) * (i + 1))
    ;[values[i], values[j]] = [values[j] as number, values[i] as number]
  }
  return values
}
