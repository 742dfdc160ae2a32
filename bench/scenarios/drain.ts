/** Out of the store: one worker process against a backlog of no-op tasks; against a plain loop over the same store. */
import { runChild } from '../harness/processes.ts'
import type { DrainResult } from '../roles/drain.ts'
import type { BrokerName, Setting, SideName, Store } from '../sides/side.ts'
import { traits } from '../sides/traits.ts'
import {
  type Bench,
  busySetting,
  rate,
  rawOf,
  record,
  type Scenario,
  type StoreOptions,
  size,
  type Turn,
  takeTurns,
  time,
  withStore,
} from './bench.ts'

interface Plan extends StoreOptions {
  readonly scenario: string
  /** Tasks of a full and of a quick run. */
  readonly full: number
  readonly quick: number
  /** All settings of a side, or only its best. @default false */
  readonly triesAll?: boolean
}

/** Seconds of work for everybody: in a shorter run, starting up would be much of it. */
const fullDrain: Readonly<Record<BrokerName, number>> = { sqlite: 50_000, redis: 75_000, amqp: 60_000 }

/** Results ignored. On RabbitMQ, Celeriac and the raw loop drain a quorum queue too. */
export const drain: Scenario = async (bench) => {
  const plain: Plan = { scenario: 'drain', full: fullDrain[bench.broker], quick: 10_000, triesAll: true }
  const quorum = bench.broker === 'amqp' ? drainTurns(bench, { ...plain, queueType: 'quorum', triesAll: false }) : []
  await takeTurns(bench, [...drainTurns(bench, plain), ...quorum])
}

/** The same where every task's return value is kept. */
export const results: Scenario = async (bench) => {
  await takeTurns(bench, drainTurns(bench, { scenario: 'results', full: 30_000, quick: 5_000, keepsResults: true }))
}

/** The same with a longer way to the broker. */
export const drainWithLatency: Scenario = async (bench) => {
  await takeTurns(
    bench,
    drainTurns(bench, { scenario: 'drain@1ms', full: fullDrain[bench.broker], quick: 5_000, latencyMs: 1 }),
  )
}

function drainTurns(bench: Bench, plan: Plan): Turn[] {
  const { queueType, latencyMs, triesAll = false } = plan
  // The peers know classic queues only.
  const sides = bench.sides
    .filter((side) => queueType !== 'quorum' || side === 'celeriac')
    .filter((side) => latencyMs === undefined || traits[side].goesFar)
  const settingsOf = (side: SideName): readonly Setting[] =>
    triesAll && !bench.flags.quick ? traits[side].settings : [busySetting(side)]
  // The raw loop has no results.
  const raw = bench.measuresRaw && !plan.keepsResults ? rawOf[bench.broker].settings : []
  return [
    ...sides.flatMap((side) =>
      settingsOf(side).map((setting) =>
        drainTurn(bench, plan, side, setting.variant, async (store, count) => {
          await runChild({ role: 'fill', side, store, params: { count } })
          return await runChild({ role: 'drain', side, store, params: { count, setting } })
        }),
      ),
    ),
    ...raw.map(({ variant, batch, inFlight }) =>
      drainTurn(bench, plan, 'raw', variant, async (store, count) => {
        const params = { count, batch, inFlight, messageBytes: bench.messageBytes }
        await runChild({ role: 'rawFill', side: 'raw', store, params })
        return await runChild({ role: 'rawDrain', side: 'raw', store, params })
      }),
    ),
  ]
}

function drainTurn(
  bench: Bench,
  plan: Plan,
  side: SideName | 'raw',
  variant: string,
  fillAndDrain: (store: Store, count: number) => Promise<DrainResult>,
): Turn {
  const { scenario, full, quick, queueType = 'classic' } = plan
  const count = size(bench, full, quick, side)
  const queue = queueType === 'classic' ? '' : `, ${queueType} queue`
  const run = async (store: Store): Promise<void> => {
    const { perSecond, cpuUsPerTask, exactness } = await fillAndDrain(store, count)
    record(bench, { scenario, side, variant, count, exactness }, [
      rate(`no-op tasks${queue}`, perSecond),
      time(`CPU per task${queue}`, cpuUsPerTask, 'µs'),
    ])
  }
  return { name: `${scenario}${queue}: ${side} ${variant}`, run: () => withStore(bench, side, run, plan) }
}
