import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/drivers/sqlite/binding.ts'
import { demoApp, Workshop } from '../cli/workshop.ts'

let shop: Workshop

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': demoApp }).install()
})

afterEach(() => shop.close())

interface Letter {
  readonly id: string
}

interface QueueLine {
  readonly queue: string
  readonly ready: number
  readonly paused: boolean
}

const queueNamed = async (name: string): Promise<QueueLine | undefined> =>
  (await shop.json<QueueLine[]>('queue', 'list', '-A', 'app.ts')).find(({ queue }) => queue === name)

/** A chain whose second step was given up, and that step's dead letter. */
async function failedPipeline(): Promise<{ last: string; letter: string }> {
  const { result: last } = await shop.json<{ result: string }>(
    'call',
    'pipeline',
    '-A',
    'app.ts',
    '--args',
    '[41]',
    '--wait',
  )
  await expect
    .poll(() => shop.json<Letter[]>('dlq', 'list', '-A', 'app.ts'), { timeout: 15_000, interval: 200 })
    .toHaveLength(1)
  const [letter] = await shop.json<Letter[]>('dlq', 'list', '-A', 'app.ts')
  return { last, letter: letter?.id ?? '' }
}

describe('a broker that cannot be used', () => {
  it('with an unknown scheme is answered with the known ones, without the password', async () => {
    const { code, stderr } = await shop.run('queue', 'list', '-b', 'sqlit://me:secret@host/x')

    expect(code).toBe(1)
    expect(stderr).toContain("no driver serves 'sqlit://'")
    expect(stderr).toContain("did you mean 'sqlite://'?")
    expect(stderr).toContain('(BROKER_UNKNOWN_SCHEME)')
    expect(stderr).not.toContain('secret')
  })

  it('whose file is corrupt is answered in one line, and the file is left alone', async () => {
    const content = 'this is a letter, not a database. '.repeat(40)
    shop.write('tasks.db', content)

    const { code, stderr } = await shop.run('worker', '-A', 'app.ts')

    expect(code).toBe(1)
    expect(stderr).toMatch(
      /^celeriac: .*tasks\.db is not a readable SQLite database.*restore a backup.* \(STORAGE_CORRUPT\)\n$/,
    )
    expect(readFileSync(join(shop.folder, 'tasks.db'), 'utf8')).toBe(content)
  })

  it('whose file is locked is waited for, then answered with what to look for', { timeout: 40_000 }, async () => {
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]')
    const db = openDatabase(join(shop.folder, 'tasks.db'))
    db.exec('BEGIN EXCLUSIVE')

    const { code, stderr } = await shop.run('worker', '-A', 'app.ts')
    db.exec('ROLLBACK')
    db.close()

    expect(code).toBe(1)
    expect(stderr).toContain('celeriac: waiting for sqlite://tasks.db')
    expect(stderr).toMatch(/another process holds a lock on .*open database shell.* \(STORAGE_BUSY\)/)
  })

  it('whose file is not there is not made by those who only look', async () => {
    const { code, stderr } = await shop.run('queue', 'list', '-b', 'sqlite://tusks.db')

    expect(code).toBe(1)
    expect(stderr).toContain(`there is no database ${join(shop.folder, 'tusks.db')}`)
    expect(existsSync(join(shop.folder, 'tusks.db'))).toBe(false)
  })

  it('is asked for when none is named', async () => {
    const { code, stderr } = await shop.run('queue', 'list')

    expect(code).toBe(2)
    expect(stderr).toContain('which broker? Give -A app.ts, or -b sqlite://tasks.db, or set CELERIAC_BROKER_URL')
  })
})

