/** What one language sends, the other receives: every kind of value, and what is said about a call beside its arguments. */
import { chain } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports } from './site.ts'

const values = {
  'text, with every kind of letter': ['plain', 'äöü ß', 'Привет', '日本語', '🥕', '"\\\n\u0000'],
  numbers: [0, -1, 1.5, 1e21, 2 ** 53 - 1, 0.1 + 0.2],
  'true, false and null': [true, false, null],
  'nested data': [{ order: { items: [{ sku: 'a', count: 2 }, []], note: null } }, [[[1]]]],
  nothing: [],
  'half a megabyte': ['x'.repeat(500_000)],
} satisfies Record<string, unknown[]>

/** What Python before 5.3 makes of a date: the object that stands for it. */
const asDict = "{'__type__': 'datetime', '__value__': '2026-11-22T16:20:31.678+00:00'}"

describeWith(everything, 'calls between Python and TypeScript', () => {
  describe.each(transports)('on %s', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport)
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    it.each(Object.entries(values))('carry %s from Python to TypeScript and back', async (_title, args) => {
      expect(await site.python.run('send("ts.echo", *given).get(timeout=10)', { given: args })).toEqual(args)
    })

    it.each(Object.entries(values))('carry %s from TypeScript to Python and back', async (_title, args) => {
      const result = await site.app.remote<unknown[], unknown>('py.echo').delay(...args)

      expect(await result.get({ timeout: '25s' })).toEqual({ args, kwargs: {} })
    })

    it('give a TypeScript task the keyword arguments of Python as its last parameter', async () => {
      const echoed = await site.python.run('send("ts.echo", 1, color="rot", size=None).get(timeout=10)')

      expect(echoed).toEqual([1, { color: 'rot', size: null }])
    })

    it('give a Python task keyword arguments, also as a later step of a chain', async () => {
      const echo = site.app.remote<[number], { args: unknown[]; kwargs: object }>('py.echo')
      const kwargs = { color: 'rot', size: null }

      const called = await echo.applyAsync([1], { kwargs })
      const chained = await chain(site.tasks.add.s(1, 2), echo.s().set({ kwargs })).delay()

      expect(await called.get({ timeout: '25s' })).toEqual({ args: [1], kwargs })
      expect(await chained.get({ timeout: '25s' })).toEqual({ args: [3], kwargs })
    })

    it('carry whole numbers of any length, which are bigint here', async () => {
      const types = await site.python.run('send("ts.types", 2**60, -2**80).get(timeout=10)')
      expect(types).toEqual([`bigint ${2n ** 60n}`, `bigint ${-(2n ** 80n)}`])

      const result = await site.app.remote<bigint[], string[]>('py.types').delay(2n ** 60n, -(2n ** 80n))
      expect(await result.get({ timeout: '25s' })).toEqual([`int ${2n ** 60n}`, `int ${-(2n ** 80n)}`])
    })

    it('carry dates as dates where Celery does: from version 5.3 on', async () => {
      const isTyped = await site.python.run<boolean>('import kombu; kombu.VERSION >= (5, 3)')
      const sent = 'datetime(2026, 11, 22, 16, 20, 31, 678000, tzinfo=timezone.utc)'
      const [received] = await site.python.run<string[]>(`send("ts.types", ${sent}).get(timeout=10)`)
      expect(received).toBe(isTyped ? 'Date 2026-11-22T16:20:31.678Z' : 'string 2026-11-22T16:20:31.678000Z')

      const result = await site.app.remote<[Date], string[]>('py.types').delay(new Date('2026-11-22T16:20:31.678Z'))
      const [seen] = await result.get({ timeout: '25s' })
      expect(seen).toBe(isTyped ? `datetime ${sent.replace('timezone', 'datetime.timezone')}` : `dict ${asDict}`)
    })

    it('show a running task the same ids, limits and headers of the caller', async () => {
      const called = await site.python.run<Record<string, unknown>>(
        `app.send_task("ts.request", task_id="order:42", time_limit=30, soft_time_limit=20,
                       headers={"mine": "grüße"}).get(timeout=10)`,
      )
      expect(called).toMatchObject({ id: 'order:42', root_id: 'order:42', parent_id: null, mine: 'grüße' })
      expect(called).toMatchObject({ retries: 0, timelimit: [30, 20] })

      const request = site.app.remote<[], Record<string, unknown>>('py.request')
      const result = await request.applyAsync([], {
        taskId: 'order:43',
        timeLimit: '30s',
        softTimeLimit: '20s',
        headers: { mine: 'grüße' },
      })
      const seen = await result.get({ timeout: '25s' })
      expect(seen).toMatchObject({ id: 'order:43', root_id: 'order:43', parent_id: null, mine: 'grüße' })
      expect(seen).toMatchObject({ retries: 0, timelimit: [30, 20] })
    })

    it.each([0, 127, 128, 255, 256, 32_767, 32_768, -1, -128, -129, 2 ** 31, 2 ** 40, 1.5])(
      'carry the number %d in a header, and one within an object of it',
      async (number) => {
        const request = site.app.remote<[], Record<string, unknown>>('py.request')

        const result = await request.applyAsync([], { headers: { mine: { number, list: [number] } } })

        expect(await result.get({ timeout: '25s' })).toMatchObject({ mine: { number, list: [number] } })
      },
    )

    it('arrive one each when many are sent at once', async () => {
      const add = site.app.remote<[number, number], number>('py.add')
      const toPython = await add.delayMany(Array.from({ length: 100 }, (_, n): [number, number] => [n, 1]))
      const sums = await Promise.all(toPython.map((result) => result.get({ timeout: '25s' })))
      expect(sums).toEqual(Array.from({ length: 100 }, (_, n) => n + 1))

      const back = await site.python.run('[r.get(timeout=10) for r in [send("ts.add", n, 1) for n in range(100)]]')

      expect(back).toEqual(sums)
    })
  })
})
