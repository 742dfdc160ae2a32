/** What Python clients put behind a task: groups, chains and several callbacks, started by whoever ends the task. */
import type { Celeriac, PeekedMessage } from 'celeriac'
import { describe, expect, it } from 'vitest'
import { capturedOne } from './captured.ts'
import { brokers, newApp, publishForeign, rejection, until } from './fixture.ts'

interface Sig {
  readonly task: string
  readonly args?: readonly unknown[]
  readonly kwargs?: Readonly<Record<string, unknown>>
  readonly options?: Readonly<Record<string, unknown>>
  readonly subtask_type?: string
  readonly immutable?: boolean
}

const add = (more: number, options: Sig['options'] = {}): Sig => ({ task: 'add', args: [more], options })
const group = (tasks: readonly Sig[], options: Sig['options'] = {}): Sig => ({
  task: 'celery.group',
  kwargs: { tasks },
  options,
  subtask_type: 'group',
})
const chainOf = (tasks: readonly Sig[], options: Sig['options'] = {}): Sig => ({
  task: 'celery.chain',
  kwargs: { tasks },
  options,
  subtask_type: 'chain',
})

/** An application that knows `add`, and others that fail or take what comes; `ran` = what was run, in order. */
async function startApp(url?: string, results = true): Promise<{ app: Celeriac; ran: unknown[][] }> {
  const app = newApp(url === undefined ? { results } : { broker: url, results })
  const ran: unknown[][] = []
  app.task('add', (x: number, y: number) => {
    ran.push(['add', x, y])
    return x + y
  })
  app.task('take', (...values: unknown[]) => void ran.push(['take', ...values]))
  app.task('fail', () => {
    throw new RangeError('no')
  })
  await app.worker()
  return { app, ran }
}

/** Messages for a queue that nobody consumes. */
async function parked(app: Celeriac, count: number): Promise<PeekedMessage[]> {
  await until(async () => (await app.broker.depth('parked')).ready === count)
  return app.broker.peek('parked', count)
}

describe.each(brokers)('behind a task of Python on $broker', ({ url }) => {
  it('a chain goes on step by step, as a callback', async () => {
    const { app } = await startApp(url())

    await publishForeign(app, 'add', {
      args: [1, 1],
      embed: { callbacks: [chainOf([add(10, { task_id: 'a' }), add(100, { task_id: 'b' })], { task_id: 'b' })] },
    })

    expect(await app.result('b').get()).toBe(112)
    expect(await app.result('a').get()).toBe(12)
  })

  it('a chain inside a chain runs before the steps that follow it', async () => {
    const { app, ran } = await startApp(url())
    const inner = chainOf([add(10), chainOf([add(20), add(30)])])

    await publishForeign(app, 'add', { args: [1, 1], embed: { chain: [add(1_000, { task_id: 'last' }), inner] } })

    expect(await app.result('last').get()).toBe(1_062)
    expect(ran.map(([, , y]) => y)).toEqual([1, 10, 20, 30, 1_000])
  })

  it('every member of a group gets the value, and its place', async () => {
    const { app } = await startApp(url())
    const members = [add(10, { task_id: 'a' }), add(100, { task_id: 'b' }), group([add(5, { task_id: 'c' })])]

    const id = await publishForeign(app, 'add', { args: [1, 1], embed: { chain: [group(members, { task_id: 'g' })] } })

    expect(await Promise.all(['a', 'b', 'c'].map((member) => app.result(member).get()))).toEqual([12, 102, 7])
    expect(await app.result('b').info()).toMatchObject({ groupId: 'g', parentId: id, rootId: id })
    expect((await app.result(id).info())?.children).toEqual(['a', 'b', 'c'])
  })

  it('is run from <task-redis-5.6.3-chain-group-end>', async () => {
    const app = newApp({ broker: url() })
    app.task('lab.add', (x: number, y: number) => x + y)
    app.task('lab.mul', (x: number, y: number) => x * y)
    await app.worker()
    const message = capturedOne('task-redis-5.6.3-chain-group-end')

    await app.broker.publish([{ ...message, queue: 'celery' }])

    expect(await app.result('44c618b6-12d1-4cf3-b43e-f79b03135e8a').get()).toBe(4)
    expect(await app.result('22265854-c24f-4175-be3b-d5dea7abbc63').get()).toBe(6)
  })
})

