/** Composed tasks: groups, chords, and everything within everything. The examples of Celery's guide are among them. */
import {
  type Celeriac,
  type Composed,
  chain,
  chord,
  GroupResult,
  group,
  type ResultRecord,
  type Signature,
} from 'celeriac'
import { describe, expect, it } from 'vitest'
import { brokers, gate, newApp, rejection, thrown, until } from './fixture.ts'
import { guide } from './guide.ts'

/** The tasks of Celery's guide, and some that fail; `ran` = what was run, in order. */
function tasksOf(app: Celeriac) {
  const ran: string[] = []
  const note = <T>(line: string, value: T): T => {
    ran.push(line)
    return value
  }
  return {
    ran,
    add: app.task('add', (x: number, y: number) => note(`add ${x} ${y}`, x + y)),
    mul: app.task('mul', (x: number, y: number) => note(`mul ${x} ${y}`, x * y)),
    xsum: app.task('xsum', (numbers: number[]) =>
      note(
        `xsum ${numbers}`,
        numbers.reduce((sum, n) => sum + n, 0),
      ),
    ),
    echo: app.task('echo', (value: unknown) => note('echo', value)),
    fail: app.task('fail', (_value?: unknown): number => {
      throw note('fail', new RangeError('no'))
    }),
    sink: app.task('sink', (_value: unknown): number => {
      throw note('sink', new RangeError('no'))
    }),
    onChordError: app.task('on_chord_error', (id: string) => note(`error of ${id}`, id)),
  }
}

