import { type Celeriac, chain, type ResultNode } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { brokers, depthOf, newApp, publishForeign, rejection, until } from './fixture.ts'

/** The nodes of a tree that is a line, from the first step on. */
function line(node: ResultNode): ResultNode[] {
  return [node, ...node.children.flatMap(line)]
}

function warehouse(app: Celeriac) {
  const ran: string[] = []
  return {
    ran,
    pick: app.task('pick', { queue: 'picking' }, (order: number) => {
      ran.push('pick')
      return { order, bin: 'A7' }
    }),
    pack: app.task('pack', { queue: 'packing' }, (picked: { order: number; bin: string }) => {
      ran.push('pack')
      return `box of ${picked.order} from ${picked.bin}`
    }),
    deliver: app.task('deliver', { queue: 'delivering' }, (box: string) => {
      ran.push('deliver')
      return `${box}, delivered`
    }),
  }
}

describe.each(brokers)('a chain, on $broker', ({ url }) => {
  it('that expires before its first step ends in all its steps, so that nobody waits for the last', async () => {
    const app = newApp({ broker: url() })
    const { pick, pack, ran } = warehouse(app)
    const result = await chain(pick.s(7).set({ expires: new Date(Date.now() - 1) }), pack.s()).delay()

    await app.worker()

    expect((await rejection(result.get())).message).toBe(`task ${result.id} was not run: expired`)
    expect(line(await result.tree()).map(({ state }) => state)).toEqual(['REVOKED', 'REVOKED'])
    expect(ran).toEqual([])
  })

  it('hands the value of each step to the next, and gives the value of the last', async () => {
    const app = newApp({ broker: url() })
    const { pick, pack, deliver, ran } = warehouse(app)
    await app.worker()

    const result = await chain(pick.s(7), pack.s(), deliver.s()).delay()

    expect(await result.get()).toBe('box of 7 from A7, delivered')
    expect(ran).toEqual(['pick', 'pack', 'deliver'])
  })

  it('has one message at a time, each step on the queue of its task', async () => {
    const app = newApp({ broker: url() })
    const { pick, pack, deliver } = warehouse(app)
    const queues = ['picking', 'packing', 'delivering']
    const depths = async (): Promise<number[]> =>
      Promise.all(queues.map(async (queue) => (await depthOf(app, queue))[0]))
    await app.open()

    const result = await chain(pick.s(7), pack.s(), deliver.s()).delay()

    expect(await depths()).toEqual([1, 0, 0])
    const picker = await app.worker({ queues: ['picking'] })
    await until(async () => (await depths())[1] === 1)
    expect(await depths()).toEqual([0, 1, 0])
    await picker.stop()
    await app.worker({ queues: ['packing', 'delivering'] })
    expect(await result.get()).toBe('box of 7 from A7, delivered')
  })

  it('shows every step in its tree from the start, and the way it went at the end', async () => {
    const app = await newApp({ broker: url() }).open()
    const { pick, pack, deliver } = warehouse(app)

    const result = await chain(pick.s(7), pack.s(), deliver.s()).delay()

    expect(line(await result.tree()).map(({ name, queue, state }) => [name, queue, state])).toEqual([
      ['pick', 'picking', 'PENDING'],
      ['pack', 'packing', 'PENDING'],
      ['deliver', 'delivering', 'PENDING'],
    ])
    await app.worker({ name: 'w1@h' })
    await result.get()
    expect(
      line(await result.tree()).map(({ state, result: value, attempts, worker }) => [state, value, attempts, worker]),
    ).toEqual([
      ['SUCCESS', { order: 7, bin: 'A7' }, 1, 'w1@h'],
      ['SUCCESS', 'box of 7 from A7', 1, 'w1@h'],
      ['SUCCESS', 'box of 7 from A7, delivered', 1, 'w1@h'],
    ])
  })

  it('gives each step an id of its own; root, parent and the results of all are known to the sender', async () => {
    const app = newApp({ broker: url() })
    const where = app.task('where', { bind: true }, (ctx, _before: unknown) => [ctx.rootId, ctx.parentId])
    await app.worker()

    const third = await chain(where.s(0), where.s(), where.s()).delay()
    const second = third.parent
    const first = second?.parent

    expect(new Set([first?.id, second?.id, third.id]).size).toBe(3)
    expect(first?.parent).toBeUndefined()
    expect(await third.get()).toEqual([first?.id, second?.id])
    expect(await second?.get()).toEqual([first?.id, first?.id])
    expect(await first?.get()).toEqual([first?.id, null])
  })

  it('retries a failing step alone: those before it run once', async () => {
    const app = newApp({ broker: url() })
    const runs = { one: 0, two: 0, three: 0 }
    const one = app.task('one', () => {
      runs.one += 1
      return 1
    })
    const two = app.task('two', { bind: true, autoretryFor: [Error], retryBackoff: '1ms' }, (ctx, n: number) => {
      runs.two += 1
      if (ctx.retries < 3) throw new Error('not yet')
      return n + 1
    })
    const three = app.task('three', (n: number) => {
      runs.three += 1
      return n + 1
    })
    await app.worker()

    const result = await chain(one.s(), two.s(), three.s()).delay()

    expect(await result.get()).toBe(3)
    expect(runs).toEqual({ one: 1, two: 4, three: 1 })
    expect(line(await result.tree()).map(({ attempts, retries }) => [attempts, retries])).toEqual([
      [1, 0],
      [4, 3],
      [1, 0],
    ])
  })

  it('that fails ends there: the steps to come are FAILURE with the same error, and are not run', async () => {
    const app = newApp({ broker: url() })
    const { pick, deliver, ran } = warehouse(app)
    const pack = app.task('pack badly', (_picked: unknown): string => {
      throw new RangeError('no box is large enough')
    })
    await app.worker()

    const result = await chain(pick.s(7), pack.s(), deliver.s(), deliver.s()).delay()

    expect(await rejection(result.get())).toMatchObject({ type: 'RangeError', message: 'no box is large enough' })
    expect(line(await result.tree()).map(({ name, state, error }) => [name, state, error?.message])).toEqual([
      ['pick', 'SUCCESS', undefined],
      ['pack badly', 'FAILURE', 'no box is large enough'],
      ['deliver', 'FAILURE', 'no box is large enough'],
      ['deliver', 'FAILURE', 'no box is large enough'],
    ])
    expect(ran).toEqual(['pick'])
    expect(await app.deadLetters.list()).toMatchObject([{ task: 'pack badly', args: [{ order: 7, bin: 'A7' }] }])
  })

  it('carries dates and bytes from step to step', async () => {
    const app = newApp({ broker: url() })
    const when = app.task('when', () => ({ at: new Date(86_400_000), slip: new Uint8Array([1, 255]) }))
    const later = app.task('later', ({ at, slip }: { at: Date; slip: Uint8Array }, days: number) => ({
      at: new Date(at.getTime() + days * 86_400_000),
      slip,
    }))
    await app.worker()

    const result = await chain(when.s(), later.s(1), later.s(2)).delay()

    expect(await result.get()).toEqual({ at: new Date(4 * 86_400_000), slip: new Uint8Array([1, 255]) })
  })
})

