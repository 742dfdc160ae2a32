/** What a monitor costs the worker that it watches, and how it bears a fleet that never rests. */
import { freePort } from '../../test/servers/ports.ts'
import { runChild, startChild } from '../harness/processes.ts'
import type { WatchedResult } from '../roles/monitor.ts'
import { type Bench, megabytes, rate, record, size, takeTurns, time, withStore } from './bench.ts'
import { calibrate } from './pools.ts'

const scenario = 'monitor'
const side = 'celeriac'
/** Of a fleet that never rests. Each of its tasks is told of three times. */
const eventsPerSecond = 2_000
const eventsPerTask = 3
/** Of processor time: of each task of a worker that by itself tells so many events. */
const taskMs = (1_000 * eventsPerTask) / eventsPerSecond
const loadRounds = 1
/** More tasks waver no less. */
const mostTimed = 10_000
/** Tasks of a load in which there is time to look at frames and at answers. */
const leastLoad = 8_000
/** So long the frames are counted, in ms. */
const framesForMs = 8_000

export async function monitor(bench: Bench): Promise<void> {
  if (!bench.sides.includes(side)) return
  const rounds = Math.round((await calibrate(bench)) * taskMs)
  const count = Math.min(mostTimed, size(bench, 4_000, 1_000))
  const pieces = Array.from({ length: count }, () => rounds)
  const cost = {
    name: `${scenario}: a worker with one and without`,
    async run() {
      const alone = await unwatched(bench, pieces)
      const { worker, misses } = await watched(bench, pieces)
      const exactness = {
        doubles: alone.exactness.doubles + worker.exactness.doubles,
        misses: alone.exactness.misses + worker.exactness.misses + misses,
      }
      record(bench, { scenario, side, count, exactness }, [
        rate('tasks of 1.5 ms, unwatched', alone.perSecond),
        rate('tasks of 1.5 ms, watched', worker.perSecond),
        { metric: 'rate kept', unit: '×', value: worker.perSecond / alone.perSecond, better: 'higher' },
        time('CPU for the events of a task', worker.cpuUsPerTask - alone.cpuUsPerTask, 'µs'),
      ])
    },
  }
  await takeTurns(bench, [cost])
  await takeTurns(bench, [{ name: `${scenario}: under load`, run: () => underLoad(bench) }], loadRounds)
}

async function unwatched(bench: Bench, pieces: readonly number[]): Promise<WatchedResult> {
  return await onStore(bench, async (store) => {
    await runChild({ role: 'fillWork', side, store, params: { pieces } })
    const params = { count: pieces.length, tellsEvents: false }
    return await runChild({ role: 'drainWatched', side, store, params })
  })
}

async function watched(bench: Bench, pieces: readonly number[]): Promise<{ worker: WatchedResult; misses: number }> {
  return await onStore(bench, async (store) => {
    const count = pieces.length
    const events = count * eventsPerTask
    await runChild({ role: 'fillWork', side, store, params: { pieces } })
    const watching = startChild({ role: 'monitor', side, store, params: { port: await freePort(), events } })
    await watching.ready()
    const worker = await runChild({ role: 'drainWatched', side, store, params: { count, tellsEvents: true } })
    watching.go()
    const { misses } = await watching.result
    return { worker, misses }
  })
}

/** For a minute; `--count` says how many tasks, three events each: 400,000 are ten minutes. */
async function underLoad(bench: Bench): Promise<void> {
  const count = Math.max(leastLoad, size(bench, 40_000, leastLoad))
  const events = count * eventsPerTask
  const perSecond = eventsPerSecond / eventsPerTask
  const forMs = (count / perSecond) * 1_000
  const life = { deadlineMs: forMs + 60_000 }
  const port = await freePort()
  await onStore(bench, async (store) => {
    const watching = startChild({ role: 'monitor', side, store, params: { port, events } }, life)
    await watching.ready()
    const telling = startChild({ role: 'tellEvents', side, store, params: { count, perSecond } }, life)
    const looking = startChild({ role: 'lookAtPages', side, store, params: { port, forMs: forMs - framesForMs } }, life)
    const framing = startChild({ role: 'watchFrames', side, store, params: { port, forMs: framesForMs } }, life)
    await Promise.all([telling.ready(), looking.ready(), framing.ready()])
    telling.go()
    // One after the other: a browser draws with the processor here, and there are two.
    framing.go()
    const frames = await framing.result
    looking.go()
    await telling.result
    const { p50Ms, p99Ms } = await looking.result
    watching.go()
    const { rssMb, cpuUs, misses } = await watching.result
    record(bench, { scenario, side, variant: '2,000 events/s', count, exactness: { doubles: 0, misses } }, [
      time('answers under load: p50', p50Ms),
      time('answers under load: p99', p99Ms),
      megabytes('RSS at most, under load', rssMb),
      ...(frames === null
        ? []
        : [rate('frames of the live list', frames.perSecond), time('its longest frame', frames.longestMs)]),
      time('CPU per event', cpuUs / events, 'µs'),
    ])
  })
}

async function onStore<T>(bench: Bench, use: (store: Parameters<Parameters<typeof withStore>[2]>[0]) => Promise<T>) {
  let result: T | undefined
  await withStore(bench, side, async (store) => {
    result = await use(store)
  })
  return result as T
}
