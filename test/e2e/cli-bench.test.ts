/** `celeriac bench` as people run it, on SQLite, with workers of its own. */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { BenchReport } from '../../src/bench/report.ts'
import { Workshop } from '../cli/workshop.ts'

const shopApp = `
import { setTimeout as sleep } from 'node:timers/promises'
import { Celeriac, chain } from 'celeriac'

export const app = new Celeriac('shop', { broker: 'sqlite://tasks.db', results: true })

const pick = app.task('pick', { queue: 'picking' }, async (order) => { await sleep(2); return order })
const pack = app.task('pack', { queue: 'packing' }, async (order) => { await sleep(40); return order })
export const fulfil = (order) => chain(pick.s(order), pack.s())
export const quiet = app.task('quiet', { ignoreResult: true }, () => undefined)
`

let shop: Workshop
const onFulfil = ['bench', '-A', 'app.ts', '--flow', 'fulfil', '--yes'] as const
const ownWorkers = ['--workers', 'picking=1x4,packing=1x2'] as const

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': shopApp }).install()
  writeFileSync(join(shop.folder, 'orders.jsonl'), '{"id":"A"}\n{"id":"B"}\n')
})

afterEach(() => shop.close())

describe('celeriac bench', () => {
  it('names the slow stage, and says what more slots would bring', async () => {
    const report = await shop.json<BenchReport>(
      ...[...onFulfil, ...ownWorkers, '--input', 'orders.jsonl', '--drain', '100'],
    )

    expect(report.flows).toMatchObject({ sent: 100, completed: 100, unfinished: 0, lost: 0 })
    expect(report.bottleneck).toMatchObject({ kind: 'slots', tasks: ['pack'], slots: 2 })
    expect(report.measured).toBe(1)
    expect(report.advice[0]).toMatchObject({ kind: 'slots', task: 'pack', from: 2 })
    expect(report.stages.map(({ task, slots }) => [task, slots])).toEqual([
      ['pick', 4],
      ['pack', 2],
    ])
    expect(report.workers.every(({ cpuMs }) => cpuMs !== null && cpuMs > 0)).toBe(true)
    expect(report.perSecond).toBeLessThanOrEqual(51)
  })

  it('reports what it has when it is interrupted, once what is under way has ended', async () => {
    const bench = shop.start(...onFulfil, ...ownWorkers, '--value', '{"id":"A"}', '--rate', '20/s', '--for', '10m')
    await bench.says(/workers +1 worker of picking with 4 slots, 1 worker of packing with 2 slots/)
    const stats = async () => (await shop.run('inspect', 'stats', '-A', 'app.ts', '--json')).stdout
    await expect.poll(stats, { timeout: 25_000 }).toMatch(/"pack":\d/) // It has run some.

    bench.process.kill('SIGINT')

    expect(await bench.ended).toBe(0)
    expect(bench.said()).toMatch(/sending no more/)
    expect(bench.said()).toMatch(/fulfil: 20\/s for 10 min, stopped before its end; through in/)
    expect(bench.said()).toMatch(/^STAGE +CALLS +RETRIED +FAILED +BUSY SLOTS +CPU +QUEUED$/m)
    expect(bench.said()).toMatch(/(First would be|Bottleneck:) .*a flow takes \d+ ms/)
  })

  it('sends nothing where others have messages in the queues, or nobody serves them', async () => {
    await shop.run('call', 'pick', '-A', 'app.ts', '--args', '[{}]')

    const busy = await shop.run(...onFulfil, ...ownWorkers, '--drain', '5')
    const unserved = await shop.run(...onFulfil, '--drain', '5', '--on-top')

    expect(busy).toMatchObject({ code: 2, stdout: '' })
    expect(busy.stderr).toMatch(/the queue 'picking' is in use \(1 ready, 0 delayed, 0 running\).*--on-top/)
    expect(unserved.code).toBe(2)
    expect(unserved.stderr).toMatch(/no worker serves the queue 'picking'; start one, or say --workers picking=1/)
  })

  it('says what is wrong with its flags before it connects', async () => {
    const said = async (...args: string[]) => (await shop.run('bench', '-A', 'app.ts', ...args)).stderr

    expect(await said('--flow', 'fulfil')).toMatch(/Give one of --rate 50\/s, --ramp 10\/s\.\.200\/s and --drain 1000/)
    expect(await said('--flow', 'fulfill', '--drain', '5')).toMatch(/did you mean 'fulfil'\?/)
    expect(await said('--flow', 'quiet', '--drain', '5')).toMatch(/'quiet', has `ignoreResult`.*nothing was sent/)
    expect(await said('--flow', 'fulfil', '--drain', '5', '--workers', 'picking')).toMatch(/QUEUE=WORKERS/)
  })
})
