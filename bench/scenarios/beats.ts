/** How late a beat sends what is due at one moment, and what it costs while nothing is due. */
import { runChild, startChild } from '../harness/processes.ts'
import { type Bench, megabytes, record, size, takeTurns, time, withStore } from './bench.ts'

const scenario = 'beats'
const side = 'celeriac'
/** The first of them warms up. */
const times = 5
/** Until the beat has declared its entries and leads, in ms. */
const preparingMs = 9_000
const idleEntries = 100_000
const idleForMs = 5_000
/** Memory is steady. */
const idleRounds = 1

export async function beats(bench: Bench): Promise<void> {
  if (!bench.sides.includes(side)) return
  const entries = size(bench, 1_000, 200)
  const late = [false, true].map((isTakenAtOnce) => ({
    name: `${scenario}: ${entries} entries due at one moment${isTakenAtOnce ? ', taken at once' : ''}`,
    run: () =>
      withStore(bench, side, async (store) => {
        const params = { entries, startMs: Math.ceil((Date.now() + preparingMs) / 1_000) * 1_000, times }
        const leading = startChild({ role: 'beat', side, store, params })
        const taking = startChild({ role: 'takeFirings', side, store, params })
        await Promise.all([leading.ready(), taking.ready()])
        if (Date.now() > params.startMs) throw new Error('the beat was not ready in time')
        leading.go()
        if (!isTakenAtOnce) await leading.result
        taking.go()
        const [sent, taken] = await Promise.all([leading.result, taking.result])
        const variant = isTakenAtOnce ? 'taken at once' : ''
        record(bench, { scenario, side, variant, count: entries * times, exactness: taken.exactness }, [
          time('accepted late: p50', sent.p50Ms),
          time('accepted late: p99', sent.p99Ms),
          ...(isTakenAtOnce
            ? [time('with a consumer late: p50', taken.p50Ms), time('with a consumer late: p99', taken.p99Ms)]
            : []),
        ])
      }),
  }))
  const count = bench.flags.quick ? idleEntries / 10 : idleEntries
  const idle = {
    name: `${scenario}: ${count} entries, idle`,
    run: () =>
      withStore(bench, side, async (store) => {
        const params = { entries: count, forMs: idleForMs }
        const { rssMb, cpuMsPerS } = await runChild({ role: 'idleBeat', side, store, params })
        const variant = `${count} entries, idle`
        record(bench, { scenario, side, variant, count, exactness: { doubles: 0, misses: 0 } }, [
          megabytes('RSS', rssMb),
          { metric: 'CPU per second', unit: 'ms', value: cpuMsPerS, better: 'lower' },
        ])
      }),
  }
  await takeTurns(bench, late)
  await takeTurns(bench, [idle], idleRounds)
}