describe('a step of a chain', () => {
  it('takes the value before it as its first argument, its own arguments after that', async () => {
    const app = newApp()
    const subtract = app.task('subtract', (x: number, y: number) => x - y)
    await app.worker()

    expect(await (await chain(subtract.s(10, 3), subtract.s(2), subtract.s(1)).delay()).get()).toBe(4)
  })

  it('with a schema takes the value as its input', async () => {
    const app = newApp()
    const Order = z.object({ id: z.string(), note: z.string().default('none') })
    const receive = app.task('receive', (id: string) => ({ id }))
    const pick = app.task('pick', { input: Order }, (order) => `${order.id}: ${order.note}`)
    await app.worker()

    expect(await (await chain(receive.s('A-1'), pick.s()).delay()).get()).toBe('A-1: none')
  })

  it('made with `si` has all its arguments, and ignores the value before it', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    const pick = app.task('pick', { input: z.object({ id: z.string() }) }, ({ id }) => id)
    await app.worker()

    expect(await (await chain(add.s(1, 1), add.si(10, 10), add.s(1)).delay()).get()).toBe(21)
    expect(await (await chain(add.s(1, 1), pick.si({ id: 'A-1' })).delay()).get()).toBe('A-1')
  })

  it('may have options of its own: its queue, its id, its countdown', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker({ queues: ['celery', 'special'] })

    const result = await chain(
      add.s(1, 1),
      add.s(2).set({ queue: 'special', taskId: 'second' }),
      add.s(3).set({ countdown: '30ms', taskId: 'third', headers: { tenant: 'acme' } }),
    ).delay()

    expect(result.id).toBe('third')
    expect(await result.get()).toBe(7)
    const [, second, third] = line(await result.tree())
    expect(second).toMatchObject({ taskId: 'second', queue: 'special' })
    expect((third?.startedAt ?? 0) - (second?.doneAt ?? 0)).toBeGreaterThanOrEqual(29)
  })

  it('that fails keeps its id and its place when it is given up and comes from a foreign sender', async () => {
    const app = newApp()
    app.task('add', (x: number, y: number) => x + y)
    const step = (id: string, args: unknown[]) => ({
      task: 'add',
      args,
      kwargs: {},
      options: { task_id: id },
      immutable: false,
    })
    await app.worker()

    await publishForeign(app, 'add', { args: [1, 1], embed: { chain: [step('last', [100]), step('middle', [10])] } })

    expect(await app.result('last').get()).toBe(112)
    expect(await app.result('middle').get()).toBe(12)
  })
})

