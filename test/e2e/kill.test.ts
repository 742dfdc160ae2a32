import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Celeriac, chord } from 'celeriac'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { buildPackage, hears, newFolder, type Program, start, until } from './processes.ts'

beforeAll(buildPackage, 120_000)

let observer: Celeriac | undefined

afterEach(async () => {
  await observer?.close()
})

interface Run {
  readonly event: 'start' | 'end'
  readonly id: string
  readonly pid: number
}

/** A database, and the log its tasks write. */
function newPlace(lease = '1s') {
  const folder = newFolder()
  const [path, log, go] = [join(folder, 'queue.db'), join(folder, 'runs.log'), join(folder, 'go')]
  return { path, log, go, env: { BROKER: `sqlite://${path}`, LEASE: lease, LOG: log, GO: go } }
}

/** A place with this process as an onlooker. */
async function newSite(lease?: string) {
  const { log, go, env } = newPlace(lease)
  const app = new Celeriac('kill', { broker: env.BROKER, results: true })
  observer = await app.open()
  let workers = 0
  return {
    app,
    send: (task: string) => app.remote<[argument?: unknown], string | number>(task),
    letGo: () => writeFileSync(go, ''),
    runs: (): Run[] => {
      const lines = existsSync(log) ? readFileSync(log, 'utf8').split('\n').filter(Boolean) : []
      return lines.map((line) => line.split(' ')).map(([event, id, pid]) => ({ event, id, pid: Number(pid) }) as Run)
    },
    producer: (name: string): Program => start('producer.mjs', [name], env),
    worker: async (concurrency = 1): Promise<Program & { name: string }> => {
      workers += 1
      const name = `w${workers}`
      const worker = start('worker.mjs', [name, concurrency], env)
      await hears(worker, 'ready')
      return Object.assign(worker, { name })
    },
  }
}

describe('workers and producers that are killed, again and again', () => {
  it('bring a chord to its body, with the value of each member once', { timeout: 60_000 }, async () => {
    const site = await newSite('500ms')
    const [work, gather] = [site.send('work'), site.app.remote<[unknown], number[]>('gather')]
    const values = Array.from({ length: 400 }, (_, n) => n)
    const workers = [await site.worker(4), await site.worker(4)]

    const result = await chord(
      values.map((n) => work.s(n)),
      gather.s(),
    ).delay()
    for (let round = 1; round <= 3; round++) {
      await until(() => site.runs().length > round * 150)
      workers.shift()?.kill('SIGKILL')
      workers.push(await site.worker(4))
    }

    expect(await result.get({ timeout: '30s' })).toEqual(values)
    const started = site.runs().filter(({ event, id }) => event === 'start' && id !== result.id)
    expect(started.length).toBeGreaterThan(values.length)
    for (const worker of workers) worker.kill('SIGTERM')
  })

  it('lose no accepted task, and run twice only what was in the hands of a killed worker', {
    timeout: 60_000,
  }, async () => {
    const site = await newSite('500ms')
    const producers = ['a', 'b', 'c'].map(site.producer)
    const workers = await Promise.all([site.worker(8), site.worker(8), site.worker(8)])
    const killed = new Set<number>()

    for (let kill = 1; kill <= 8; kill++) {
      const before = site.runs().length
      await until(() => site.runs().length > before + 40)
      const [victim] = workers.splice(Math.floor(Math.random() * workers.length), 1)
      victim?.kill('SIGKILL')
      killed.add(victim?.pid ?? 0)
      if (kill === 4) producers[2]?.kill('SIGKILL')
      workers.push(await site.worker(8))
    }
    site.letGo()
    await Promise.all(producers.map((producer) => producer.ended))
    await until(async () => {
      const { ready, delayed, inFlight } = await site.app.broker.depth('celery')
      return ready + delayed + inFlight === 0
    }, 30_000)

    const accepted = producers.flatMap((producer) => producer.said.split('\n').filter(Boolean))
    const runs = site.runs()
    const ended = new Set(runs.filter(({ event }) => event === 'end').map(({ id }) => id))
    expect(accepted.length).toBeGreaterThan(200)
    expect(accepted.filter((id) => !ended.has(id))).toEqual([])
    expect(await statesOf(site.app, accepted)).toEqual(new Set(['SUCCESS']))
    expect(await site.app.deadLetters.list()).toEqual([])

    const starts = new Map<string, number[]>()
    for (const { event, id, pid } of runs) if (event === 'start') starts.set(id, [...(starts.get(id) ?? []), pid])
    const doubles = [...starts].filter(([, pids]) => pids.length > 1)
    const unexplained = doubles.filter(([, pids]) => pids.filter((pid) => !killed.has(pid)).length > 1)
    expect(unexplained).toEqual([])
  })
})

