/** Composed tasks of both languages, composed in either, run by both, and read by both. */
import { chain, chord, group, type Signature, type Task } from 'celeriac'
import { beforeAll, describe, expect, it } from 'vitest'
import { type GuideTasks, guide } from '../flow/guide.ts'
import { describeWith } from '../servers/index.ts'
import { everything, openSite, type Site, transports, until } from './site.ts'

/** A database of Redis for both languages' results; on RabbitMQ beside the broker. */
describeWith(everything, 'canvases of Python and TypeScript', () => {
  describe.each(transports)('on %s, with results on Redis', (transport) => {
    let site: Site
    beforeAll(async () => {
      site = await openSite(transport, { resultsOnRedis: true })
      await site.startPythonWorker()
      await site.app.worker({ queues: ['ts'] })
    })

    describe.each(['ours', 'add and xsum of Python', 'mul of Python'])("Celery's guide, its tasks %s", (whose) => {
      it.each(guide)('$name', async ({ compose, value }) => {
        const { app, tasks } = site
        const isPython = (name: string): boolean => whose.includes(`${name} `) && whose.includes('Python')
        const binary = (name: 'add' | 'mul'): GuideTasks['add'] =>
          isPython(name) ? app.remote<[x: number, y: number], number>(`py.${name}`) : tasks[name]
        const xsum = isPython('xsum') ? app.remote<[numbers: number[]], number>('py.sum') : tasks.sum

        const canvas = compose({ add: binary('add'), mul: binary('mul'), xsum }) as Signature<[], unknown>

        expect(await (await canvas.delay()).get({ timeout: '25s' })).toEqual(value)
      })
    })

    /** What Python composes, as it waits for it. */
    async function fromPython(code: string): Promise<unknown> {
      return site.python.run(`(${code}).apply_async().get(timeout=15)`)
    }

    it.each([
      ['a chord of both', 'chord([s("ts.add", 1, 2), s("py.add", 3, 4), s("ts.add", 5, 6)], s("py.sum"))', 21],
      ['a chord of ours with a body of ours', 'chord([s("ts.add", 1, 2), s("ts.add", 3, 4)], s("ts.sum"))', 10],
      ['a group behind a task of ours', 'chain(s("ts.add", 1, 2), group(s("py.add", 3), s("ts.add", 4)))', [6, 7]],
      [
        'a chord that a task of ours starts',
        'chain(s("ts.add", 1, 2), group(s("py.add", 3), s("ts.add", 4)), s("py.sum"), s("ts.add", 1))',
        14,
      ],
      [
        'chains within a chord within a chain',
        'chain(s("py.add", 1, 2), chord([chain(s("ts.add", 1), s("py.add", 1)), chain(s("py.add", 1), s("ts.add", 1))], s("ts.sum")), s("py.add", 10))',
        20,
      ],
      [
        'chords within a chord',
        'chord([chord([s("ts.add", 1, 1), s("py.add", 2, 2)], s("ts.sum")), chord([s("py.add", 3, 3), s("ts.add", 4, 4)], s("py.sum"))], s("ts.sum"))',
        20,
      ],
      [
        'a body of several steps',
        'chord([s("ts.add", 1, 1), s("py.add", 2, 2)], chain(s("ts.sum"), s("py.add", 1), s("ts.add", 1)))',
        8,
      ],
      [
        'groups after groups',
        'chain(group(s("ts.add", 1, 1), s("py.add", 2, 2)), group(s("ts.sum"), s("py.sum")))',
        [6, 6],
      ],
      ['a map of ours', 'xmap(app.signature("ts.sum"), [[1, 2], [3, 4]], app=app)', [3, 7]],
      ['a starmap of ours', 'xstarmap(app.signature("ts.add"), [(2, 2), (4, 4)], app=app)', [4, 8]],
    ])('Python sends %s', async (_name, code, value) => {
      expect(await fromPython(code)).toEqual(value)
    })

    it('Python sends chunks of ours', async () => {
      expect(
        await site.python.run(
          'chunks(app.signature("ts.add"), zip(range(5), range(5)), 2, app=app).group().apply_async(queue="ts").get(timeout=15)',
        ),
      ).toEqual([[0, 2], [4, 6], [8]])
    })

    it('Python adds members of ours to a chord, and we of Python', async () => {
      const values = await fromPython(
        'chord([s("py.grow", "ts.add", 2), s("ts.grow", 1), s("py.add", 1, 1)], s("ts.sum"))',
      )

      expect(values).toBe(2 + 1 + 2 + 100 + 101 + 100)
    })

    it('Python goes on as tasks of ours, and ours as tasks of Python', async () => {
      expect(await fromPython('s("py.become", "ts.add", 5)')).toEqual([6, 7])
      expect(await fromPython('chain(s("ts.become", 5), s("py.sum"))')).toBe(13)
      // Celery gives all members of such a group one place, so that their order is not certain.
      const [[ours, theirs] = []] = (await fromPython(
        'chord([s("ts.become", 1), s("py.become", "ts.add", 2)], s("ts.echo"))',
      )) as [number[], number[]][]
      expect([ours, theirs?.sort()]).toEqual([
        [2, 3],
        [3, 4],
      ])
    })

    it('TypeScript sends all of them', async () => {
      const { add, sum } = site.tasks
      const pyAdd = site.app.remote<[number, number], number>('py.add')
      const pySum = site.app.remote<[number[]], number>('py.sum')
      const get = { timeout: '25s' } as const

      expect(await (await chord([add.s(1, 2), pyAdd.s(3, 4), add.s(5, 6)], pySum.s()).delay()).get(get)).toBe(21)
      expect(await (await chord([pyAdd.s(1, 2), pyAdd.s(3, 4)], sum.s()).delay()).get(get)).toBe(10)
      expect(await (await group(pyAdd.s(1, 1), chain(add.s(1, 1), pyAdd.s(1))).delay()).get(get)).toEqual([2, 3])
      expect(
        await (await chain(pyAdd.s(1, 2), group(add.s(1), pyAdd.s(2)), pySum.s(), add.s(1)).delay()).get(get),
      ).toBe(10)
      const inner = chord([add.s(1, 1), pyAdd.s(2, 2)], pySum.s())
      expect(await (await chord([inner, inner, chain(pyAdd.s(1, 1), add.s(1))], sum.s()).delay()).get(get)).toBe(15)
      expect(
        await (
          await pyAdd
            .chunks(
              [
                [1, 1],
                [2, 2],
                [3, 3],
              ],
              2,
            )
            .delay()
        ).get(get),
      ).toEqual([[2, 4], [6]])
    })

    it('lists within lists arrive as they are, whoever completes the chord', async () => {
      const { add, echo } = site.tasks
      const pyAdd = site.app.remote<[number, number], number>('py.add')
      const pyEcho = site.app.remote<[unknown], { args: unknown[] }>('py.echo')
      const header = [
        add.s(1, 1),
        group(add.s(2, 2), pyAdd.s(3, 3)),
        chain(pyAdd.s(1, 1), group(add.s(1), pyAdd.s(2))),
      ] as const

      expect(
        await (await chord(header, (echo as Task<[unknown], unknown[], [unknown]>).s()).delay()).get({
          timeout: '25s',
        }),
      ).toEqual([[2, [4, 6], [3, 4]]])
      expect((await (await chord(header, pyEcho.s()).delay()).get({ timeout: '25s' })).args).toEqual([
        [2, [4, 6], [3, 4]],
      ])
      expect(
        await fromPython(
          'chord([s("ts.add", 1, 1), chain(s("ts.add", 1, 1), group(s("ts.add", 1), s("py.add", 2)))], s("ts.echo"))',
        ),
      ).toEqual([[2, [3, 4]]])
    })

    it('a chord of ours that would cancel is ended by Python, and one that settles by us', async () => {
      const { add, fail, echo } = site.tasks
      const pyAdd = site.app.remote<[number, number], number>('py.add')
      const pySum = site.app.remote<[number[]], number>('py.sum')
      const slow = chain(pyAdd.s(1, 1), pyAdd.s(1), pyAdd.s(1), pyAdd.s(1))

      const cancelling = await chord([add.s(1, 1), slow], pySum.s(), { onError: 'cancel' }).delay()
      const whatever = echo as Task<[unknown], unknown[], [unknown]>
      const settling = await chord([fail.s('x'), chain(slow, add.s(1))], whatever.s(), { onError: 'settle' }).delay()

      expect(await cancelling.get({ timeout: '25s' })).toBe(7)
      expect(await settling.get({ timeout: '25s' })).toMatchObject([
        [
          { status: 'rejected', reason: { type: 'TypeError' } },
          { status: 'fulfilled', value: 6 },
        ],
      ])
    })

    it('results are read by the other side', async () => {
      const { add, sum } = site.tasks
      const result = await chord([add.s(1, 2), add.s(3, 4)], sum.s()).delay()
      await result.get({ timeout: '25s' })
      const saved = await group(add.s(1, 1), group(add.s(2, 2))).delay()
      await saved.save()

      expect(await site.python.run(`AsyncResult("${result.id}").get(timeout=5)`)).toBe(10)
      const restored = `__import__("celery.result").result.GroupResult.restore("${saved.id}", app=app).get(timeout=5)`
      expect(await site.python.run(restored)).toEqual([2, [4]])
      const theirs = await site.python.run<string>(`
theirs = group(s("ts.add", 1, 1), s("py.add", 2, 2)).apply_async()
theirs.save()
theirs.id`)
      expect(await (await site.app.group(theirs))?.get({ timeout: '25s' })).toEqual([2, 4])
    })

    it.each([
      ['ours', 'chord([s("ts.fail"), s("py.add", 1, 1)], s("ts.sum").on_error(s("ts.note")))'],
      ['one of Python', 'chord([s("py.fail"), s("ts.add", 1, 1)], s("py.sum").on_error(s("ts.note")))'],
      ['two', 'chord([s("ts.fail"), s("py.fail"), s("ts.fail")], s("py.sum").on_error(s("ts.note")))'],
    ])('a failed member, %s, fails the chord, and its error callback is called once', async (_name, code) => {
      const id = await site.python.run<string>(`failing = (${code}).apply_async()\nfailing.id`)

      // As `get` alone would raise the member's own error.
      expect(await site.python.run('failing.get(timeout=15, propagate=False)')).toMatch(
        /^Dependency \S+ raised (Type|Value)Error\(/,
      )
      await until(() => site.lines().includes(id))
      // What else is on its way is behind this.
      await site.python.run('group(s("py.add", 1, 1), s("ts.add", 1, 1)).apply_async().get(timeout=15)')
      expect(site.lines().filter((line) => line === id)).toHaveLength(1)
    })
  })
})
