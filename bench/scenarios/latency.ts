/** Send → start: idle (a task every 20 ms) and at 500 a second, between two processes and, on SQLite, within one. */
import { runChild, startChild } from '../harness/processes.ts'
import type { LatencyResult, Pace } from '../roles/latency.ts'
import type { SideName, Store } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import {
  type Bench,
  type Figure,
  record,
  type Scenario,
  type StoreOptions,
  size,
  type Turn,
  takeTurns,
  time,
  warmUpOf,
  withStore,
} from './bench.ts'

interface Load {
  readonly name: string
  readonly everyMs: number
  readonly full: number
  readonly quick: number
}

const idle: Load = { name: 'idle', everyMs: 20, full: 200, quick: 50 }
const steady: Load = { name: '500/s', everyMs: 2, full: 2_000, quick: 250 }

export const latency: Scenario = async (bench) => {
  const loads = bench.broker === 'sqlite' ? [idle, steady] : [idle, { ...steady, full: 750 }]
  const turns = loads.flatMap((load) =>
    bench.sides.flatMap((side) => [
      ...(bench.broker === 'sqlite' ? [withinOne(bench, load, side)] : []),
      betweenTwo(bench, 'latency', load, side, {}),
    ]),
  )
  // The peers know classic queues only.
  const quorum =
    bench.broker === 'amqp' && bench.sides.includes('celeriac')
      ? [betweenTwo(bench, 'latency', idle, 'celeriac', { queueType: 'quorum' })]
      : []
  await takeTurns(bench, [...turns, ...quorum])
}

/** Idle, with a longer way to the broker. */
export const latencyWithLatency: Scenario = async (bench) => {
  const load = { ...idle, full: 100 }
  await takeTurns(
    bench,
    bench.sides
      .filter((side) => traits[side].goesFar)
      .map((side) => betweenTwo(bench, 'latency@1ms', load, side, { latencyMs: 1 })),
  )
}

function withinOne(bench: Bench, load: Load, side: SideName): Turn {
  const params = paceOf(bench, load, side)
  return {
    name: `latency ${load.name}, one process: ${side}`,
    run: () =>
      withStore(bench, side, async (store) => {
        const result = await runChild({ role: 'sendAndReceive', side, store, params })
        const { exactness } = result
        const figures = times(`${load.name}, one process`, result)
        record(bench, { scenario: 'latency', side, count: params.count, exactness }, figures)
      }),
  }
}

function betweenTwo(bench: Bench, scenario: string, load: Load, side: SideName, options: StoreOptions): Turn {
  const params = paceOf(bench, load, side)
  const queue = options.queueType === 'quorum' ? ', quorum queue' : ''
  return {
    name: `${scenario} ${load.name}, two processes${queue}: ${side}`,
    run: () =>
      withStore(
        bench,
        side,
        async (store) => {
          const result = await measureTwo(side, store, params)
          const { exactness } = result
          const figures = times(`${load.name}, two processes${queue}`, result)
          record(bench, { scenario, side, count: params.count, exactness }, figures)
        },
        options,
      ),
  }
}

function paceOf(bench: Bench, { everyMs, full, quick }: Load, side: SideName): Pace {
  return { count: size(bench, full, quick), everyMs, warmUp: warmUpOf(bench, side) }
}

async function measureTwo(side: SideName, store: Store, pace: Pace): Promise<LatencyResult> {
  const worker = startChild({ role: 'receive', side, store, params: { ...pace, since: 'sent' } })
  await worker.ready()
  const producer = startChild({ role: 'sendPaced', side, store, params: pace })
  await producer.ready()
  worker.go()
  producer.go()
  await producer.result
  return await worker.result
}

function times(name: string, { p50Ms, p99Ms }: LatencyResult): Figure[] {
  return [time(`${name}: p50`, p50Ms), time(`${name}: p99`, p99Ms)]
}
