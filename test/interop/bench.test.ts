/** A load test through a mixed fleet: Python's workers tell what ours do. */
import { chain } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { bench } from '../../src/bench/bench.ts'
import { inputsFromValues } from '../../src/bench/inputs.ts'
import { systemClock } from '../../src/clock.ts'
import type { ResultStore } from '../../src/result/result-store.ts'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports } from './site.ts'

describeWith(everything, 'a load test of Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    it('measures the stages of both with their slots, also one that flows pass twice', async () => {
      const { app, tasks } = site
      const pyAdd = app.remote<[number, number], number>('py.add')
      const names = Object.keys(await app.control.ping())

      const report = await bench(
        {
          broker: app.broker,
          bus: await app.bus(),
          results: app.results as ResultStore,
          control: app.control,
          registry: app.registry,
          queueOf: (task) => app.queueOf(task),
          clock: systemClock,
        },
        {
          flow: { name: 'sum', build: async () => chain(tasks.add.s(1, 2), pyAdd.s(3), tasks.add.s(4)) },
          steps: [
            { task: 'ts.add', queue: 'ts' },
            { task: 'py.add', queue: 'python' },
          ],
          workers: names,
          inputs: inputsFromValues(['1']),
          arrivals: { kind: 'drain', count: 30 },
          graceMs: 10_000,
          stop: new AbortController().signal,
          giveUp: new AbortController().signal,
        },
      )

      expect(report.flows).toMatchObject({ sent: 30, completed: 30, unfinished: 0, lost: 0 })
      expect(report.stages).toMatchObject([
        { task: 'ts.add', calls: 60, slots: 100, run: { count: 60 } },
        { task: 'py.add', calls: 30, slots: 1, run: { count: 30 } },
      ])
      // A busy worker of Python says late that a task has ended: since when the next one waited is not known then.
      for (const { wait } of report.stages) expect(wait.count).toBeGreaterThanOrEqual(15)
      expect(report.measured).toBe(1)
    })
  })
})
