/**
 * Tasks with an ETA from Python, as a fleet in the middle of a migration sends them: Celeriac's worker meets each of them
 * before its time. What they cost it while they wait, and how late they start. Celeriac's own bar: no peer.
 */
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { pythonWithCelery } from '../../test/servers/python.ts'
import { payload } from '../harness/payload.ts'
import { startChild } from '../harness/processes.ts'
import { nowMs, pause } from '../harness/time.ts'
import { type CeleryProducer, startCeleryProducer } from '../sides/celery.ts'
import { type Bench, megabytes, record, size, takeTurns, time, withStore } from './bench.ts'

const scenario = 'eta'
const side = 'celeriac'
/** Half of them with an ETA of their own: the worker has then done all it will do, and has the memory for that. */
const warmUp = 4_000
const warmUpEtaMs = 3_000
/** A round takes minutes, most of them Python's. */
const rounds = 1
const producers = 2
/** Tasks in one order to a producer. */
const orderSize = 500
/** Time for the worker to come to rest and be measured, between the last send and the first due task. */
const restMs = 12_000

export async function eta(bench: Bench): Promise<void> {
  if (!bench.sides.includes(side)) return
  const python = pythonWithCelery()
  if (python === undefined)
    return bench.log('NO CELERY: there is no Python with Celery, so nobody sends tasks with an ETA.')
  const count = size(bench, 100_000, 3_000)
  const overMs = bench.flags.quick ? 3_000 : 60_000
  await takeTurns(
    bench,
    [{ name: `${scenario}: ${count} from Python`, run: () => measure(bench, python, count, overMs) }],
    rounds,
  )
}

async function measure(bench: Bench, python: string, count: number, overMs: number): Promise<void> {
  await withStore(bench, side, async (store) => {
    const worker = startChild(
      { role: 'receiveEta', side, store, params: { count, warmUp, overMs } },
      { execArgv: ['--expose-gc'], deadlineMs: 600_000 },
    )
    await worker.ready()
    const meters = join(store.directory, 'meters')
    await mkdir(meters)
    const env = { BENCH_BROKER: store.url, BENCH_METER: meters }
    const pythons = await Promise.all(Array.from({ length: producers }, () => startCeleryProducer(python, env)))
    try {
      const plain = Array.from({ length: warmUp / 2 }, (_, i) => payload(i))
      const perSecond = await sendAll(pythons, plain, 'send')
      const soonMs = Date.now() + warmUpEtaMs
      const soon = Array.from({ length: warmUp / 2 }, (_, i) => payload(warmUp / 2 + i, soonMs))
      await sendAll(pythons, soon, 'eta')
      worker.go()
      await worker.ready()
      // The worker takes part of the machine; they will be slower than alone.
      const sendingMs = (count / perSecond) * 1_500
      const firstDueAtMs = Date.now() + sendingMs + restMs
      const tasks = Array.from({ length: count }, (_, i) =>
        payload(warmUp + i, Math.round(firstDueAtMs + (i / count) * overMs)),
      )
      const sentPerSecond = await sendAll(pythons, tasks, 'eta')
      const aheadMs = firstDueAtMs - Date.now()
      if (aheadMs < restMs) throw new Error(`sending ended only ${Math.round(aheadMs)} ms before the first was due`)
      bench.log(`${scenario}: sent ${Math.round(sentPerSecond)} per second; first due in ${Math.round(aheadMs)} ms`)
      await pause(aheadMs - restMs)
      worker.go()
      const result = await worker.result
      if (result.earliestMs < 0) throw new Error(`a task started ${-result.earliestMs} ms before its ETA`)
      record(bench, { scenario, side, count, exactness: result.exactness }, [
        megabytes('RSS for the waiting', result.rssGrowthMb),
        megabytes('heap for the waiting', result.heapGrowthMb),
        megabytes('peak RSS, garbage included', result.rssPeakGrowthMb),
        time('lateness p50', result.p50Ms),
        time('lateness p99', result.p99Ms),
        time('latest', result.maxMs),
      ])
    } finally {
      await Promise.all(pythons.map((producer) => producer.close()))
    }
  })
}

/** Has the producers send a share of the payloads each; answers how many they sent per second together. */
async function sendAll(
  pythons: readonly CeleryProducer[],
  payloads: readonly ReturnType<typeof payload>[],
  how: 'send' | 'eta',
): Promise<number> {
  const start = nowMs()
  let next = 0
  await Promise.all(
    pythons.map(async (python) => {
      while (next < payloads.length) {
        const from = next
        next += orderSize
        await python.order({ do: how, payloads: payloads.slice(from, from + orderSize) })
      }
    }),
  )
  return (payloads.length / (nowMs() - start)) * 1_000
}