describe('wrong usage', () => {
  it.each([
    [['wroker'], 'Did you mean worker?'],
    [['queue', 'lst'], 'Did you mean list?'],
    [['worker', '-A', 'app.ts', '--quues', 'a'], 'Did you mean --queues?'],
    [['worker', '-A', 'app.ts', '-l', 'inof'], "Did you mean 'info'? It takes debug, info, warn, error."],
    [['worker', '-A', 'app.ts', '-c', '0'], 'It takes a whole number of at least 1.'],
    [['worker', '-A', 'app.ts', '--lease', '3x'], "'500ms', '30s'"],
    [['call', 'add', '-A', 'app.ts', '--args', '[1,'], 'It is not JSON'],
    [['call', 'add', '-A', 'app.ts', '--args', '{}'], 'It takes a JSON array'],
    [['call', 'add', '-A', 'app.ts', '-b', 'x.db'], 'give either -A or -b'],
    [['dlq', 'redrive', '-b', 'x.db', '--rate', 'fast', '--all'], "'10/s'"],
  ])('celeriac %j is answered with what is right, and exit code 2', async (args, answer) => {
    const { code, stdout, stderr } = await shop.run(...args)

    expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
    expect(stderr).toContain(answer)
  })

  it('is an error object on stderr with --json', async () => {
    const { stderr } = await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1,', '--json')

    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'CONFIG_INVALID' } })
  })
})

describe('celeriac call', () => {
  it('refuses a task the app does not have, with the nearest one', async () => {
    const { code, stderr } = await shop.run('call', 'ad', '-A', 'app.ts')

    expect(code).toBe(1)
    expect(stderr).toBe("celeriac: no task is named 'ad'; did you mean 'add'? (TASK_UNKNOWN)\n")
  })

  it('with a URL alone sends the task by its name', async () => {
    await shop.worker()

    const args = ['--args', '[3, 4]', '--id', 'mine', '--wait', '20s']
    const called = await shop.json('call', 'add', '-b', 'sqlite://tasks.db', ...args)

    expect(called).toEqual({ id: 'mine', task: 'add', state: 'SUCCESS', result: 7 })
  })

  it('--wait fails with the error of the task', async () => {
    await shop.worker()

    const { code, stderr } = await shop.run('call', 'small', '-A', 'app.ts', '--args', '[99]', '--wait')

    expect(code).toBe(1)
    expect(stderr).toMatch(/^celeriac: the task failed: TypeError: 99 is not small \(TASK_FAILED\)\n {4}at .*app\.ts/)
  })
})

describe('celeriac result', () => {
  it('shows value, times and attempts; --tree draws the pipeline and marks the task', async () => {
    await shop.worker('-n', 'w1')
    const { last, letter } = await failedPipeline()

    const { stdout: one } = await shop.run('result', letter, '-A', 'app.ts')
    const { stdout: tree } = await shop.run('result', last, '-A', 'app.ts', '--tree')
    const root = await shop.json('result', last, '-A', 'app.ts', '--tree')

    expect(one).toMatch(/state +FAILURE/)
    expect(one).toMatch(/error +TypeError: 42 is not small/)
    expect(one).toMatch(/traceback +at .*app\.ts/)
    expect(tree).toMatch(
      /^pipeline +SUCCESS.*\n│ .*\n└─ add +SUCCESS.*\n {3}│ .*\n {3}└─ small +FAILURE.*\n {6}│ .*\n {6}│ +TypeError: 42 is not small\n {6}└─ double .*◀/,
    )
    expect(root).toMatchObject({ name: 'pipeline', children: [{ name: 'add', children: [{ name: 'small' }] }] })
  })

  it('does not know an id that was never sent', async () => {
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]')

    const { code, stdout, stderr } = await shop.run('result', 'nobody', '-A', 'app.ts')

    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain("nothing is known of the id 'nobody'")
  })
})

describe('celeriac queue', () => {
  it('pause holds a queue back, resume lets it go on', async () => {
    await shop.worker()
    await shop.run('queue', 'pause', 'fragile', '-A', 'app.ts')
    const { id } = await shop.json<{ id: string }>('call', 'small', '-A', 'app.ts', '--args', '[1]')
    // A task sent later to another queue is done, so the worker has passed this one over.
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]', '--wait')
    expect(await queueNamed('fragile')).toMatchObject({ ready: 1, paused: true })

    await shop.run('queue', 'resume', 'fragile', '-A', 'app.ts')

    const { code, stdout } = await shop.run('result', id, '-A', 'app.ts', '--wait=20s')
    expect({ code, state: /state +(\w+)/.exec(stdout)?.[1] }).toEqual({ code: 0, state: 'SUCCESS' })
  })

  it('purge wants --yes where nobody can be asked, and then drops what waits', async () => {
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]')

    const refused = await shop.run('queue', 'purge', 'celery', '-A', 'app.ts')
    const purged = await shop.json('queue', 'purge', 'celery', '-A', 'app.ts', '--yes')

    expect(refused).toMatchObject({ code: 2, stderr: expect.stringContaining('--yes') })
    expect(purged).toEqual({ queue: 'celery', purged: 1 })
  })

  it('does not take a queue that does not exist', async () => {
    await shop.run('call', 'small', '-A', 'app.ts', '--args', '[1]')

    const { code, stderr } = await shop.run('queue', 'pause', 'fragil', '-b', 'sqlite://tasks.db')

    expect(code).toBe(1)
    expect(stderr).toContain("there is no queue 'fragil'; did you mean 'fragile'?")
  })
})

