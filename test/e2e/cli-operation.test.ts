/** Workers as those meet them who run them: other flags, signals, pid files, health, and restarts while one develops. */
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { Celeriac } from 'celeriac'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { eventTopic } from '../../src/broker/bus.ts'
import { demoApp, type Running, Workshop } from '../cli/workshop.ts'
import { buildPackage } from './processes.ts'

const patience = { timeout: 25_000 }

let shop: Workshop
let app: Celeriac

beforeAll(buildPackage, 120_000)

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': demoApp }).install()
  app = new Celeriac('observer', { broker: `sqlite://${join(shop.folder, 'tasks.db')}`, results: true })
})

afterEach(async () => {
  await app.close()
  await shop.close()
})

const appears = (name: string): PromiseLike<void> =>
  expect.poll(() => existsSync(join(shop.folder, name)), patience).toBe(true)

const readyAgain = (worker: Running, times: number): PromiseLike<void> =>
  expect.poll(() => worker.said().match(/\bready\b/g)?.length, patience).toBe(times)

const sum = async (): Promise<unknown> => {
  const result = await app.remote<[number, number], number>('add').delay(1, 2)
  return result.get({ timeout: '25s' })
}

const waiting = async (queue: string): Promise<number | undefined> => {
  const queues = await shop.json<{ queue: string; ready: number }[]>('queue', 'list', '-A', 'app.ts')
  return queues.find((info) => info.queue === queue)?.ready
}

describe('the fleet', () => {
  it('hears of every task from a worker with -E, whose pool begins at the least of --autoscale', async () => {
    const topics: string[] = []
    await (await app.bus()).subscribe([`${eventTopic}.task.#`], ({ topic }) => topics.push(topic))
    await shop.worker('-n', 'w1@host', '-E', '--autoscale', '4,2', '--without-mingle')

    const stats = await app.control.inspect({ destination: ['w1@host'], timeout: '10s' }).stats()
    await sum()

    expect(stats).toMatchObject({ 'w1@host': { pool: { 'max-concurrency': 2 } } })
    await expect.poll(() => topics.length, patience).toBeGreaterThan(0)
  })

  it('neither sees nor reaches a worker without remote control, which works all the same', async () => {
    await shop.worker('--no-remote-control')

    expect(await sum()).toBe(3)
    expect(await app.control.ping({ timeout: '300ms' })).toEqual({})
  })

  it('can shut a worker down, which ends as after a signal', async () => {
    const worker = await shop.worker('-n', 'w1@host')

    await app.control.broadcast('shutdown', {}, { destination: ['w1@host'] })

    expect(await worker.ended).toBe(0)
    expect(worker.said()).toMatch(/told to stop by remote control\n.*stopping\n.*stopped/)
  })
})

describe('a signal', () => {
  it('SIGQUIT aborts at once what runs, and gives it back', async () => {
    const worker = await shop.worker('--shutdown-timeout', '1h')
    await app.remote<[string], string>('hold').delay('a')
    await appears('a.running')

    worker.process.kill('SIGQUIT')

    expect(await worker.ended).toBe(0)
    expect(worker.said()).toContain('aborting 1 task')
    expect(worker.said()).not.toContain('may end')
    expect(await waiting('celery')).toBe(1)
  })

  it('SIGHUP lets the running task end, then starts again with what the module says now, under the same pid', async () => {
    const worker = await shop.worker('--pidfile', 'worker.pid')
    const held = await app.remote<[string], string>('hold').delay('b')
    await appears('b.running')
    shop.write('app.ts', demoApp.replace('x + y', 'x + y + 100'))

    worker.process.kill('SIGHUP')
    await worker.says(/restarting: 1 task may end/)
    shop.write('b.end', '')
    await readyAgain(worker, 2)

    expect(await held.get({ timeout: '25s' })).toBe('held')
    expect(await sum()).toBe(103)
    expect(readFileSync(join(shop.folder, 'worker.pid'), 'utf8')).toBe(`${worker.process.pid}\n`)

    worker.process.kill('SIGHUP')
    await readyAgain(worker, 3)
    worker.process.kill('SIGTERM')

    expect(await worker.ended).toBe(0)
    expect(existsSync(join(shop.folder, 'worker.pid'))).toBe(false)
  })

  it('SIGTERM after SIGHUP is heeded: it does not start again', async () => {
    const worker = await shop.worker()
    await app.remote<[string], string>('hold').delay('f')
    await appears('f.running')

    worker.process.kill('SIGHUP')
    await worker.says(/restarting/)
    worker.process.kill('SIGTERM')
    await worker.says(/it will not start again/)
    shop.write('f.end', '')

    expect(await worker.ended).toBe(0)
    expect(worker.said().match(/\bready\b/g)).toHaveLength(1)
  })

  it('after SIGHUP fails the process where the module does not load any more', async () => {
    const worker = await shop.worker()
    shop.write('app.ts', 'export const app = = 1')

    worker.process.kill('SIGHUP')

    expect(await worker.ended).toBe(1)
    expect(worker.said()).toContain('(APP_NOT_FOUND)')
  })
})

