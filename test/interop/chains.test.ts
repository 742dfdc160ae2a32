/** Pipelines whose steps are of both languages. Whoever ends a step sends the next one. */
import { chain } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

describeWith(everything, 'pipelines of Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    it('that Python sends go back and forth', async () => {
      const total = await site.python.run(
        'chain(s("py.add", 1, 2), s("ts.add", 3), s("py.add", 4), s("ts.add", 5)).apply_async().get(timeout=10)',
      )

      expect(total).toBe(15)
    })

    it('that TypeScript sends go back and forth', async () => {
      const { add } = site.tasks
      const pyAdd = site.app.remote<[number, number], number>('py.add')

      const result = await chain(add.s(1, 2), pyAdd.s(3), add.s(4), pyAdd.s(5)).delay()

      expect(await result.get({ timeout: '25s' })).toBe(15)
    })

    it('keep the ids of the first step and of the step before', async () => {
      const request = await site.python.run<Record<string, unknown>>(`
first = s("py.add", 1, 2)
first.set(task_id="the-root")
middle = s("ts.add", 3)
middle.set(task_id="the-parent")
chain(first, middle, app.signature("py.request", immutable=True)).apply_async().get(timeout=10)`)

      expect(request).toMatchObject({ root_id: 'the-root', parent_id: 'the-parent' })
    })

    it('that are a group of both, or end in one, give all their values', async () => {
      const [together, after] = await site.python.run<unknown[]>(`
members = [s("ts.add", 1), s("py.add", 2)]
together = group(s("ts.add", 1, 2), s("py.add", 3, 4)).apply_async()
after = chain(s("ts.add", 1, 2), group(members)).apply_async()
[together.get(timeout=10), after.get(timeout=10)]`)

      expect(together).toEqual([3, 7])
      expect(after).toEqual([4, 5])
    })

    it('that have a chain within, or as a callback, run it to its end', async () => {
      const total = await site.python.run(`
app.send_task("ts.add", [1, 2], link=chain(s("ts.add", 10), s("py.note")))
chain(s("py.add", 1, 2), chain(s("ts.add", 3), s("ts.add", 4))).apply_async().get(timeout=10)`)

      expect(total).toBe(10)
      await until(() => site.lines().includes('13'))
    })

    it('end where a step fails, and tell whoever waits for the end', async () => {
      const failed = await site.python.run<Record<string, unknown>>(`
end = chain(s("py.add", 1, 2), app.signature("ts.fail", immutable=True),
            app.signature("py.note", args=["never"], immutable=True)).apply_async()
try:
    end.parent.get(timeout=10)
except Exception as error:
    outcome = {"type": type(error).__name__}
outcome`)

      expect(failed).toEqual({ type: 'TypeError' })
      expect(site.lines()).not.toContain('never')
    })

    it('call back what Python linked to a TypeScript task, in either language', async () => {
      await site.python.run(`
app.send_task("ts.echo", ["linked"], link=[app.signature("py.note", args=["py called back"], immutable=True),
                                           app.signature("ts.note", args=["ts called back"], immutable=True)])`)

      await until(() => ['py called back', 'ts called back'].every((line) => site.lines().includes(line)))
    })

    it('call back what Python linked to the failure of a TypeScript task, with its id', async () => {
      const id = await site.python.run<string>('app.send_task("ts.fail", link_error=[s("py.note"), s("ts.note")]).id')

      await until(() => site.lines().filter((line) => line === id).length === 2)
    })
  })
})
