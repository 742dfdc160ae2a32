/** Chains of three no-op tasks, each its own message: drained from a backlog, and one at a time. */
import { runChild } from '../harness/processes.ts'
import { type Bench, concurrencies, rate, record, size, type Turn, takeTurns, time, withStore } from './bench.ts'

const scenario = 'chain'

export async function chain(bench: Bench): Promise<void> {
  const count = size(bench, 5_000, 1_000)
  const light = { count: size(bench, 150, 30), everyMs: 20, warmUp: 1_000 }
  const turns: Turn[] = bench.peers.flatMap((side) => [
    ...concurrencies.map((concurrency) => ({
      name: `${scenario} drained: ${side}, concurrency ${concurrency}`,
      run: () =>
        withStore(bench, async (store) => {
          await runChild({ role: 'fillChains', side, store, params: { count } })
          const { perSecond, exactness } = await runChild({
            role: 'drain',
            side,
            store,
            params: { count, concurrency },
          })
          const variant = `c${concurrency}`
          record(bench, { scenario, side, variant, count, exactness }, [rate('chains drained', perSecond)])
        }),
    })),
    {
      name: `${scenario} light: ${side}`,
      run: () =>
        withStore(bench, async (store) => {
          const result = await runChild({ role: 'chainsOneByOne', side, store, params: light })
          record(bench, { scenario, side, count: light.count, exactness: result.exactness }, [
            time('send → start of the last: p50', result.p50Ms),
            time('send → start of the last: p99', result.p99Ms),
          ])
        }),
    },
  ])
  await takeTurns(bench, turns)
}
