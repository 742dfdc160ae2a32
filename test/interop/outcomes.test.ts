/** How a task ends in one language, as its caller in the other one learns it. */
import type { TaskFailedError } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

describeWith(everything, 'outcomes between Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    /** What Python's `get` raises for a task of ours. */
    const failureIn = (code: string) =>
      site.python.run<Record<string, unknown>>(`
result = ${code}
try:
    outcome = result.get(timeout=10)
except Exception as error:
    outcome = {"type": type(error).__name__, "module": type(error).__module__, "text": str(error),
               "state": result.state, "traceback": result.traceback}
outcome`)

    it('a failure in TypeScript is raised in Python, by its Python name where it has one', async () => {
      const failure = await failureIn('send("ts.fail")')

      expect(failure).toMatchObject({
        type: 'TypeError',
        module: 'builtins',
        text: 'no good: ä builtin',
        state: 'FAILURE',
      })
      expect(failure.traceback).toContain('service.ts')
    })

    it('a failure of a class of our own is raised in Python under its name', async () => {
      const failure = await failureIn('send("ts.fail", "own")')

      expect(failure).toMatchObject({ type: 'OutOfStock', text: 'no bolts left', state: 'FAILURE' })
    })

    it('a failure in Python is thrown here, with its class, message and traceback', async () => {
      const result = await site.app.remote<[], never>('py.fail').delay()

      const error = await result.get({ timeout: '25s' }).catch((reason: TaskFailedError) => reason)

      expect(error).toMatchObject({ code: 'TASK_FAILED', type: 'ValueError', message: 'no good: ä builtin' })
      expect((error as TaskFailedError).traceback).toContain('service.py')
    })

    it("a failure of Python's own class is thrown here under its name", async () => {
      const result = await site.app.remote<[string], never>('py.fail').delay('own')

      await expect(result.get({ timeout: '25s' })).rejects.toMatchObject({ type: 'Refused', message: 'order, 7' })
    })

    it('retries of either side are its own affair; the caller sees the state and then the value', async () => {
      expect(await site.python.run('send("ts.flaky", 2).get(timeout=10)')).toBe(2)

      const result = await site.app.remote<[number], number>('py.flaky').delay(2)
      const states: string[] = []
      for await (const { status } of result.watch()) if (status !== states.at(-1)) states.push(status)
      expect(states.filter((state) => state !== 'PENDING')).toEqual(['RETRY', 'SUCCESS'])
      expect(await result.get()).toBe(2)
    })

    it('a task that is retried too often fails with its last error', async () => {
      expect(await failureIn('send("ts.flaky", 9)')).toMatchObject({ state: 'FAILURE', text: 'failure 4' })

      const result = await site.app.remote<[number], number>('py.flaky').delay(9)
      await expect(result.get({ timeout: '25s' })).rejects.toMatchObject({ type: 'ValueError', message: 'failure 4' })
    })

    it('tasks that keep no result run all the same', async () => {
      await site.python.run('send("ts.silent", "from py").id')
      await site.app.remote<[string], void>('py.silent').delay('from ts')

      await until(() => site.lines().includes('silent from py') && site.lines().includes('silent from ts'))
    })

    it('a call that Python sent too late for its expiry is not run here, and REVOKED there', async () => {
      const failure = await failureIn(
        'app.send_task("ts.note", ["too late"], expires=datetime.now(timezone.utc) - timedelta(seconds=5))',
      )

      expect(failure).toMatchObject({ type: 'TaskRevokedError', state: 'REVOKED' })
      expect(site.lines()).not.toContain('too late')
    })

    it('a task that is not known here fails in Python as NotRegistered', async () => {
      const failure = await failureIn('app.send_task("ts.unknown")')

      expect(failure).toMatchObject({ type: 'NotRegistered', state: 'FAILURE' })
      const letters = await site.app.deadLetters.list()
      expect(letters.map(({ task }) => task)).toContain('ts.unknown')
    })
  })
})

describeWith(['redis-server', 'python'], 'what is stored of a task', () => {
  it('is read by either side by its id alone', async () => {
    const site = await openSite('redis')
    await site.startPythonWorker()
    await site.app.worker({ queues: ['ts'] })
    const id = await site.python.run<string>('result = send("ts.add", 1, 2); result.get(timeout=10); result.id')
    const called = await site.app.remote<[number, number], number>('py.add').delay(3, 4)

    expect(await site.app.result(id).get({ timeout: '25s' })).toBe(3)
    expect(await site.python.run('AsyncResult(given).get(timeout=10)', { given: called.id })).toBe(7)
  })
})
