/** Calls that are to run later. What Python sends with an ETA is kept back by the broker here, and not by a worker. */
import { isDeepStrictEqual } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

describeWith(everything, 'delays between Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    const waiting = () => site.waiting('ts')

    it.each([
      ['a countdown', 'countdown=0.5'],
      ['an ETA in UTC', 'eta=datetime.now(timezone.utc) + timedelta(seconds=0.5)'],
      ['an ETA of another zone', 'eta=datetime.now(timezone(timedelta(hours=5.5))) + timedelta(seconds=0.5)'],
      ['an ETA without a zone, which is UTC', 'eta=datetime.utcnow() + timedelta(seconds=0.5)'],
    ])('%s from Python is run here when it is due, and not before', async (_title, option) => {
      const due = Date.now() / 1_000 + 0.5

      const ranAt = await site.python.run<number>(`app.send_task("ts.clock", ${option}).get(timeout=10)`)

      expect(ranAt - due).toBeGreaterThan(-0.002)
    })

    it('an ETA from TypeScript is run by Python when it is due, and not before', async () => {
      // Celery 5.2 reads a fraction of three digits as microseconds; this one would be a second too early then.
      const due = Math.ceil((Date.now() + 500) / 1_000) * 1_000 + 999
      const result = await site.app.remote<[], number>('py.clock').applyAsync([], { eta: new Date(due) })

      const ranAt = await result.get({ timeout: '25s' })

      expect(ranAt * 1_000 - due).toBeGreaterThan(-2)
    })

    it('two thousand calls for tomorrow are kept by the broker and by no worker', { timeout: 60_000 }, async () => {
      await site.python.run('for n in range(2000): app.send_task("ts.note", [str(n)], countdown=86400)')

      // All at once: none is in between, with a consumer.
      await until(async () => isDeepStrictEqual(await waiting(), { ready: 0, delayed: 2_000 }), 30_000)
      expect(await site.python.run('send("ts.add", 1, 2).get(timeout=10)')).toBe(3)
    })
  })
})
