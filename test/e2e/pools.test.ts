/** Where tasks run: in children that crash, hang, leak and are killed, on real processes and threads. */
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { type AsyncResult, Celeriac, chord, type Signature } from 'celeriac'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { buildPackage, hears, newFolder, type Program, start, until } from './processes.ts'

/** A child is killed every 200 ms; for a minute where somebody has the time. */
const killEveryMs = 200
const killsForMs = process.env.CELERIAC_TEST_LONG === undefined ? 4_000 : 60_000

let folder: string
let client: Celeriac

beforeAll(buildPackage, 120_000)

beforeEach(async () => {
  folder = newFolder()
  client = await new Celeriac('client', { broker: url(), results: true }).open()
})

afterEach(() => client.close())

const url = (): string => `sqlite://${join(folder, 'tasks.db')}`
const env = (): Record<string, string> => ({ POOL_BROKER: url(), POOL_LOG: join(folder, 'log') })

/** Starts a worker, and waits until it is ready. */
async function worker(options: object, nodeOptions: readonly string[] = []): Promise<Program> {
  const program = start('pool-worker.mjs', [JSON.stringify(options)], env(), nodeOptions)
  await hears(program, 'ready')
  return program
}

const call = (task: string, ...args: unknown[]) => client.remote<unknown[], unknown>(task).delay(...args)
const get = async (task: string, ...args: unknown[]): Promise<unknown> =>
  (await call(task, ...args)).get({ timeout: '25s' })
const failure = (task: string, ...args: unknown[]): Promise<unknown> => get(task, ...args).catch((error) => error)
/** Lines that tasks have written: id and pid of each run. */
const runs = (): string[] =>
  existsSync(join(folder, 'log')) ? readFileSync(join(folder, 'log'), 'utf8').trim().split('\n') : []
const pidsOf = ({ said }: Program): number[] => JSON.parse(/ready (.*)/.exec(said)?.[1] ?? '[]').flat()

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

const residentKb = (pid: number): number =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])