describe('what a composed signature was told', () => {
  it('reaches the last step of a chain as its callback, and every step as its error callback', async () => {
    const { app } = await startApp()
    const told = { link: [{ task: 'take', args: ['done'] }], link_error: [{ task: 'take', args: ['failed'] }] }
    const steps = [add(10, { queue: 'parked' }), add(100)]

    await publishForeign(app, 'add', { args: [1, 1], embed: { callbacks: [chainOf(steps, told)] } })
    const [first] = await parked(app, 1)
    const [, , embed] = JSON.parse(String(first?.body))

    expect(embed).toMatchObject({
      callbacks: null,
      errbacks: [{ task: 'take', args: ['failed'] }],
      chain: [{ args: [100], options: told }],
    })
  })

  it('puts a chain that is a member of a group there with its last step', async () => {
    const { app } = await startApp()
    const member = chainOf([add(10, { queue: 'parked' }), add(100)])

    await publishForeign(app, 'add', {
      args: [1, 1],
      embed: { callbacks: [group([add(5), member], { task_id: 'g' })] },
    })
    const [first] = await parked(app, 1)
    const [, , embed] = JSON.parse(String(first?.body))

    expect(first?.headers).toMatchObject({ group: null, group_index: null })
    expect(embed.chain).toMatchObject([{ args: [100], options: { group_id: 'g', group_index: 1 } }])
  })

  it('goes into the message: stamps, shadow, headers, priority, time limits, ids, reply address', async () => {
    const { app } = await startApp()
    const options = {
      queue: 'parked',
      task_id: 'next',
      reply_to: 'their-queue',
      group_id: 'g',
      group_index: 3,
      priority: 7,
      shadow: 'alias',
      headers: { tenant: 'acme', id: 'forged' },
      time_limit: 30,
      soft_time_limit: 20.5,
      ignore_result: true,
      replaced_task_nesting: 2,
      stamped_headers: ['batch'],
      batch: ['b1', 'b2'],
      serializer: 'yaml',
      compression: 'bzip2',
      origin: 'gen1@host',
      delivery_mode: 2,
    }

    const id = await publishForeign(app, 'add', { args: [1, 1], embed: { callbacks: [add(10, options)] } })
    const [message] = await parked(app, 1)

    expect(message?.properties).toMatchObject({
      contentType: 'application/x-yaml',
      replyTo: 'their-queue',
      priority: 7,
    })
    expect(message?.headers).toMatchObject({
      id: 'next',
      root_id: id,
      parent_id: id,
      group: 'g',
      group_index: 3,
      shadow: 'alias',
      tenant: 'acme',
      timelimit: [30, 20.5],
      ignore_result: true,
      replaced_task_nesting: 2,
      stamped_headers: ['batch'],
      stamps: { batch: ['b1', 'b2'] },
    })
    expect(message?.headers).not.toHaveProperty('compression')
  })

  it('need not be whole: what is missing or null is made up', async () => {
    const { app } = await startApp()
    const options = {
      queue: 'parked',
      task_id: null,
      priority: null,
      eta: null,
      expires: null,
      link: null,
      headers: null,
    }

    const id = await publishForeign(app, 'add', { args: [1, 1], embed: { callbacks: { task: 'take', options } } })
    const [message] = await parked(app, 1)

    expect(message?.headers).toMatchObject({
      task: 'take',
      id: expect.any(String),
      parent_id: id,
      eta: null,
      expires: null,
    })
    expect(JSON.parse(String(message?.body)).slice(0, 2)).toEqual([[2], {}])
  })
})

describe('several callbacks', () => {
  it('are members of one group, each applied by itself', async () => {
    const { app } = await startApp()

    const id = await publishForeign(app, 'add', {
      args: [1, 1],
      embed: { callbacks: [add(10, { queue: 'parked' }), { ...add(7, { queue: 'parked' }), immutable: true }] },
    })
    const [first, second] = await parked(app, 2)

    expect([first, second].map((message) => JSON.parse(String(message?.body))[0])).toEqual([[2, 10], [7]])
    expect([first, second].map((message) => message?.headers.group_index)).toEqual([0, 1])
    expect(first?.headers.group).toEqual(expect.any(String))
    expect(second?.headers.group).toBe(first?.headers.group)
    expect((await app.result(id).info())?.children).toEqual([first?.headers.id, second?.headers.id])
  })

  it('after a failure get the id of what failed, unless they are immutable', async () => {
    const { app, ran } = await startApp()
    const errbacks = [{ task: 'take' }, { task: 'take', args: ['x'] }, { task: 'take', args: ['y'], immutable: true }]

    const id = await publishForeign(app, 'fail', { embed: { errbacks } })
    await until(() => ran.length === 3)

    expect(ran).toEqual([
      ['take', id],
      ['take', id, 'x'],
      ['take', 'y'],
    ])
  })
})

describe('a failure', () => {
  it('is the end of all that was to follow, of groups and chains too, with the same error', async () => {
    const { app } = await startApp()
    const rest = [
      add(4, { task_id: 'after', reply_to: 'r' }),
      group([add(2, { task_id: 'g1' }), chainOf([add(3, { task_id: 'g2a' }), add(3, { task_id: 'g2b' })])], {
        task_id: 'g',
      }),
      add(1, { task_id: 'first' }),
    ]

    const id = await publishForeign(app, 'fail', { embed: { chain: rest } })
    const errors = await Promise.all(
      ['first', 'g1', 'g2a', 'g2b', 'after'].map((step) => rejection(app.result(step).get())),
    )

    expect(errors.map(({ message }) => message)).toEqual(['no', 'no', 'no', 'no', 'no'])
    expect(await app.result('first').info()).toMatchObject({
      status: 'FAILURE',
      parentId: id,
      children: ['g1', 'g2a', 'after'],
    })
    expect(await app.result('after').info()).toMatchObject({ parentId: 'first', rootId: id, name: 'add' })
    const [letter] = await app.deadLetters.list()
    expect(letter?.next).toEqual(['add', 'add', 'add', 'add', 'add'])
  })

  it('is what a member of a chord ends in where nobody could complete it', async () => {
    const { app, ran } = await startApp(undefined, false)

    const id = await publishForeign(app, 'add', {
      args: [1, 1],
      headers: { group: 'g' },
      embed: { chord: { task: 'sum' } },
    })
    await until(async () => (await app.deadLetters.list()).length === 1)

    expect(ran).toEqual([])
    expect(await app.deadLetters.list()).toMatchObject([
      { id, reason: 'member of a chord', error: { message: expect.stringContaining('needs a result store') } },
    ])
  })
})