describe('--pidfile', () => {
  it('names the process while it runs, and keeps a second one from starting', async () => {
    const worker = await shop.worker('--pidfile', 'worker.pid')

    const second = await shop.run('worker', '-A', 'app.ts', '--pidfile', 'worker.pid')

    expect(second.code).toBe(1)
    expect(second.stderr).toBe(
      `celeriac: the pid file worker.pid names process ${worker.process.pid}, which is running; ` +
        'end it first, or remove the file if that is no worker (CONFIG_INVALID)\n',
    )
    expect(readFileSync(join(shop.folder, 'worker.pid'), 'utf8')).toBe(`${worker.process.pid}\n`)
  })

  it('is taken over from a process that is gone, and removed at the end', async () => {
    const gone = await shop.worker('--pidfile', 'worker.pid')
    gone.process.kill('SIGKILL')
    await gone.ended

    const worker = await shop.worker('--pidfile', 'worker.pid')
    expect(readFileSync(join(shop.folder, 'worker.pid'), 'utf8')).toBe(`${worker.process.pid}\n`)
    worker.process.kill('SIGTERM')
    await worker.ended

    expect(existsSync(join(shop.folder, 'worker.pid'))).toBe(false)
  })
})

describe('--http-port', () => {
  const urlOf = (worker: Running): string => /http=(http:\/\/\S+)/.exec(worker.said())?.[1] ?? ''

  it('tells whether the worker is well, and what it has done', async () => {
    const worker = await shop.worker('-n', 'w1@host', '--http-port', '0')
    const url = urlOf(worker)
    await sum()

    const health = await fetch(`${url}/healthz`)
    const metrics = await fetch(`${url}/metrics`)

    expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/)
    expect(health.status).toBe(200)
    expect(await health.json()).toMatchObject({ ok: true, worker: 'w1@host', running: 0, processed: 1 })
    expect(metrics.headers.get('content-type')).toContain('version=0.0.4')
    const text = await metrics.text()
    expect(text).toMatch(/^celeriac_worker_tasks_processed_total\{task="add"\} 1$/m)
    expect(text).toMatch(/^celeriac_worker_tasks_processed_total\{task="hold"\} 0$/m)
    expect(text).toMatch(/^celeriac_worker_pool_size\{pool="async"\} 100$/m)
    expect(text).toMatch(/^celeriac_worker_event_loop_lag_seconds\{quantile="0\.99"\} [\d.e-]+$/m)
    expect((await fetch(`${url}/elsewhere`)).status).toBe(404)
    expect((await fetch(`${url}/healthz`, { method: 'POST' })).status).toBe(405)
  })

  it('says that a worker is not well that takes no more tasks', async () => {
    const worker = await shop.worker('--http-port', '127.0.0.1:0')
    await app.remote<[string], string>('hold').delay('c')
    await appears('c.running')

    worker.process.kill('SIGTERM')
    await worker.says(/stopping/)
    const { status } = await fetch(`${urlOf(worker)}/healthz`)
    shop.write('c.end', '')

    expect(status).toBe(503)
    expect(await worker.ended).toBe(0)
  })

  it('refuses to start on a port that is taken, in one line', async () => {
    const other = createServer()
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    const { port } = other.address() as AddressInfo

    const { code, stderr } = await shop.run('worker', '-A', 'app.ts', '--http-port', String(port))
    other.close()

    expect(code).toBe(1)
    expect(stderr).toBe(
      `celeriac: port ${port} of 127.0.0.1 cannot be used for --http-port: ` +
        'another program has it; give another, or 0 for any that is free (CONFIG_INVALID)\n',
    )
  })
})

describe('celeriac dev', () => {
  it('starts again at a change of a module, waits for one that does not load, and ends at a signal', async () => {
    mkdirSync(join(shop.folder, 'lib'))
    shop.write('lib/more.ts', 'export const more = 0\n')
    const code = `import { more } from './lib/more.ts'\n${demoApp.replace('x + y', 'x + y + more')}`
    shop.write('app.ts', code)
    const dev = shop.start('dev', '-A', 'app.ts', '--pidfile', 'dev.pid')
    await readyAgain(dev, 1)
    expect(await sum()).toBe(3)

    shop.write('lib/more.ts', 'export const more = 10\n')
    await readyAgain(dev, 2)
    expect(await sum()).toBe(13)
    expect(dev.said()).toContain('more.ts has changed; starting again')

    shop.write('lib/more.ts', 'export const more = = 20\n')
    await dev.says(/it starts again at the next change/)
    expect(dev.said()).toContain('app.ts does not load')
    shop.write('lib/more.ts', 'export const more = 20\n')
    await readyAgain(dev, 3)
    expect(await sum()).toBe(23)
    expect(readFileSync(join(shop.folder, 'dev.pid'), 'utf8')).toBe(`${dev.process.pid}\n`)

    dev.process.kill('SIGINT')
    expect(await dev.ended).toBe(0)
  })

  it('does not start again for what tasks write', async () => {
    const dev = shop.start('worker', '--reload', '-A', 'app.ts')
    await readyAgain(dev, 1)
    const held = await app.remote<[string], string>('hold').delay('d')
    await appears('d.running')
    shop.write('d.end', '')
    await held.get({ timeout: '25s' })

    dev.process.kill('SIGTERM')

    expect(await dev.ended).toBe(0)
    expect(dev.said()).not.toContain('has changed')
  })

  it('takes its worker along when it is killed', async () => {
    const dev = shop.start('dev', '-A', 'app.ts', '--shutdown-timeout', '1h')
    await readyAgain(dev, 1)
    await app.remote<[string], string>('hold').delay('e')
    await appears('e.running')

    dev.process.kill('SIGKILL')

    await dev.ended
    expect(await waiting('celery')).toBe(1)
  })
})
