/** Workers of both languages on one queue. */
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

describeWith(everything, 'a mixed fleet', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
    })

    it('shares one queue: each task is run once, some here and some there', { timeout: 60_000 }, async () => {
      const numbers = Array.from({ length: 400 }, (_, n) => n)
      const python = await site.startPythonWorker({
        queues: ['both'],
        concurrency: 2,
      })
      await site.app.worker({ queues: ['both'], concurrency: 2 })

      await site.python.run('for n in range(0, 400, 2): send("both.count", n)')
      await site.tasks.count.delayMany(numbers.filter((n) => n % 2 === 1).map((n): [number] => [n]))
      await until(() => site.lines().length >= numbers.length, 40_000)
      await python.stop()

      const runs = site.lines().map((line) => line.split(' ') as ['py' | 'ts', string])
      expect(runs.map(([, n]) => Number(n)).sort((a, b) => a - b)).toEqual(numbers)
      expect(new Set(runs.map(([language]) => language))).toEqual(new Set(['py', 'ts']))
    })
  })
})
