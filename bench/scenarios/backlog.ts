/** Claims from a queue of two million against claims from one of twenty thousand. Celeriac's own bar: no peer. */
import { runChild } from '../harness/processes.ts'
import type { Store } from '../sides/side.ts'
import { type Bench, rate, record, size, takeTurns, withStore } from './bench.ts'

const scenario = 'backlog'
const side = 'celeriac'
const batch = 100

export async function backlog(bench: Bench): Promise<void> {
  if (!bench.sides.includes(side)) return
  const large = size(bench, 2_000_000, 100_000)
  const small = Math.min(20_000, large)
  const claims = small / 2
  await withStore(bench, side, async (largeStore) => {
    bench.log(`${scenario}: sending ${large} tasks`)
    const { exactness } = await runChild(
      { role: 'fill', side, store: largeStore, params: { count: large } },
      { deadlineMs: 300_000 },
    )
    if (exactness.misses + exactness.doubles > 0) throw new Error('the backlog is not what was sent')
    let first = 0
    const claim = (store: Store, from: number) =>
      runChild({ role: 'claim', side, store, params: { count: claims, batch, first: from } })
    await takeTurns(bench, [
      {
        name: `${scenario}: claims from ${large} and from ${small}`,
        run: () =>
          withStore(bench, side, async (smallStore) => {
            await runChild({ role: 'fill', side, store: smallStore, params: { count: small } })
            const ofFew = await claim(smallStore, 0)
            const ofMany = await claim(largeStore, first)
            first += claims
            const both = {
              doubles: ofFew.exactness.doubles + ofMany.exactness.doubles,
              misses: ofFew.exactness.misses + ofMany.exactness.misses,
            }
            record(bench, { scenario, side, count: claims, exactness: both }, [
              rate('claims from few', ofFew.claimsPerSecond),
              rate('claims from many', ofMany.claimsPerSecond),
              {
                metric: 'rate kept',
                unit: '×',
                value: ofMany.claimsPerSecond / ofFew.claimsPerSecond,
                better: 'higher',
              },
            ])
          }),
      },
    ])
  })
}
