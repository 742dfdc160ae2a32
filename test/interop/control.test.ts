/** The tools of Celery on our workers: `inspect`, `control`, `status`, `events`, as a Python operator runs them. */
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Worker } from '../../src/work/worker.ts'
import { buildPackage, type Program, start } from '../e2e/processes.ts'
import { describeWith } from '../servers/index.ts'
import { pythonWithCelery } from '../servers/python.ts'
import { pythonFolder, startReceiver } from './python-client.ts'
import { everything, openSite, type Site, transports } from './site.ts'

/** A worker in a process of its own, whose task `block` does not let its event loop go. */
const startFixture = (url: string): Program => start('blocked-worker.mjs', [url])

describeWith(everything, "Celery's tools on our workers", () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    let worker: Worker
    const node = 'ts1@here'

    beforeAll(async () => {
      await buildPackage()
      site = await openSite(transport)
      worker = await site.app.worker({ queues: ['ts', 'both'], name: node, concurrency: 4 })
    })

    const inspect = <T>(method: string, args = ''): Promise<T> =>
      site.python
        .run<Record<string, T>>(`app.control.inspect(timeout=5, limit=1).${method}(${args})`)
        .then((replies) => {
          expect(Object.keys(replies)).toEqual([node])
          return replies[node] as T
        })
    /** What the one worker said to a control command. */
    const control = (call: string): Promise<unknown> =>
      site.python
        .run<Record<string, unknown>[]>(
          `app.control.${call.slice(0, -1)}${call.endsWith('()') ? '' : ', '}reply=True, timeout=5, limit=1)`,
        )
        .then(([reply]) => reply?.[node])
    const broadcast = (method: string, args = '{}'): Promise<unknown> =>
      control(`broadcast('${method}', arguments=${args})`)
    /** The command line, as an operator runs it. */
    const celery = async (...args: string[]): Promise<string> => {
      const python = pythonWithCelery() as string
      const { stdout } = await promisify(execFile)(python, ['-m', 'celery', '-A', 'service', ...args], {
        cwd: pythonFolder,
        env: { ...process.env, ...site.env, PYTHONDONTWRITEBYTECODE: '1', NO_COLOR: '1' },
      })
      return stdout
    }

    it('are answered by `celery status` and `celery inspect ping`, in words', async () => {
      expect(await celery('status', '--timeout', '5')).toMatch(/ts1@here: .*OK[\s\S]*1 node online\./)
      expect(await celery('inspect', 'ping', '-d', node, '--timeout', '5')).toMatch(/ts1@here: .*OK\s+pong/)
    })

    it.each([
      'active',
      'reserved',
      'scheduled',
      'revoked',
      'registered',
      'active_queues',
      'stats',
      'conf',
      'report',
      'clock',
      'memsample',
    ])('prints `celery inspect %s` as it does for Python workers', async (method) => {
      expect(await celery('inspect', method, '-d', node, '--timeout', '5')).toMatch(/ts1@here: .*OK/)
    })

    it('tells what it consumes and what it can run', async () => {
      expect(await inspect('active_queues')).toMatchObject([
        { name: 'ts', routing_key: 'ts', durable: true },
        { name: 'both' },
      ])
      expect(await inspect('registered')).toContain('ts.add')
      expect(await inspect('registered', '"max_retries"')).toContain('ts.add [max_retries=3]')
      expect(await inspect('clock')).toEqual({ clock: expect.any(Number) })
      expect(await inspect('conf')).toMatchObject({ task_default_queue: expect.any(String) })
    })

    it('shows what runs and what waits, and finds a task by its id', async () => {
      const gate = site.gate()
      const result = await site.tasks.hold.delay(gate.path)
      await expect.poll(() => worker.active().length).toBe(1)

      expect(await inspect('active')).toMatchObject([
        {
          id: result.id,
          name: 'both.hold',
          args: [gate.path],
          kwargs: {},
          hostname: node,
          time_start: expect.any(Number),
          acknowledged: false,
          delivery_info: { routing_key: 'both', redelivered: false },
          worker_pid: process.pid,
        },
      ])
      expect(await inspect('active', 'safe=True')).toMatchObject([{ args: expect.stringMatching(/^\('.*',\)$/) }])
      expect(await inspect('query_task', `'${result.id}'`)).toMatchObject({
        [result.id]: ['active', { id: result.id }],
      })
      gate.open()
      await result.get({ timeout: '25s' })
      expect(await inspect<{ total: object }>('stats')).toMatchObject({
        total: { 'both.hold': expect.any(Number) },
        pid: process.pid,
        pool: { 'max-concurrency': 4, processes: [process.pid] },
        broker: { transport },
      })
    })

    it('revokes what waits, so that it never starts, on later workers neither', async () => {
      await worker.cancelQueue('ts')
      const result = await site.tasks.echo.delay('never')
      expect(await control(`revoke('${result.id}')`)).toEqual({ ok: `tasks {'${result.id}'} flagged as revoked` })
      expect(await inspect('revoked')).toContain(result.id)
      await expect.poll(async () => (await site.app.broker.peek('celeriac.revoked', 100)).length).toBe(1)

      const later = await site.newApp().worker({ queues: ['ts'], name: 'later@here', remoteControl: true })

      await expect.poll(() => result.state(), { timeout: 25_000 }).toBe('REVOKED')
      expect(later.health().processed).toBe(0)
      await later.stop()
      await worker.addQueue('ts')
    })

    it('terminates what runs, and says so when it is not here', async () => {
      const result = await site.tasks.hold.delay(site.gate().path)
      await expect.poll(() => worker.active().length).toBe(1)

      expect(await control(`revoke('${result.id}', terminate=True)`)).toEqual({ ok: `terminate: ${result.id}` })
      expect(await control(`terminate('nobody')`)).toEqual({ ok: 'terminate: tasks unknown' })

      await expect.poll(() => result.state(), { timeout: 25_000 }).toBe('REVOKED')
      if (transport === 'redis') {
        // On RabbitMQ results travel to the caller alone.
        const type = await site.python.run('type(app.AsyncResult(id).result).__name__', { id: result.id })
        expect(type).toBe('TaskRevokedError')
      }
    })

    it('revokes by stamps', async () => {
      expect(
        await broadcast('revoke_by_stamped_headers', `{'headers': {'tenant': ['acme']}, 'terminate': False}`),
      ).toEqual({
        ok: "headers {'tenant': ['acme']} flagged as revoked, but not terminated",
      })

      const stamped = await site.tasks.echo.applyAsync(['x'], { headers: { tenant: 'acme' } })
      const other = await site.tasks.echo.applyAsync(['y'], { headers: { tenant: 'other' } })

      expect(await other.get({ timeout: '25s' })).toEqual(['y'])
      await expect.poll(() => stamped.state(), { timeout: 25_000 }).toBe('REVOKED')
    })

    it('takes new limits, sizes and queues', async () => {
      expect(await control(`rate_limit('ts.add', '10/m')`)).toEqual({ ok: 'new rate limit set successfully' })
      expect(await control(`rate_limit('ts.add', 0)`)).toEqual({ ok: 'rate limit disabled successfully' })
      expect(await broadcast('rate_limit', `{'task_name': 'ts.add', 'rate_limit': 'abc'}`)).toEqual({
        error: expect.stringContaining('Invalid rate limit string'),
      })
      expect(await control(`rate_limit('nosuch', '1/s')`)).toEqual({ error: 'unknown task' })
      expect(await control(`time_limit('ts.add', soft=1.5, hard=3)`)).toEqual({ ok: 'time limits set successfully' })
      expect(await control('pool_grow(2)')).toEqual({ ok: 'pool will grow' })
      expect(worker.pools[0]?.size).toBe(6)
      expect(await control('pool_shrink(2)')).toEqual({ ok: 'pool will shrink' })
      expect(await control('pool_shrink(10)')).toEqual({
        error: `ValueError("Can't shrink pool. All processes busy!")`,
      })
      expect(await control('autoscale(3, 1)')).toEqual({ error: "ValueError('Autoscale not enabled')" })
      expect(await control(`add_consumer('more')`)).toEqual({ ok: 'add consumer more' })
      expect(worker.queues).toContain('more')
      expect(await control(`cancel_consumer('more')`)).toEqual({ ok: 'no longer consuming from more' })
      expect(worker.queues).not.toContain('more')
    })

    it('refuses what it does not know or cannot read, and goes on answering', async () => {
      expect(await broadcast('nosuchcmd')).toEqual({ error: "KeyError('nosuchcmd')" })
      expect(await broadcast('revoke', `{'task_id': 7}`)).toEqual({ error: expect.stringContaining('TypeError') })
      expect(await broadcast('query_task', '{}')).toEqual({ error: expect.stringContaining('TypeError') })
      expect(await inspect('ping')).toEqual({ ok: 'pong' })
    })

    it('sends events once they are wanted: of tasks, and of itself', async () => {
      await site.python.run(startReceiver)
      expect(await control('enable_events()')).toEqual({ ok: 'task events enabled' })
      expect(await control('enable_events()')).toEqual({ ok: 'task events already enabled' })
      const heard = <T>(code: string): Promise<T> => site.python.run<T>(code)
      await expect
        .poll(() => heard('any(e["type"] == "worker-heartbeat" and e["hostname"] == "ts1@here" for e in heard)'), {
          timeout: 25_000,
        })
        .toBe(true)

      const good = await site.tasks.add.delay(1, 2)
      const bad = await site.tasks.fail.delay('on purpose')
      await good.get({ timeout: '25s' })
      await bad.get({ timeout: '25s' }).catch(() => undefined)

      const typesOf = (id: string) => heard<string[]>(`[e["type"] for e in heard if e.get("uuid") == "${id}"]`)
      await expect
        .poll(() => typesOf(good.id), { timeout: 25_000 })
        .toEqual(['task-received', 'task-started', 'task-succeeded'])
      await expect
        .poll(() => typesOf(bad.id), { timeout: 25_000 })
        .toEqual(['task-received', 'task-started', 'task-failed'])
      const [received, , succeeded] = await heard<Record<string, unknown>[]>(
        `[{k: v for k, v in e.items() if k != "local_received"} for e in heard if e.get("uuid") == "${good.id}"]`,
      )
      expect(received).toMatchObject({ name: 'ts.add', args: '(1, 2)', kwargs: '{}', retries: 0, hostname: node })
      expect(succeeded).toMatchObject({ result: '3', runtime: expect.any(Number), clock: expect.any(Number) })
      // What keeps state of a fleet, as Flower and `celery events` do, can follow.
      expect(
        await heard(
          `(lambda s: ([s.event(dict(e)) for e in heard], s.tasks["${good.id}"].state, s.workers["ts1@here"].alive))(app.events.State())[1:]`,
        ),
      ).toEqual(['SUCCESS', true])
      expect(await control('disable_events()')).toEqual({ ok: 'task events disabled' })
    })

    it('is pinged while a task holds up its event loop', async () => {
      const program = startFixture(site.url)
      onTestFinished(() => void program.kill('SIGKILL'))
      await expect.poll(() => program.said, { timeout: 25_000 }).toContain('answering')
      const block = site.newApp().remote<[number], void>('block', { queue: 'blocked' })

      await block.delay(4_000)
      await expect.poll(() => program.said, { timeout: 25_000 }).toContain('blocking')
      const replies = await site.python.run(`app.control.inspect(destination=['held@here'], timeout=3).ping()`)

      expect(replies).toEqual({ 'held@here': { ok: 'pong' } })
      expect(program.said).not.toContain('blocked no more')
    })

    it('shuts down when told to', async () => {
      const other = await site.newApp().worker({ queues: ['elsewhere'], name: 'other@here' })

      await site.python.run(`app.control.shutdown(destination=['other@here'])`)

      await expect.poll(() => other.stopping.aborted, { timeout: 25_000 }).toBe(true)
      expect(worker.stopping.aborted).toBe(false)
    })
  })
})
