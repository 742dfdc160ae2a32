/** Chords of no-op tasks: from the send until the body starts, one chord at a time, with every member's result kept. */
import { runChild } from '../harness/processes.ts'
import { traits } from '../sides/traits.ts'
import { type Bench, busySetting, record, size, takeTurns, time, withStore } from './bench.ts'

const scenario = 'chord'
const members = 1_000
/** Sent first, so that the code is warm; their times do not count. */
const warmUp = 10

/** Among those that have chords of their own. */
export async function chord(bench: Bench): Promise<void> {
  const turns = bench.sides
    .filter((side) => traits[side].canvas)
    .map((side) => ({
      name: `${scenario}: ${side}`,
      run: () =>
        withStore(
          bench,
          side,
          async (store) => {
            const count = Math.min(20, size(bench, 10, 3))
            const result = await runChild({ role: 'chords', side, store, params: { count, members, warmUp } })
            const { variant } = busySetting(side)
            record(bench, { scenario, side, variant, count, exactness: result.exactness }, [
              time('a chord of 1,000: p50', result.p50Ms),
            ])
          },
          { keepsResults: true },
        ),
    }))
  await takeTurns(bench, turns)
}