describe.each(['processes', 'threads'] as const)('the pool `%s`', (pool) => {
  it('runs tasks in children that have loaded the application', async () => {
    const program = await worker({ pool, concurrency: 2 })

    expect(await get('add', 1, 2)).toBe(3)
    const { pid } = (await get('where')) as { pid: number }
    expect(pid === program.pid).toBe(pool === 'threads')
  })

  it('lets tasks in children replace themselves, and add members to their chords', async () => {
    await worker({ pool, concurrency: 2 })
    const signature = (task: string, ...args: unknown[]) =>
      client.remote<unknown[], unknown>(task).s(...args) as Signature<[], unknown>
    const header = [signature('grow', 1), signature('become', 5)]

    const result = await chord(header, client.remote<[unknown], unknown>('list').s()).delay()

    expect(await result.get({ timeout: '25s' })).toEqual([1, [6, 7], 101])
  })

  it('carries arguments and results as they are on the wire, and says what cannot be carried', async () => {
    await worker({ pool, concurrency: 1 })
    const date = new Date(1_700_000_000_000)

    expect(await get('dates', date)).toEqual({
      date,
      next: new Date(1_700_000_000_001),
      bytes: expect.objectContaining({ length: 4 }),
    })
    expect(await failure('unsendable')).toMatchObject({
      code: 'TASK_FAILED',
      message: 'the value is a function, which JSON cannot carry',
    })
  })

  it("decides on retries with the task's own error classes, and keeps the class of the last error", async () => {
    await worker({ pool, concurrency: 1 })

    expect(await failure('custom')).toMatchObject({ type: 'TypeError', message: 'enough after 1' })
  })

  it('stores states and writes the log of what runs in a child', async () => {
    const program = await worker({ pool, concurrency: 1, name: 'w1@here' })
    const result = await call('story')
    await expect.poll(() => result.state()).toBe('PROGRESS')
    writeFileSync(join(folder, 'log.go'), '')

    expect(await result.get({ timeout: '25s' })).toBe('w1@here')
    await hears(program, 'half way')
  })

  it('runs a task again whose child left, and takes it for poison after `maxDeliveries`', async () => {
    await worker({ pool, concurrency: 2 })
    const result = await call('leave')

    const error = await result.get({ timeout: '25s' }).catch((reason) => reason)

    expect(error).toMatchObject({ type: 'WorkerLostError', message: expect.stringContaining('3 workers were lost') })
    expect(runs()).toHaveLength(3)
    expect(await client.deadLetters.list()).toMatchObject([
      { id: result.id, task: 'leave', reason: 'worker lost', attempts: [{}, {}, {}] },
    ])
    expect(await get('add', 1, 2)).toBe(3)
  })

  it.each(['leaveOnce', 'leaveEarly'])('fails `%s` with its child, and does not run it again', async (task) => {
    await worker({ pool, concurrency: 1 })

    expect(await failure(task)).toMatchObject({
      type: 'WorkerLostError',
      message: 'the child that ran it exited with code 3',
    })
  })

  it('ends a loop without end at its time limit, and what waits behind it runs', async () => {
    await worker({ pool, concurrency: 1 })
    const endless = await call('endless')
    const next = await call('add', 1, 2)

    expect(await endless.get({ timeout: '25s' }).catch((error) => error)).toMatchObject({ type: 'TimeLimitExceeded' })
    expect(await next.get({ timeout: '25s' })).toBe(3)
  })

  it('aborts the signal of a task at its soft time limit', async () => {
    await worker({ pool, concurrency: 1 })

    expect(await failure('soft')).toMatchObject({ type: 'SoftTimeLimitExceeded' })
  })

  it('runs batches, each call with an outcome of its own', async () => {
    const program = await worker({ pool, concurrency: 2 })
    const results = await client.remote<[string], { pid: number }>('gathered').delayMany([['a'], ['bad'], ['c'], ['d']])
    const [a, bad, c] = await Promise.allSettled(results.map((result) => result.get({ timeout: '25s' })))

    expect(a).toMatchObject({ value: { item: 'a', of: 4, deliveries: 1 } })
    expect(c).toMatchObject({ value: { item: 'c', of: 4 } })
    expect(bad).toMatchObject({ reason: { code: 'TASK_FAILED', type: 'RangeError', message: 'bad' } })
    if (pool === 'processes') expect(pidsOf(program)).toContain((a as { value: { pid: number } }).value.pid)
  })

  it('keeps the steps of a task whose child is lost in the middle of one', async () => {
    await worker({ pool, concurrency: 1 })

    const result = (await get('stepped')) as { first: number; second: number; deliveries: number }

    expect(result.deliveries).toBe(2)
    expect(runs().map((run) => run.split(' ')[1])).toEqual(['first', 'second', 'second'])
    if (pool === 'processes') expect(result.first).not.toBe(result.second)
  })

  it('lets what runs end at the shutdown, and gives back what does not', async () => {
    const program = await worker({ pool, concurrency: 2, shutdownTimeout: '500ms' })
    const busy = await call('busy', 200)
    const held = await call('held')
    await until(() => runs().length === 2)

    program.kill('SIGTERM')
    await hears(program, 'closed')

    expect(await busy.state()).toBe('SUCCESS')
    expect(await client.broker.depth('celery')).toEqual({ ready: 1, delayed: 0, inFlight: 0 })
    const [message] = await client.broker.peek('celery', 1)
    expect(message).toMatchObject({ headers: { id: held.id, retries: 0 }, deliveryCount: 1 })
  })

  it('replaces a child after `maxTasksPerChild`, losing nothing', async () => {
    const program = await worker({ pool, concurrency: 2, maxTasksPerChild: 5 })

    const results = await Promise.all(Array.from({ length: 40 }, () => get('busy', 1)))

    expect(results).toHaveLength(40)
    if (pool === 'processes') {
      const counts = new Map<unknown, number>()
      for (const pid of results) counts.set(pid, (counts.get(pid) ?? 0) + 1)
      expect(Math.max(...counts.values())).toBeLessThanOrEqual(5)
      expect(counts.size).toBeGreaterThanOrEqual(8)
    }
    expect(program.said).not.toContain('error')
  })

  it('replaces a child that has grown beyond `maxMemoryPerChild`, after its task', async () => {
    await worker({ pool, concurrency: 1, maxMemoryPerChild: pool === 'processes' ? '150MB' : '60MB' })

    const grown: { pid: number; rss: number }[] = []
    for (let i = 0; i < 20; i++) grown.push((await get('leak', 20)) as { pid: number; rss: number })

    if (pool === 'processes') {
      expect(new Set(grown.map(({ pid }) => pid)).size).toBeGreaterThan(2)
      // The bound, and one task's leak.
      expect(Math.max(...grown.map(({ rss }) => rss))).toBeLessThan(175 * 2 ** 20)
    } else {
      // Twenty leaks of one thread would be 400 MB more.
      expect(Math.max(...grown.map(({ rss }) => rss))).toBeLessThan(350 * 2 ** 20)
    }
  })

  it('tells how many children it replaced, and why', async () => {
    await worker({ pool, concurrency: 1, maxTasksPerChild: 4, name: 'w1@here' })
    for (let i = 0; i < 8; i++) await get('busy', 1)
    await failure('leaveOnce')
    await client.control.poolRestart()

    const stats = async () => (await client.control.inspect().stats())['w1@here']
    const recycled = { tasks: 2, memory: 0, command: 1, killed: 0, lost: 1 }
    await expect.poll(stats).toMatchObject({ pool: { recycled } })
  })

  it('says at its start why its children cannot run the application', async () => {
    const program = start('pool-worker.mjs', [JSON.stringify({ pool, module: './broken.mjs' })], env())

    await hears(program, 'refused APP_NOT_FOUND')
    expect(program.said).toContain('this module does not load in children')
    expect(await program.ended).toBe(0)
  })
})

