/** Debian's Celery workers by themselves: of ours, nothing runs but the monitor. */
import { beforeAll, describe, expect, it } from 'vitest'
import { everything, openSite, type Site, transports, until } from '../interop/site.ts'
import { describeWith, type PythonWorker } from '../servers/index.ts'
import { monitoring } from './fixture.ts'

describeWith(everything, 'a fleet of Python alone', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    let worker: PythonWorker

    beforeAll(async () => {
      site = await openSite(transport)
      worker = await site.startPythonWorker({ concurrency: 2 })
    }, 60_000)

    const watch = () => monitoring(site.url, { app: site.newApp(), inspectTimeoutMs: 1_000, inspectEveryMs: 500 })

    it('shows its tasks, workers and queues, and runs a task again with its true arguments', async () => {
      const { get, post } = await watch()
      // Asked by the monitor, its worker sends events from here on.
      await until(async () => (await get('/workers'))[0]?.queues.includes('python'), 30_000)
      const given = { text: "it's ä", deep: [1, 2.5, null, true], none: {} }
      const id = await site.python.run<string>("send('py.echo', 1, given, key='v').id", { given })
      const failedId = await site.python.run<string>("send('py.fail').id")
      await until(async () => (await get(`/tasks?id=${id}&state=SUCCESS`)).tasks.length === 1, 30_000)
      await until(async () => (await get(`/tasks?id=${failedId}&state=FAILURE`)).tasks.length === 1, 30_000)

      const again = await post(`/tasks/${id}/retry`, {})
      await until(async () => (await get(`/tasks?id=${again.id}&state=SUCCESS`)).tasks.length === 1, 30_000)

      const first = await get(`/tasks/${id}`)
      expect(first).toMatchObject({ name: 'py.echo', worker: worker.name })
      expect(await get(`/tasks/${again.id}`)).toMatchObject({
        result: first.result,
        kwargs: first.kwargs,
      })
      expect(await get(`/tasks/${failedId}`)).toMatchObject({
        error: expect.stringMatching(/^ValueError/),
        traceback: expect.stringContaining('service.py'),
      })
      expect(await get(`/tasks/${again.id}`)).toMatchObject({ queue: 'python' })
      expect(await get('/queues')).toEqual(expect.arrayContaining([expect.objectContaining({ name: 'python' })]))
      expect((await get('/series?task=py.echo')).points[0]).toMatchObject({ succeeded: 2 })
    }, 60_000)

    it('tells its worker what to do', async () => {
      const { get, post } = await watch()
      const path = `/workers/${encodeURIComponent(worker.name)}`
      const known = async () => (await get('/workers')).find(({ name }: { name: string }) => name === worker.name)
      await until(async () => (await known())?.concurrency === 2, 30_000)

      expect(await get(path)).toMatchObject({
        queues: ['python'],
        registered: expect.arrayContaining([expect.stringMatching(/^py\.echo/)]),
      })
      expect(await post(`${path}/grow`, {})).toMatchObject({ done: true })
      await until(async () => (await known()).concurrency === 3, 30_000)
      expect(await post(`${path}/shrink`, {})).toMatchObject({ done: true })
      await until(async () => (await known()).concurrency === 2, 30_000)
      expect(await post(`${path}/add-consumer`, { queue: 'more' })).toMatchObject({ done: true })
      await until(async () => (await known()).queues.includes('more'), 30_000)
      expect(await post(`${path}/cancel-consumer`, { queue: 'more' })).toMatchObject({ done: true })
      expect(await post(`${path}/rate-limit`, { task: 'py.echo', rate: '50/s' })).toMatchObject({ done: true })
      expect(await post(`${path}/time-limit`, { task: 'py.echo', soft: 30, hard: 60 })).toMatchObject({ done: true })
      expect(await post(`${path}/rate-limit`, { task: 'py.none', rate: '1/s' })).toMatchObject({ done: false })

      await post(`${path}/shutdown`)
      await until(() => worker.hasEnded, 30_000)
    }, 90_000)
  })
})
