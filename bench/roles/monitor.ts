/** A monitor, those it watches, and those who look at its pages. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { processCpuMs } from '../../src/bench/process-cpu.ts'
import { chromium } from '../../test/servers/on-path.ts'
import { nativeImport } from '../harness/native-import.ts'
import { max, quantile } from '../harness/stats.ts'
import { type Exactness, Tally } from '../harness/tally.ts'
import { nowMs, pause, until } from '../harness/time.ts'
import { ownCpuUs, type Store } from '../sides/side.ts'
import { loadApp } from './pools.ts'
import type { Environment } from './role.ts'

const bin = fileURLToPath(new URL('../../bin/celeriac.js', import.meta.url))
const built = (file: string): string => new URL(`../../dist/${file}`, import.meta.url).href

export interface WatchedResult {
  readonly perSecond: number
  readonly cpuUsPerTask: number
  readonly exactness: Exactness
}

/** Drains tasks that use the processor, on the worker's own event loop: what else it does is time that they lack. */
export async function drainWatched(
  { store }: Environment,
  { count, tellsEvents }: { count: number; tellsEvents: boolean },
): Promise<WatchedResult> {
  const { app } = await loadApp(store)
  await app.open()
  const tally = new Tally(count)
  let startMs = 0
  let cpuUsAtStart = 0
  const worker = await app.worker({ queues: ['bench'], concurrency: 10, taskEvents: tellsEvents })
  await new Promise<void>((resolve) => {
    worker.observe({
      onStarted() {
        if (startMs !== 0) return
        startMs = nowMs()
        cpuUsAtStart = ownCpuUs()
      },
      onEnded(_delivery, _message, _attempt, outcome) {
        if (outcome.kind === 'success') tally.add(outcome.value as number)
        if (tally.distinct === count) resolve()
      },
    })
  })
  const seconds = (nowMs() - startMs) / 1_000
  const cpuUs = ownCpuUs() - cpuUsAtStart
  await worker.stop()
  await app.close()
  return { perSecond: count / seconds, cpuUsPerTask: cpuUs / count, exactness: tally.exactness() }
}

export interface MonitorResult {
  /** The most it had at any time. */
  readonly rssMb: number
  readonly cpuUs: number
  /** Events that were told and not taken in. */
  readonly misses: number
}

/** `celeriac monitor` as users start it, until it is told to go and has taken in so many events, or hears no more. */
export async function monitor(
  { store, parent }: Environment,
  { port, events }: { port: number; events: number },
): Promise<MonitorResult> {
  const command = ['monitor', '-b', store.url, '--db', `${store.directory}/monitor.db`, '--port', String(port)]
  const program = spawn(process.execPath, [bin, ...command], { stdio: 'ignore' })
  const pid = program.pid as number
  try {
    const isUp = async () => (await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined))?.ok === true
    await until(isUp, 50, 20_000)
    await parent.ready()
    const taken = async (): Promise<number> => {
      const response = await fetch(`http://127.0.0.1:${port}/api/v1/overview`)
      return ((await response.json()) as { events: { taken: number } }).events.taken
    }
    await until(async () => (await taken()) >= events, 100, 10_000).catch(() => {}) // what is missing shows below
    const misses = events - (await taken())
    return { rssMb: peakRssMb(pid), cpuUs: (processCpuMs(pid) ?? Number.NaN) * 1_000, misses }
  } finally {
    program.kill()
    await once(program, 'exit')
  }
}

/** The most a process ever had, from Linux's /proc (man 5 proc_pid_status). */
function peakRssMb(pid: number): number {
  const [, kb] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kb) / 1_024
}