describe('celeriac dlq', () => {
  it('lists and shows what was given up, and a redriven letter goes on with its chain', async () => {
    await shop.worker()
    const { last, letter } = await failedPipeline()

    const { stdout: list } = await shop.run('dlq', 'list', '-A', 'app.ts')
    const { stdout: shown } = await shop.run('dlq', 'show', letter, '-A', 'app.ts')
    const redriven = await shop.json('dlq', 'redrive', letter, '-A', 'app.ts', '--args', '[4]')

    expect(list).toMatch(new RegExp(`^fragile\\nID .*\\n${letter}  small .* TypeError: 42 is not small\\n$`))
    expect(shown).toMatch(/args +\[42\]/)
    expect(shown).toMatch(/then +double/)
    expect(redriven).toEqual({ redriven: 1 })
    await expect
      .poll(async () => (await shop.json<{ result: unknown }>('result', last, '-A', 'app.ts')).result, {
        timeout: 15_000,
        interval: 200,
      })
      .toBe(8)
  })

  it('drops those that match, with --yes', async () => {
    await shop.worker()
    for (const x of [11, 12, 13]) {
      await shop.run('call', 'small', '-A', 'app.ts', '--args', `[${x}]`, '--wait')
    }

    const dropped = await shop.json('dlq', 'drop', '--all', '--match', '12 is not', '--yes', '-A', 'app.ts')
    const left = await shop.json<Letter[]>('dlq', 'list', 'fragile', '-A', 'app.ts')

    expect(dropped).toEqual({ dropped: 1 })
    expect(left).toMatchObject([{ args: [11] }, { args: [13] }])
  })

  it('redrives no faster than --rate', async () => {
    await shop.worker()
    for (const x of [11, 12, 13]) await shop.run('call', 'small', '-A', 'app.ts', '--args', `[${x}]`, '--wait')

    const startedMs = performance.now()
    const redriven = await shop.json('dlq', 'redrive', '--queue', 'fragile', '--rate', '3/s', '-A', 'app.ts')

    expect(redriven).toEqual({ redriven: 3 })
    expect(performance.now() - startedMs).toBeGreaterThan(900)
  })

  it('fails for an id that no dead letter has', async () => {
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]')

    const { code, stderr } = await shop.run('dlq', 'redrive', 'nobody', '-A', 'app.ts')

    expect(code).toBe(1)
    expect(stderr).toContain('no dead letter has the id nobody')
  })
})

describe('celeriac doctor', () => {
  it('finds what stands still, and says what to do', async () => {
    await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]')
    await shop.run('queue', 'pause', 'fragile', '-A', 'app.ts')

    const { code, stdout } = await shop.run('doctor', '-A', 'app.ts')

    expect(code).toBe(0)
    expect(stdout).toMatch(/ok +node/)
    expect(stdout).toMatch(/ok +sqlite +SQLite 3\./)
    expect(stdout).toMatch(/warn +queues +'celery' has 1 message and no worker\n +→ start one: celeriac worker/)
    expect(stdout).toMatch(/warn +queues +'fragile' is paused/)
  })

  it('fails for a broker that does not open', async () => {
    shop.write('tasks.db', 'this is a letter, not a database. '.repeat(40))

    const { code, stdout } = await shop.run('doctor', '-A', 'app.ts', '--json')

    expect(code).toBe(1)
    expect(JSON.parse(stdout)).toMatchObject({
      ok: false,
      findings: expect.arrayContaining([expect.objectContaining({ level: 'error', about: 'broker' })]),
    })
  })
})