describe('the pool `processes`', () => {
  it("starts children without those of Node's options that are for the worker alone, values and all", async () => {
    const profiling = ['--cpu-prof', '--cpu-prof-interval', '500', '--cpu-prof-dir', join(folder, 'profiles')]
    await worker({ pool: 'processes', concurrency: 1 }, profiling)

    expect(await get('add', 1, 2)).toBe(3)
  })

  it('survives the crash of a child; the task runs again with its loss counted', async () => {
    await worker({ pool: 'processes', concurrency: 2 })

    expect(await get('crash', 2)).toBe(3)
    expect(new Set(runs().map((run) => run.split(' ')[1])).size).toBe(3)
  })

  it('finds the one that crashes among those in one pipeline', async () => {
    await worker({ pool: 'processes', concurrency: 1, optimization: 'throughput' })
    const harmless = client.remote<number[], number>('add')
    const before = await harmless.delayMany(Array.from({ length: 20 }, (_, i) => [i, 1]))
    const culprit = await call('crash', 9)
    const after = await harmless.delayMany(Array.from({ length: 20 }, (_, i) => [i, 2]))

    const sums = await Promise.all([...before, ...after].map((result) => result.get({ timeout: '25s' })))

    expect(sums).toEqual([
      ...Array.from({ length: 20 }, (_, i) => i + 1),
      ...Array.from({ length: 20 }, (_, i) => i + 2),
    ])
    expect(await culprit.get({ timeout: '25s' }).catch((error) => error)).toMatchObject({ type: 'WorkerLostError' })
    expect(await client.deadLetters.list()).toMatchObject([{ id: culprit.id }])
  })

  it('finds the call that crashes in a batch, and runs the others', async () => {
    await worker({ pool: 'processes', concurrency: 2 })
    const results = await client.remote<[string], { of: number }>('gathered').delayMany([['a'], ['b'], ['kill'], ['d']])

    const [a, b, kill, d] = await Promise.allSettled(results.map((result) => result.get({ timeout: '25s' })))

    for (const one of [a, b, d]) expect(one).toMatchObject({ value: { of: 1, deliveries: 2 } })
    expect(kill).toMatchObject({
      reason: { code: 'TASK_FAILED', message: expect.stringContaining('workers were lost') },
    })
    expect(await client.deadLetters.list()).toMatchObject([{ id: results[2]?.id, reason: 'worker lost' }])
  })

  it('leaves no children behind when it is killed', async () => {
    const program = await worker({ pool: 'processes', concurrency: 2 })
    const children = pidsOf(program)
    expect(children.map(isAlive)).toEqual([true, true])

    program.kill('SIGKILL')

    await until(() => !children.some(isAlive))
  })

  it('does not let a signal to its children alone interrupt their tasks', async () => {
    const program = await worker({ pool: 'processes', concurrency: 1 })
    const result = await call('busy', 300)
    await until(() => runs().length === 1)

    for (const pid of pidsOf(program)) for (const signal of ['SIGINT', 'SIGTERM']) process.kill(pid, signal)

    expect(await result.get({ timeout: '25s' })).toBe(pidsOf(program)[0])
    expect(runs()).toHaveLength(1)
  })

  it('runs every task to its end while its children are killed at random', {
    timeout: killsForMs + 45_000,
  }, async () => {
    const program = await worker({ pool: 'processes', concurrency: 2 })
    const busy = client.remote<number[], number>('busy')
    const children = (): number[] =>
      [
        ...new Set(
          runs()
            .slice(-10)
            .map((run) => Number(run.split(' ')[1])),
        ),
      ].filter(isAlive)
    const results: AsyncResult<number>[] = []
    const settled: Promise<PromiseSettledResult<number>[]>[] = []
    const killed: number[] = []
    let levelKb = 0

    const end = performance.now() + killsForMs
    while (performance.now() < end) {
      if (results.length < runs().length + 100) {
        const more = await busy.delayMany(Array.from({ length: 100 }, () => [5]))
        results.push(...more)
        settled.push(Promise.allSettled(more.map((result) => result.get({ timeout: '40s' }))))
      }
      const [pid] = children().sort(() => Math.random() - 0.5)
      if (pid !== undefined && process.kill(pid, 'SIGKILL')) killed.push(pid)
      if (killed.length === 10) levelKb = residentKb(program.pid)
      await setTimeout(killEveryMs)
    }
    const outcomes = (await Promise.all(settled)).flat()

    expect(killed.length).toBeGreaterThan(killsForMs / killEveryMs / 3)
    const lost = outcomes.filter(({ status }) => status === 'rejected').length
    expect(await client.deadLetters.list({ limit: 1_000 })).toHaveLength(lost)
    expect(lost).toBeLessThan(outcomes.length / 40)
    expect(await client.broker.depth('celery')).toEqual({ ready: 0, delayed: 0, inFlight: 0 })
    // Two at once, as in the beginning: no slot was lost.
    const both = await busy.delayMany([[1_000], [1_000]])
    expect(new Set(await Promise.all(both.map((result) => result.get({ timeout: '25s' })))).size).toBe(2)
    expect(residentKb(program.pid) - levelKb).toBeLessThan(40 * 1_024)
  })
})

describe('a worker with several pools', () => {
  it('serves tasks of each in its own place at the same time', async () => {
    const program = await worker({ pool: 'async', pools: { processes: 1, threads: 1 } })

    const [loop, child, thread] = (await Promise.all([get('inLoop'), get('inProcess'), get('inThread')])) as {
      pid: number
    }[]

    expect(loop?.pid).toBe(program.pid)
    expect(thread?.pid).toBe(program.pid)
    expect(child?.pid).not.toBe(program.pid)
  })

  it('keeps the event loop free for its tasks while all children are taken', async () => {
    await worker({ pool: 'async', concurrency: 10, pools: { processes: 1 } })
    const slow = await Promise.all(Array.from({ length: 30 }, () => call('inProcess')))

    expect(await get('inLoop')).toMatchObject({ pid: expect.any(Number) })
    await Promise.all(slow.map((result) => result.get({ timeout: '25s' })))
  })
})
