/** Chains of three no-op tasks, each its own message: drained from a backlog, and one at a time. */
import { runChild } from '../harness/processes.ts'
import { traits } from '../sides/traits.ts'
import {
  type Bench,
  busySetting,
  rate,
  record,
  size,
  type Turn,
  takeTurns,
  time,
  warmUpOf,
  withStore,
} from './bench.ts'

const scenario = 'chain'

/** Among those that have chains of their own. */
export async function chain(bench: Bench): Promise<void> {
  const turns: Turn[] = bench.sides
    .filter((side) => traits[side].canvas)
    .flatMap((side) => {
      const count = size(bench, 20_000, 1_000, side)
      const light = { count: size(bench, 100, 30), everyMs: 20, warmUp: warmUpOf(bench, side) / 2 }
      return [
        {
          name: `${scenario} drained: ${side}`,
          run: () =>
            withStore(bench, side, async (store) => {
              await runChild({ role: 'fillChains', side, store, params: { count } })
              const setting = busySetting(side)
              const result = await runChild({ role: 'drain', side, store, params: { count, setting } })
              const { variant } = setting
              record(bench, { scenario, side, variant, count, exactness: result.exactness }, [
                rate('chains drained', result.perSecond),
              ])
            }),
        },
        {
          name: `${scenario} light: ${side}`,
          run: () =>
            withStore(bench, side, async (store) => {
              const result = await runChild({ role: 'chainsOneByOne', side, store, params: light })
              record(bench, { scenario, side, count: light.count, exactness: result.exactness }, [
                time('send → start of the last: p50', result.p50Ms),
                time('send → start of the last: p99', result.p99Ms),
              ])
            }),
        },
      ]
    })
  await takeTurns(bench, turns)
}