async function statesOf(app: Celeriac, ids: readonly string[]): Promise<Set<string | undefined>> {
  const records = (await app.results?.load(ids)) ?? []
  return new Set(records.map((record) => record?.status))
}

describe('a task that blocks the event loop for three leases', () => {
  it('keeps its lease, and is run once', { timeout: 30_000 }, async () => {
    const site = await newSite('400ms')
    const workers = [await site.worker(), await site.worker()]

    const result = await site.send('block').delay(1_200)
    const worker = await result.get({ timeout: '25s' })

    expect(workers.map(({ name }) => name)).toContain(worker)
    expect(await result.info()).toMatchObject({ status: 'SUCCESS', fence: 1 })
    expect(site.runs().map(({ event }) => event)).toEqual(['start', 'end'])
  })
})

describe('a worker that is frozen (SIGSTOP)', () => {
  it('loses its task to another one, whose outcome is not overwritten when it thaws', { timeout: 30_000 }, async () => {
    const site = await newSite('500ms')
    const first = await site.worker()
    const result = await site.send('hold').delay()
    await until(() => site.runs().length === 1)

    first.kill('SIGSTOP')
    const second = await site.worker()
    const value = await result.get({ timeout: '25s' })
    site.letGo()
    first.kill('SIGCONT')
    await hears(first, 'the lease was lost before the outcome was stored; the task will run again')

    expect(value).toBe(`${second.name}, delivery 2`)
    expect(await result.info()).toMatchObject({ result: value, worker: second.name, fence: 2 })
    expect(site.runs().map(({ event, pid }) => [event, pid])).toEqual([
      ['start', first.pid],
      ['start', second.pid],
      ['end', second.pid],
      ['end', first.pid],
    ])
    const next = await site.send('work').delay(7)
    expect(await next.get({ timeout: '25s' })).toBe(7)
  })
})

describe('the tasks of a killed worker', () => {
  it('are with another one when their lease is over', { timeout: 30_000 }, async () => {
    const site = await newSite('1s')
    const victim = await site.worker(3)
    const results = await site.send('hold').delayMany([[], [], []])
    await until(() => site.runs().length === 3)
    const heir = await site.worker(3)

    victim.kill('SIGKILL')
    // Long before a lease of the usual length would be over.
    const values = await Promise.all(results.map((result) => result.get({ timeout: '25s' })))

    expect(values).toEqual([1, 2, 3].map(() => `${heir.name}, delivery 2`))
  })

  it('of one that was told to stop first (SIGTERM) come back at once, and it costs no delivery', {
    timeout: 30_000,
  }, async () => {
    const site = await newSite('30s')
    const leaving = await site.worker(1)
    const held = await site.send('hold').delay()
    await until(() => site.runs().length === 1)
    const waiting = await site.send('work').delay(5)

    leaving.kill('SIGTERM')
    const heir = await site.worker(1)
    expect(await waiting.get({ timeout: '25s' })).toBe(5)
    site.letGo()

    expect(await leaving.ended).toBe(0)
    expect(await held.get({ timeout: '25s' })).toBe(`${leaving.name}, delivery 1`)
    expect(site.runs().filter(({ pid }) => pid === heir.pid)).toHaveLength(2)
  })
})

describe('a short program', () => {
  it('ends by itself once it has closed, and leaves its work in one file', async () => {
    const { path, env } = newPlace()

    const program = start('short.mjs', [], env)

    expect(await program.ended, program.said).toBe(0)
    expect(program.said).toBe('done\n')
    expect(statSync(`${path}-wal`, { throwIfNoEntry: false })?.size ?? 0).toBe(0)
  })
})
