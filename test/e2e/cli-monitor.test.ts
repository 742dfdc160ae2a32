import { readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { Celeriac } from 'celeriac'
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { demoApp, type Running, Workshop } from '../cli/workshop.ts'
import { buildPackage } from './processes.ts'

const noteApp = `
import { appendFileSync } from 'node:fs'
import { Celeriac } from 'celeriac'

export const app = new Celeriac('shop', { broker: 'sqlite://tasks.db' })
app.task('note', { bind: true }, (ctx, n: number) => appendFileSync('notes.txt', n + ' ' + ctx.taskId + '\\n'))
`

let shop: Workshop

beforeAll(buildPackage, 120_000)

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': demoApp }).install()
})

afterEach(() => shop.close())

async function urlOf(running: Running): Promise<string> {
  await running.says(/the monitor is at http/)
  return /the monitor is at (http:\S+)/.exec(running.said())?.[1] as string
}

// biome-ignore lint/suspicious/noExplicitAny: tests look at it as they expect it
async function get(url: string, path: string, headers: Record<string, string> = {}): Promise<any> {
  return (await fetch(`${url}/api/v1${path}`, { headers })).json()
}

describe('celeriac monitor', () => {
  it('shows what a worker does, remembers it over a restart, and ends at a signal', async () => {
    const monitor = shop.start('monitor', '-A', 'app.ts', '--port', '0')
    const url = await urlOf(monitor)
    await shop.worker('-E')
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]', '--wait')

    await expect.poll(async () => (await get(url, '/tasks?state=SUCCESS')).tasks, { timeout: 25_000 }).toHaveLength(1)
    expect((await fetch(`${url}/healthz`)).status).toBe(200)
    expect(await (await fetch(url, { headers: { accept: 'text/html' } })).text()).toMatch(/<title>/)
    monitor.process.kill('SIGINT')
    expect(await monitor.ended).toBe(0)
    expect(statSync(join(shop.folder, 'celeriac-monitor.db')).mode & 0o777).toBe(0o600)

    const again = await urlOf(shop.start('monitor', '-b', 'sqlite://tasks.db', '--port', '0'))
    expect((await get(again, '/tasks')).tasks).toMatchObject([{ name: 'add', state: 'SUCCESS', result: '3' }])
  })

  it('goes on with what it does to many tasks after it was killed', { timeout: 90_000 }, async () => {
    shop.write('app.ts', noteApp)
    const monitor = shop.start('monitor', '-A', 'app.ts', '--port', '0')
    const url = await urlOf(monitor)
    await shop.worker('-E')
    await using app = new Celeriac('shop', { broker: `sqlite://${join(shop.folder, 'tasks.db')}` })
    await app.remote('note').delayMany(Array.from({ length: 40 }, (_, n) => [n]))
    const succeeded = async () => (await get(url, '/tasks/count?state=SUCCESS')).count
    await expect.poll(succeeded, { timeout: 25_000 }).toBe(40)
    await fetch(`${url}/api/v1/tasks/bulk`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ action: 'retry', filter: {}, perSecond: 10 }),
    })
    await expect.poll(async () => (await get(url, '/jobs'))[0].done, { timeout: 25_000 }).toBeGreaterThan(5)

    monitor.process.kill('SIGKILL')
    await monitor.ended
    const again = await urlOf(shop.start('monitor', '-A', 'app.ts', '--port', '0'))

    const [job] = await get(again, '/jobs')
    expect(job).toMatchObject({ state: 'running', total: 40 })
    expect(job.done).toBeLessThan(40)
    const jobNow = () => get(again, `/jobs/${job.id}`)
    await expect.poll(jobNow, { timeout: 25_000 }).toMatchObject({ state: 'done', done: 40, failed: 0 })
    const notes = () => readFileSync(join(shop.folder, 'notes.txt'), 'utf8').trim().split('\n')
    await expect.poll(() => new Set(notes()).size, { timeout: 25_000 }).toBe(80)
  })

  it('asks for users that were added to its file', async () => {
    const { stdout: token } = await shop.run('monitor', 'user', 'users.txt', 'bot', '--role', 'viewer', '--token')
    const flags = ['--port', '0', '--host', '0.0.0.0', '--users', 'users.txt', '--db', ':memory:']

    const url = await urlOf(shop.start('monitor', '-A', 'app.ts', ...flags))

    expect((await fetch(`${url}/api/v1/me`)).status).toBe(401)
    const authorization = `Bearer ${token.trim()}`
    expect(await get(url, '/me', { authorization })).toMatchObject({ name: 'bot', role: 'viewer' })
  })

  it('says in a line what keeps it from starting', async () => {
    const url = await urlOf(shop.start('monitor', '-A', 'app.ts', '--port', '0'))
    const { port } = new URL(url)

    const failures = await Promise.all([
      shop.run('monitor', '-A', 'app.ts', '--port', '0'),
      shop.run('monitor', '-A', 'app.ts', '--db', ':memory:', '--port', port),
      shop.run('monitor', '-A', 'app.ts', '--db', ':memory:', '--host', '0.0.0.0'),
      shop.run('monitor', '-b', 'redis://127.0.0.1:1', '--db', ':memory:'),
      shop.run('monitor', '-A', 'app.ts', '--users', 'nobody.txt'),
    ])

    expect(failures[0]?.stderr).toMatch(/^celeriac: another monitor uses \S+; end it, or [^;]+ \(STORAGE_BUSY\)\n$/)
    expect(failures.map(({ code }) => code)).toEqual([1, 1, 1, 1, 1])
    expect(failures.map(({ stderr }) => /\((\w+)\)/.exec(stderr)?.[1])).toEqual([
      'STORAGE_BUSY',
      'CONFIG_INVALID',
      'CONFIG_INVALID',
      'BROKER_UNAVAILABLE',
      'CONFIG_INVALID',
    ])
  })
})

describe('celeriac dev', () => {
  it('is a worker, a beat and a monitor, and starts again with a change', async () => {
    const scheduled = `${demoApp}\napp.beat({ often: { task: small, schedule: { every: '200ms' }, args: [1] } })\n`
    shop.write('app.ts', scheduled)
    const dev = shop.start('dev', '-A', 'app.ts', '--monitor-port', '0')
    const url = await urlOf(dev)

    await expect
      .poll(async () => (await get(url, '/tasks?name=small&state=SUCCESS')).tasks.length, { timeout: 25_000 })
      .toBeGreaterThan(1)
    expect(await get(url, '/schedules')).toMatchObject([{ name: 'often', task: 'small' }])
    shop.write('app.ts', `${scheduled}\n// changed\n`)
    await dev.says(/has changed.*the monitor is at http.*ready/s)
    dev.process.kill('SIGINT')
    expect(await dev.ended).toBe(0)
  })
})