describe.each(brokers)('on $broker', ({ url }) => {
  async function start() {
    const app = newApp({ broker: url() })
    const tasks = tasksOf(app)
    await app.worker({ concurrency: 4 })
    return { app, ...tasks }
  }

  it.each(guide)("Celery's guide: $name", async ({ compose, value }) => {
    const tasks = await start()

    const result = await (compose(tasks) as Signature<[], unknown>).delay()

    expect(await result.get()).toEqual(value)
  })

  describe('a group', () => {
    it('runs its members side by side, and gives their values in their order', async () => {
      const { add } = await start()

      const result = await group(add.s(2, 2), add.s(4, 4)).delay()

      expect(result).toBeInstanceOf(GroupResult)
      expect(await result.get()).toEqual([4, 8])
      expect(await result.successful()).toBe(true)
      expect(await result.completedCount()).toBe(2)
    })

    it('of a list has a value for each', async () => {
      const { add } = await start()

      const result = await group(Array.from({ length: 100 }, (_, n) => add.s(n, n))).delay()

      expect(await result.join()).toEqual(Array.from({ length: 100 }, (_, n) => 2 * n))
    })

    it('in a group gives a list within the list', async () => {
      const { add } = await start()

      const result = await group(add.s(1, 1), group(add.s(2, 2), chain(add.s(3, 3), add.s(10))), group()).delay()

      expect(await result.get()).toEqual([2, [4, 16], []])
    })

    it('without members is done at once', async () => {
      expect(await (await group().delay()).get()).toEqual([])
      expect(await (await group(group(), group()).delay()).get()).toEqual([[], []])
    })

    it('that fails tells so as soon as a member has, and which', async () => {
      const { add, fail } = await start()

      const result = await group(add.s(1, 1), fail.s(0)).delay()

      expect(await rejection(result.get())).toMatchObject({ taskId: result.ids[1], message: 'no' })
      expect(await result.failed()).toBe(true)
      expect(await result.successful()).toBe(false)
    })

    it('behind a task gives each member its value', async () => {
      const { add, mul } = await start()

      const result = await chain(add.s(4, 4), group(mul.s(10), add.s(100), chain(add.s(1), mul.s(2)))).delay()

      expect(result).toBeInstanceOf(GroupResult)
      expect(await result.get()).toEqual([80, 108, 18])
    })

    it('is found again by its id', async () => {
      const { app, add } = await start()
      const sent = await group(add.s(1, 1), group(add.s(2, 2))).delay()

      const found = await app.group(sent.id)

      expect(await found?.get()).toEqual([2, [4]])
      expect(await app.group('nothing')).toBeUndefined()
    })

    it('tells how far it is', async () => {
      const { app, add } = await start()
      const open = gate()
      const wait = app.task('wait', () => open.opened)
      const result = await group(add.s(1, 1), wait.s()).delay()
      const seen: number[] = []

      for await (const { completed, total, failed } of result.progress()) {
        expect([total, failed]).toEqual([2, 0])
        seen.push(completed)
        if (completed === 1) open.open()
      }

      expect(seen.at(-1)).toBe(2)
      expect(seen).toContain(1)
    })

    it('is revoked as a whole', async () => {
      const app = newApp({ broker: url() })
      const { add, ran } = tasksOf(app)
      const result = await group(add.s(1, 1), add.s(2, 2)).delay()

      await result.revoke()
      await app.worker()

      expect((await rejection(result.get())).code).toBe('TASK_REVOKED')
      await until(() => result.ready())
      expect(ran).toEqual([])
    })
  })

  describe('a chord', () => {
    it('hands the list of values to its body', async () => {
      const { add, xsum } = await start()
      const header = Array.from({ length: 10 }, (_, n) => add.s(n, n))

      const result = await chord(header, xsum.s()).delay()

      expect(await result.get()).toBe(90)
      expect(await result.parent?.get()).toEqual(header.map((_, n) => 2 * n))
    })

    it('is what a group with a step behind it is', async () => {
      const { add, mul, xsum, ran } = await start()

      const result = await chain(add.s(1, 2), group(mul.s(10), mul.s(100)), xsum.s(), add.s(5)).delay()

      expect(await result.get()).toBe(335)
      expect(ran.filter((line) => line.startsWith('xsum'))).toEqual(['xsum 30,300'])
    })

    it('with an immutable body ignores the values', async () => {
      const { add } = await start()

      expect(await (await chord([add.s(1, 1), add.s(2, 2)], add.si(4, 4)).delay()).get()).toBe(8)
    })

    it('without a header has its body run with an empty list', async () => {
      const { xsum, echo, add } = await start()

      expect(await (await chord([], xsum.s()).delay()).get()).toBe(0)
      expect(await (await chain(add.s(1, 1), group(), echo.s()).delay()).get()).toEqual([])
      expect(await (await chord([group(), group()], echo.s()).delay()).get()).toEqual([[], []])
    })

    it('of one member gives a list of one', async () => {
      const { add, echo } = await start()

      expect(await (await chord([add.s(1, 1)], echo.s()).delay()).get()).toEqual([2])
      expect(await (await chain(add.s(1, 1), group(add.s(1)), echo.s()).delay()).get()).toEqual([3])
    })

    it('may have anything in its header', async () => {
      const { add, mul, xsum, echo } = await start()
      const header = [
        chain(add.s(1, 1), mul.s(10)),
        chord([add.s(1, 1), add.s(2, 2)], xsum.s()),
        group(add.s(3, 3), add.s(4, 4)),
        chain(add.s(1, 0), group(add.s(1), group(add.s(2)))),
        chain(add.s(1, 0), group()),
      ]

      expect(await (await chord(header, echo.s()).delay()).get()).toEqual([20, 6, [6, 8], [2, [3]], []])
    })

    it('may have anything for its body', async () => {
      const { add, mul, xsum, echo } = await start()
      const header = [add.s(1, 1), add.s(2, 2)]

      expect(await (await chord(header, chain(xsum.s(), mul.s(10))).delay()).get()).toBe(60)
      expect(await (await chord(header, group(xsum.s(), echo.s())).delay()).get()).toEqual([6, [2, 4]])
      expect(await (await chord(header, chord([xsum.s(), echo.s()], echo.s())).delay()).get()).toEqual([6, [2, 4]])
      expect(await (await chord(header, chord([xsum.s(), xsum.s()], xsum.s()).pipe(add.s(1))).delay()).get()).toBe(13)
    })

    it('chained to chords, and groups to groups, run one after the other', async () => {
      const { add, xsum, echo } = await start()
      const two = [add.s(1, 1), add.s(2, 2)]

      const result = await chain(
        chord(two, xsum.s()),
        group(add.s(1), add.s(2)),
        group(xsum.s(), xsum.s()),
        chord([xsum.s(), xsum.s()], xsum.s()),
        echo.s(),
      ).delay()

      expect(await result.get()).toBe(60)
    })

    it('fails at once when a member fails, and calls its error callback once, with its own id', async () => {
      const { app, fail, xsum, onChordError, ran } = await start()
      const open = gate()
      const wait = app.task('wait', () => open.opened.then(() => 1))

      const result = await chord([wait.s(), fail.s(0), fail.s(1)], xsum.s().onError(onChordError.s())).delay()
      const error = await rejection(result.get())

      expect(error).toMatchObject({
        type: 'ChordError',
        message: expect.stringMatching(/^Dependency \S+ raised RangeError\("no"\)$/),
      })
      open.open()
      await until(async () => ran.includes(`error of ${result.id}`) && (await (result.parent as GroupResult).ready()))
      expect(ran.filter((line) => line.startsWith('error of'))).toHaveLength(1)
      expect(ran.some((line) => line.startsWith('xsum'))).toBe(false)
    })

    it('fails with every chord around it, and ends all that was to follow', async () => {
      const { add, sink, xsum, echo } = await start()
      const inner = chain(chord([add.s(1, 1), chain(add.s(1, 1), sink.s(), add.s(1))], xsum.s()), add.s(1))

      const result = await chain(chord([inner, add.s(1, 1)], echo.s()), echo.s()).delay()

      expect(await rejection(result.get())).toMatchObject({ type: 'ChordError' })
      expect(await rejection(result.parent?.get() as Promise<unknown>)).toMatchObject({ type: 'ChordError' })
    })

    it('that settles tells its body how each member ended', async () => {
      const { add, fail, echo } = await start()

      const result = await chord([add.s(1, 1), fail.s(0)], echo.s(), { onError: 'settle' }).delay()

      expect(await result.get()).toEqual([
        { status: 'fulfilled', value: 2 },
        { status: 'rejected', reason: { type: 'RangeError', message: 'no' } },
      ])
    })

    it('that cancels revokes what has not started', async () => {
      const app = newApp({ broker: url() })
      const { add, fail, xsum, ran } = tasksOf(app)
      const late = add.s(1, 1).set({ queue: 'late' })
      const result = await chord([fail.s(0), late], xsum.s(), { onError: 'cancel' }).delay()

      await app.worker({ queues: ['celery'] })
      await rejection(result.get())
      await app.worker({ queues: ['late'] })

      const [, id = ''] = (result.parent as GroupResult).ids
      expect((await rejection(app.result(id).get())).code).toBe('TASK_REVOKED')
      expect(ran).toEqual(['fail'])
    })

    it('fails also when a member expires, or ends without an outcome', async () => {
      const { app, add, xsum } = await start()
      const { Ignore } = await import('celeriac')
      const ignore = app.task('ignore', (): number => {
        throw new Ignore()
      })

      const expired = await chord([add.s(1, 1).set({ expires: new Date(0) }), add.s(1, 1)], xsum.s()).delay()
      const ignored = await chord([ignore.s(), add.s(1, 1)], xsum.s()).delay()

      expect((await rejection(expired.get())).message).toContain('TaskRevokedError("expired")')
      expect((await rejection(ignored.get())).message).toContain('Ignore("ignored")')
    })

    it('goes on when its failed member is redriven', async () => {
      const { app, add, xsum } = await start()
      let isBroken = true
      const shaky = app.task('shaky', () => {
        if (isBroken) throw new Error('broken')
        return 10
      })
      const result = await chord([shaky.s(), add.s(1, 1)], xsum.s()).delay()
      await rejection(result.get())
      await until(async () => (await app.deadLetters.list()).length === 1)

      isBroken = false
      await app.deadLetters.redrive({})
      await until(async () => (await result.state()) === 'SUCCESS')

      expect(await result.get()).toBe(12)
    })

    it('takes members that a member adds', async () => {
      const { app, add, echo } = await start()
      const grow = app.task('grow', { bind: true }, (ctx, n: number) => {
        for (let more = 1; more <= n; more++) ctx.addToChord(add.s(100, more))
        return n
      })

      const result = await chord([grow.s(2), grow.s(0), add.s(1, 1)], echo.s()).delay()

      expect(await result.get()).toEqual([2, 0, 2, 101, 102])
    })

    it('counts members that keep no results, for which nobody can wait', async () => {
      const { app, add, xsum } = await start()
      const quiet = app.task('quiet', { ignoreResult: true }, (n: number) => n)

      const result = await chord([quiet.s(5), add.s(1, 1)], xsum.s()).delay()

      expect(await result.get()).toBe(7)
      expect((await rejection(result.parent?.get() as Promise<unknown>)).code).toBe('RESULTS_DISABLED')
      expect((await rejection((await group(quiet.s(1)).delay()).get())).code).toBe('RESULTS_DISABLED')
    })

    it('cannot be added to from outside of one', async () => {
      const { app, add } = await start()
      const grow = app.task('grow', { bind: true }, (ctx) => ctx.addToChord(add.s(1, 1)))

      expect(await rejection((await grow.delay()).get())).toMatchObject({
        message: expect.stringContaining('of no chord'),
      })
    })
  })

  describe('a task that replaces itself', () => {
    function replacing(app: Celeriac, by: (n: number) => Composed) {
      return app.task('replaced', { bind: true }, (ctx, n: number): number => {
        throw ctx.replace(by(n))
      })
    }

    it('has the value of what it is replaced with', async () => {
      const { app, add, mul } = await start()
      const one = replacing(app, (n) => chain(add.s(n, 1), mul.s(10)))

      const result = await one.delay(4)

      expect(await result.get()).toBe(50)
    })

    it('hands that on in its chain, and is a member of its chord', async () => {
      const { app, add, xsum, echo } = await start()
      const one = replacing(app, (n) => chord([add.s(n, 1), add.s(n, 2)], xsum.s()))

      expect(await (await chain(one.s(1), add.s(100)).delay()).get()).toBe(105)
      expect(await (await chord([one.s(1), add.s(1, 1), chain(add.s(0, 1), one.s())], echo.s()).delay()).get()).toEqual(
        [5, 2, 5],
      )
    })

    it('with a group has the list of its values', async () => {
      const { app, add, echo } = await start()
      const many = app.task('many', { bind: true }, (ctx, n: number): number[] => {
        throw ctx.replace(group(Array.from({ length: n }, (_, index) => add.s(index, 0))))
      })

      expect(await (await many.delay(3)).get()).toEqual([0, 1, 2])
      expect(await (await chain(many.s(2), echo.s()).delay()).get()).toEqual([0, 1])
      expect(await (await many.delay(0)).get()).toEqual([])
    })

    it('after retries still gives its value', async () => {
      const { app, add } = await start()
      const one = app.task(
        'late',
        { bind: true, autoretryFor: [Error], retryBackoff: '1ms', maxRetries: 3 },
        (ctx): number => {
          if (ctx.retries < 2) throw new Error('not yet')
          throw ctx.replace(chain(add.s(1, 1), add.s(1)))
        },
      )

      expect(await (await one.delay()).get()).toBe(3)
    })
  })

  describe('many calls in few messages', () => {
    it('map and starmap give the list of their values', async () => {
      const { xsum, add } = await start()

      expect(await (await xsum.map([[1, 2], [3]]).delay()).get()).toEqual([3, 3])
      expect(
        await (
          await add
            .starmap([
              [2, 2],
              [4, 4],
            ])
            .delay()
        ).get(),
      ).toEqual([4, 8])
    })

    it('chunks give lists of at most so many', async () => {
      const { add, echo } = await start()
      const calls = Array.from({ length: 25 }, (_, n): [number, number] => [n, n])

      const result = await add.chunks(calls, 10).delay()

      expect((await result.get()).map((part) => part.length)).toEqual([10, 10, 5])
      expect((await result.get()).flat()).toEqual(calls.map(([n]) => 2 * n))
      expect(await (await add.chunks(calls.slice(0, 3), 2).pipe(echo.s()).delay()).get()).toEqual([[0, 2], [4]])
    })
  })

  describe('what it is told', () => {
    it('links are called back with its value, of a chord with that of its body', async () => {
      const { add, xsum, echo, ran } = await start()

      await add.s(2, 2).link(add.s(8)).delay()
      await chord([add.s(1, 1)], xsum.s())
        .link(add.s(1_000))
        .delay()
      await chain(add.s(1, 1), echo.s())
        .link(add.s(2_000) as never)
        .delay()
      await until(() => ['add 4 8', 'add 2 1000', 'add 2 2000'].every((line) => ran.includes(line)))
    })

    it('error links of a chain are called by the step that fails', async () => {
      const { add, sink, onChordError, ran } = await start()

      const result = await chain(add.s(1, 1), sink.s(), add.s(1)).linkError(onChordError.s()).delay()

      await until(() => ran.includes(`error of ${result.parent?.id}`))
    })

    it('ids, queues and stamps reach the tasks', async () => {
      const { app, add, xsum } = await start()
      const seen: unknown[] = []
      const look = app.task('look', { bind: true }, (ctx) => {
        seen.push([ctx.queue, ctx.headers.stamps])
        return 1
      })
      await app.worker({ queues: ['special'] })

      const result = await chord([look.s(), look.s().stamp({ mine: 2 })], xsum.s())
        .stamp({ batch: 'b1' })
        .applyAsync({ queue: 'special', taskId: 'the-result' })

      expect(result.id).toBe('the-result')
      expect(await result.get()).toBe(2)
      expect(seen.map((line) => JSON.stringify(line)).sort()).toEqual([
        '["special",{"batch":"b1","mine":2}]',
        '["special",{"batch":"b1"}]',
      ])
      expect(await (await group(add.s(1, 1)).applyAsync({ taskId: 'the-group' })).get()).toEqual([2])
      expect(await (await app.group('the-group'))?.get()).toEqual([2])
    })
  })

  it('says why it has not ended, down to what it waits for', async () => {
    const app = await newApp({ broker: url() }).open()
    const { add, xsum } = tasksOf(app)
    const result = await chain(
      chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2).set({ queue: 'other' })], xsum.s()),
      add.s(1),
    ).delay()
    const worker = await app.worker({ queues: ['celery'] })
    // A part is told to the join a moment before its member's end is stored.
    await until(async () => (await result.why()).waitsFor[0]?.waitsFor.length === 1)

    const why = await result.why()
    const [join] = await app.waitingJoins()

    expect(why).toMatchObject({
      state: 'PENDING',
      isStuck: false,
      reason: expect.stringMatching(/^it waits for xsum /),
    })
    expect(why.waitsFor[0]?.reason).toContain('it is the body of a chord: 1 of 2 members of group')
    expect(why.waitsFor[0]?.waitsFor).toMatchObject([{ name: 'add', reason: expect.stringContaining("queue 'other'") }])
    expect(join).toMatchObject({ joined: 1, size: 2, isStuck: false, bodyId: result.parent?.id })
    await worker.stop()
    await app.worker({ queues: ['celery', 'other'] })
    expect(await result.get()).toBe(8)
    expect((await result.why()).reason).toMatch(/^it has ended at /)
    await until(async () => (await app.waitingJoins()).length === 0)
  })

  it('finds a chord that nothing will complete any more', async () => {
    const app = await newApp({ broker: url() }).open()
    const { add, xsum } = tasksOf(app)
    const result = await chord([add.s(1, 1)], xsum.s()).delay()
    const [id = ''] = (result.parent as GroupResult).ids
    const [record] = (await app.results?.load([id])) ?? []

    // As a worker would leave it that knows nothing of joins.
    await app.results?.save([{ ...(record as ResultRecord), status: 'SUCCESS', fence: 1 }])

    expect(await app.waitingJoins()).toMatchObject([{ joined: 0, size: 1, isStuck: true }])
    expect(await result.why()).toMatchObject({ isStuck: true, reason: expect.stringContaining('a part was lost') })
  })

  it('its tree shows every task from the start, with the body beside the header', async () => {
    const app = await newApp({ broker: url() }).open()
    const { add, xsum } = tasksOf(app)

    const result = await chain(chord([chain(add.s(1, 1), add.s(1)), add.s(2, 2)], xsum.s()), add.s(1)).delay()
    const shape = async (): Promise<unknown> => {
      const show = ({ name, state, children }: Awaited<ReturnType<typeof result.tree>>): unknown => [
        name,
        state,
        ...children.map(show),
      ]
      return show(await result.tree())
    }

    expect(await shape()).toEqual([
      'celery.group',
      'PENDING',
      ['add', 'PENDING', ['add', 'PENDING']],
      ['add', 'PENDING'],
      ['xsum', 'PENDING', ['add', 'PENDING']],
    ])
    await app.worker()
    await result.get()
    expect(await shape()).toEqual([
      'celery.group',
      'SUCCESS',
      ['add', 'SUCCESS', ['add', 'SUCCESS']],
      ['add', 'SUCCESS'],
      ['xsum', 'SUCCESS', ['add', 'SUCCESS']],
    ])
  })
})

describe('what cannot be composed', () => {
  it('is refused when it is composed', () => {
    const { add } = tasksOf(newApp())

    expect(thrown(() => group(add as never)).message).toBe('member 1 of the group is not a signature; use task.s(…)')
    expect(thrown(() => chord([add.s(1, 1)], 'xsum' as never)).message).toContain('the body of the chord')
    expect(thrown(() => chord(add.s(1, 1) as never, add.s(1) as never)).message).toContain('neither a group nor a list')
    expect(thrown(() => chord([add.s(1, 1)], add.si(1, 1), { onError: 'ignore' as never })).code).toBe('CONFIG_INVALID')
  })

  it('is refused when it is sent: a chord without a store that joins', async () => {
    const app = newApp({ results: false })
    const { add, xsum } = tasksOf(app)

    const error = await rejection(chord([add.s(1, 1)], xsum.s()).delay())

    expect(error).toMatchObject({ code: 'UNSUPPORTED', message: expect.stringContaining('needs a result store') })
  })
})
