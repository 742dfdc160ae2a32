/** `celeriac beat`, `celeriac schedule` and `celeriac worker -B`, as people run them. */
import { afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Ran, Workshop } from '../cli/workshop.ts'
import { buildPackage } from './processes.ts'

const app = `
import { appendFileSync } from 'node:fs'
import { Celeriac, every } from 'celeriac'

export const app = new Celeriac('shop', { broker: 'sqlite://tasks.db', results: true })
app.task('note', (line: string) => appendFileSync('notes.txt', line + '\\n'))
app.beat({ often: { task: 'note', schedule: every('500ms'), args: ['often'] } })
`

let shop: Workshop

beforeAll(buildPackage, 120_000)

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': app }).install()
})

afterEach(() => shop.close())

async function schedule(...args: string[]): Promise<Ran> {
  return shop.run('schedule', ...args, '-A', 'app.ts')
}

async function listed(): Promise<Record<string, unknown>[]> {
  const { code, stdout, stderr } = await schedule('list', '--json')
  expect(code, stderr).toBe(0)
  return JSON.parse(stdout) as Record<string, unknown>[]
}

describe('celeriac schedule', () => {
  it('adds entries of every kind, shows, holds, runs and removes them', async () => {
    for (const [name, ...when] of [
      ['nightly', '--cron', '30 3 * * mon-fri', '--timezone', 'Europe/Berlin'],
      ['poll', '--every', '10s', '--overlap', 'skip', '--catch-up', 'all', '--jitter', '2s'],
      ['dusk', '--solar', 'sunset,52.5,13.4'],
      ['once', '--at', '2090-01-31T08:00:00+01:00'],
    ]) {
      const added = await schedule('add', String(name), '--task', 'note', '--args', `["${name}"]`, ...when)
      expect(added.code, added.stderr).toBe(0)
    }

    const entries = await listed()
    expect(entries.map(({ name }) => name)).toEqual(['dusk', 'nightly', 'once', 'poll'])
    expect(entries.map((entry) => entry.schedule)).toEqual([
      expect.stringContaining('sunset'),
      expect.stringContaining('Europe/Berlin'),
      expect.stringContaining('2090-01-31'),
      'every 10 seconds',
    ])
    expect(entries[3]).toMatchObject({ overlap: 'skip', catchUp: 'all', jitterMs: 2_000, source: 'api' })
    expect((await schedule('list')).stdout).toMatch(/NAME +TASK +NEXT[\s\S]*nightly/)
    expect((await schedule('show', 'nightly')).stdout).toContain('Europe/Berlin')

    expect((await schedule('pause', 'poll')).code).toBe(0)
    expect((await listed())[3]).toMatchObject({ isPaused: true, nextAt: null })
    expect((await schedule('resume', 'poll')).code).toBe(0)
    expect((await schedule('run', 'poll')).code).toBe(0)
    expect((await listed())[3]).toMatchObject({ isPaused: false, sent: 1 })
    expect((await schedule('remove', 'poll')).code).toBe(2)
    expect((await schedule('remove', 'poll', '--yes')).code).toBe(0)
    expect((await listed()).map(({ name }) => name)).toEqual(['dusk', 'nightly', 'once'])
  }, 60_000)

  it('says what is wrong, and what would be right', async () => {
    await schedule('add', 'nightly', '--task', 'note', '--cron', '0 3 * * *')
    const wrong = async (...args: string[]) => {
      const { code, stderr } = await schedule(...args)
      return `${code} ${stderr.trim()}`
    }

    expect(await wrong('show', 'nihgtly')).toMatch(/^1 .*did you mean 'nightly'/)
    expect(await wrong('add', 'bad', '--task', 'note', '--cron', '0 25 * * *')).toMatch(/^[12] .*25/)
    expect(await wrong('add', 'bad', '--task', 'note', '--every', '10s', '--cron', '* * * * *')).toMatch(/^2 /)
    expect(await wrong('add', 'bad', '--every', '10s')).toMatch(/^2 .*--task/)
    expect(await wrong('add', 'bad', '--task', 'note', '--at', '2001-01-01T00:00:00Z')).toMatch(/^[12] .*never be sent/)
  }, 60_000)

  it('takes Celery’s beat_schedule from a file, and tells what it cannot take', async () => {
    const schedules = { tidy: { task: 'note', schedule: 30.0, args: ['tidy'] } }
    shop.write('schedule.json', JSON.stringify({ beat_schedule: schedules }))

    const added = await schedule('add', '--file', 'schedule.json')

    expect(added.code, added.stderr).toBe(0)
    expect(await listed()).toMatchObject([{ name: 'tidy', schedule: 'every 30 seconds' }])
    shop.write('schedule.json', JSON.stringify({ tidy: { task: 'note', schedule: { strange: 1 } } }))
    const refused = await schedule('add', '--file', 'schedule.json')
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('tidy')
  }, 60_000)
})

describe('a beat', () => {
  it('sends what is due, as a process of its own or within a worker, and stops when it is told', async () => {
    const beat = shop.start('beat', '-A', 'app.ts')
    await beat.says(/the beat leads/)
    const worker = shop.start('worker', '-A', 'app.ts', '-B')
    await worker.says(/note succeeded[\s\S]*note succeeded/)

    beat.process.kill('SIGTERM')
    expect(await beat.ended).toBe(0)
    await worker.says(/the beat leads/)

    const [entry] = await listed()
    expect(entry).toMatchObject({ name: 'often', source: 'code' })
    expect(Number(entry?.sent)).toBeGreaterThan(1)
    worker.process.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
  }, 60_000)
})