describe('a chain is refused', () => {
  it('without steps', () => {
    expect(() => chain()).toThrow(
      expect.objectContaining({ code: 'CANVAS_INVALID', message: 'a chain needs at least one step' }),
    )
  })

  it('of anything but signatures', () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)

    expect(() => chain(add.s(1, 1), add as never)).toThrow(
      expect.objectContaining({
        code: 'CANVAS_INVALID',
        message: 'step 2 of the chain is not a signature; use task.s(…)',
      }),
    )
  })

  it('when its first step, or a step made with `si`, does not fit its schema; then nothing is sent', async () => {
    const app = await newApp().open()
    const pick = app.task('pick', { input: z.object({ id: z.string() }) }, ({ id }) => ({ id }))

    const first = await rejection(chain(pick.s({ id: 7 } as never), pick.s()).delay())
    const later = await rejection(chain(pick.s({ id: 'A' }), pick.si({ id: 7 } as never)).delay())

    expect([first.code, later.code]).toEqual(['INPUT_INVALID', 'INPUT_INVALID'])
    expect(await depthOf(app)).toEqual([0, 0, 0])
  })
})

describe('a step that cannot go on', () => {
  it('because its value is too large for the next message has failed', async () => {
    const app = newApp({ maxMessageSize: '2KB' })
    const grow = app.task('grow', () => 'x'.repeat(3_000))
    const take = app.task('take', (text: string) => text.length)
    const worker = await app.worker()

    const result = await chain(grow.s(), take.s()).delay()
    const error = await rejection(result.get({ timeout: '2s' }))
    await worker.stop()

    expect(error.message).toContain("a call of 'take' takes ")
    expect(await app.deadLetters.list()).toMatchObject([{ task: 'grow', reason: 'failed' }])
  })

  it('because what follows cannot be read has failed', async () => {
    const app = newApp()
    app.task('add', (x: number, y: number) => x + y)
    const worker = await app.worker()
    const chord = {
      task: 'celery.chord',
      args: [],
      kwargs: { kwargs: {}, header: [], body: 'nothing' },
      options: { task_id: 'g' },
      subtask_type: 'chord',
    }

    const id = await publishForeign(app, 'add', { args: [1, 1], embed: { chain: [chord] } })
    const error = await rejection(app.result(id).get({ timeout: '2s' }))
    await worker.stop()

    expect(error.message).toBe('the message cannot be run: its `celery.chord` holds something that is no signature')
    expect(await app.deadLetters.list()).toMatchObject([{ id, reason: 'failed' }])
  })

  it('because an error callback cannot be sent is still given up', async () => {
    const app = newApp()
    app.task('fail', () => {
      throw new RangeError('no')
    })
    const worker = await app.worker()
    const chord = { task: 'celery.chord', args: [], kwargs: {}, options: {}, subtask_type: 'chord' }

    const id = await publishForeign(app, 'fail', { embed: { errbacks: [chord] } })
    const error = await rejection(app.result(id).get({ timeout: '2s' }))
    await worker.stop()

    expect(error).toMatchObject({ type: 'RangeError', message: 'no' })
    expect(await app.deadLetters.list()).toMatchObject([
      {
        id,
        reason: 'failed',
        error: {
          message: expect.stringContaining('no (its error callbacks were not sent: the message cannot be run: '),
        },
      },
    ])
  })
})

describe('a chain of', () => {
  it('one step is that step', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()

    const result = await chain(add.s(2, 3)).applyAsync({ taskId: 'mine' })

    expect(result.id).toBe('mine')
    expect(result.parent).toBeUndefined()
    expect(await result.get()).toBe(5)
  })

  it('twenty steps has twenty nodes in its tree', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    await app.worker()
    const steps = Array.from({ length: 19 }, () => add.s(1))

    const result = await chain(add.s(0, 1), ...steps).delay()

    expect(await result.get()).toBe(20)
    expect(line(await result.tree()).map(({ state }) => state)).toEqual(Array.from({ length: 20 }, () => 'SUCCESS'))
  })

  it('calls made inside a task is a child of that task', async () => {
    const app = newApp()
    const add = app.task('add', (x: number, y: number) => x + y)
    const start = app.task('start', async () => (await chain(add.s(1, 1), add.s(1)).delay()).id)
    await app.worker()

    const root = await start.delay()
    const last = app.result((await root.get()) as string)
    expect(await last.get()).toBe(3)

    const tree = await last.tree()
    expect(line(tree).map(({ name }) => name)).toEqual(['start', 'add', 'add'])
    expect(tree.taskId).toBe(root.id)
  })
})

describe('the options of a chain', () => {
  it('concern its first step; the id is that of the last', async () => {
    const app = await newApp().open()
    const add = app.task('add', (x: number, y: number) => x + y)

    const result = await chain(add.s(1, 1), add.s(1)).applyAsync({ taskId: 'end', queue: 'first', countdown: '1h' })

    expect(result.id).toBe('end')
    expect(result.parent?.id).not.toBe('end')
    expect(await depthOf(app, 'first')).toEqual([0, 1, 0])
    expect(line(await result.tree()).map(({ queue }) => queue)).toEqual(['first', 'celery'])
  })
})