/** Events of workers that run tasks at a steady pace; three of each task, as Celery's workers send them. */
export async function tellEvents(
  { store, parent }: Environment,
  { count, perSecond }: { count: number; perSecond: number },
): Promise<null> {
  const app = await appOf(store)
  const { EventDispatcher } = (await nativeImport(
    built('events/dispatcher.js'),
  )) as typeof import('../../src/events/dispatcher.ts')
  const { LamportClock } = (await nativeImport(
    built('events/lamport-clock.js'),
  )) as typeof import('../../src/events/lamport-clock.ts')
  const { systemClock: clock } = (await nativeImport(built('clock.js'))) as typeof import('../../src/clock.ts')
  const [bus, logger] = [await app.bus(), app.config.logger]
  const workers = Array.from({ length: 10 }, (_, index) => {
    return new EventDispatcher({ bus, clock, lamport: new LamportClock(), logger, hostname: `w${index}@bench` }, true)
  })
  await parent.ready()
  const startMs = nowMs()
  for (let told = 0; told < count; ) {
    const due = Math.min(count, Math.floor(((nowMs() - startMs) / 1_000) * perSecond))
    for (; told < due; told++) {
      const worker = workers[told % workers.length] as (typeof workers)[number]
      const uuid = `bench-${told}`
      const runtime = 0.01
      worker.sendTask('task-received', {
        ...received,
        uuid,
        name: `bench.task${told % 20}`,
        args: `(${told}, 'order')`,
      })
      worker.sendTask('task-started', { uuid })
      worker.sendTask('task-succeeded', { uuid, result: `'done with ${told}'`, runtime })
    }
    await pause(10)
  }
  // What was sent last is still on its way.
  await pause(500)
  await app.close()
  return null
}

const received = {
  ...{ kwargs: '{}', root_id: null, parent_id: null, retries: 0, eta: null, expires: null },
  ...{ queue: 'bench', ready_at: null },
}

export interface AnswerTimes {
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

/** What the pages ask for, one after the other, ten a second. */
export async function lookAtPages(
  { parent }: Environment,
  { port, forMs }: { port: number; forMs: number },
): Promise<AnswerTimes> {
  const paths = ['overview', 'tasks?limit=50', 'tasks?state=SUCCESS&name=bench.task3', 'workers', 'queues', 'pipelines']
  const tookMs: number[] = []
  await parent.ready()
  const endMs = nowMs() + forMs
  for (let turn = 0; nowMs() < endMs; turn++) {
    const startMs = nowMs()
    const response = await fetch(`http://127.0.0.1:${port}/api/v1/${paths[turn % paths.length]}`)
    await response.arrayBuffer()
    if (!response.ok) throw new Error(`${response.url} answered ${response.status}`)
    tookMs.push(nowMs() - startMs)
    await pause(100)
  }
  return { p50Ms: quantile(tookMs, 0.5), p99Ms: quantile(tookMs, 0.99), maxMs: max(tookMs) }
}

/** Frames a second that a browser draws of the live list of tasks; null where there is no Chromium. */
export async function watchFrames(
  { parent }: Environment,
  { port, forMs }: { port: number; forMs: number },
): Promise<{ readonly perSecond: number; readonly longestMs: number } | null> {
  const executablePath = chromium()
  if (executablePath === undefined) {
    await parent.ready()
    return null
  }
  const { chromium: launcher } = (await nativeImport('playwright-core')) as typeof import('playwright-core')
  const browser = await launcher.launch({ executablePath, args: ['--no-sandbox'] })
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } })
  await page.goto(`http://127.0.0.1:${port}/tasks`)
  await parent.ready()
  await page.locator('tbody tr').nth(10).waitFor()
  const frames = await page.evaluate((ms) => {
    const { requestAnimationFrame } = globalThis as unknown as {
      requestAnimationFrame(next: (at: number) => void): void
    }
    return new Promise<number[]>((resolve) => {
      const at: number[] = []
      const next = (nowMs: number): void => {
        at.push(nowMs)
        if (nowMs - (at[0] as number) < ms) requestAnimationFrame(next)
        else resolve(at)
      }
      requestAnimationFrame(next)
    })
  }, forMs)
  await browser.close()
  const spans = frames.slice(1).map((at, index) => at - (frames[index] as number))
  return { perSecond: (spans.length / spans.reduce((sum, ms) => sum + ms)) * 1_000, longestMs: max(spans) }
}

async function appOf(store: Store) {
  const { Celeriac } = (await nativeImport(built('index.js'))) as typeof import('../../src/index.ts')
  const app = new Celeriac('bench', { broker: store.url, results: false, durability: store.durability })
  await app.open()
  return app
}
