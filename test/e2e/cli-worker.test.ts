import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { openDatabase } from '../../src/drivers/sqlite/binding.ts'
import { demoApp, Workshop } from '../cli/workshop.ts'

let shop: Workshop

beforeEach(async () => {
  shop = await new Workshop({ 'app.ts': demoApp }).install()
})

afterEach(() => shop.close())

const appears = (name: string): PromiseLike<void> =>
  expect.poll(() => existsSync(join(shop.folder, name)), { timeout: 25_000 }).toBe(true)

const queueNamed = async (name: string): Promise<unknown> =>
  (await shop.json<{ queue: string }[]>('queue', 'list', '-A', 'app.ts')).find(({ queue }) => queue === name)

describe('celeriac worker', () => {
  it('loads a TypeScript module, says what it serves, and runs a task that is called', async () => {
    const worker = await shop.worker('-n', 'w1@%h', '-c', '7')

    const { code, stdout } = await shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]', '--wait')

    expect({ code, stdout }).toEqual({ code: 0, stdout: '3\n' })
    expect(worker.said()).toMatch(/broker +sqlite:\/\/tasks\.db/)
    expect(worker.said()).toMatch(/queues +celery, fragile/)
    expect(worker.said()).toMatch(/pool +async, 7 at once/)
    expect(worker.said()).toMatch(/w1@\S+\n/)
    await worker.says(/add succeeded in \d+ ms/)
  })

  it('ends with 0 after the first signal, once the running task is done', async () => {
    const worker = await shop.worker()
    const { id } = await shop.json<{ id: string }>('call', 'hold', '-A', 'app.ts', '--args', '["a"]')
    await appears('a.running')

    // npm passes on a signal that the process has had already: it counts once.
    worker.process.kill('SIGINT')
    worker.process.kill('SIGTERM')
    await worker.says(/stopping: 1 task may end within 30 s/)
    shop.write('a.end', '')

    expect(await worker.ended).toBe(0)
    expect(worker.said()).not.toContain('aborting')
    expect(await shop.json('result', id, '-A', 'app.ts')).toMatchObject({ status: 'SUCCESS', result: 'held' })
  })

  it('aborts at the second signal, and the task is back in its queue without a delivery on its account', async () => {
    const worker = await shop.worker()
    await shop.run('call', 'hold', '-A', 'app.ts', '--args', '["b"]')
    await appears('b.running')

    worker.process.kill('SIGINT')
    await worker.says(/stopping/)
    await beyondEcho()
    worker.process.kill('SIGINT')

    expect(await worker.ended).toBe(0)
    expect(worker.said()).toContain('aborting')
    expect(await queueNamed('celery')).toMatchObject({ ready: 1 })
    const db = openDatabase(join(shop.folder, 'tasks.db'))
    expect(db.prepare('SELECT deliveries FROM ready').all([])).toMatchObject([{ deliveries: 0 }])
    db.close()
  })

  it('leaves a task behind that ignores its signal, well before the shutdown timeout', async () => {
    const worker = await shop.worker('--shutdown-timeout', '1h')
    await shop.run('call', 'stubborn', '-A', 'app.ts', '--args', '["c"]')
    await appears('c.running')

    worker.process.kill('SIGINT')
    await worker.says(/stopping/)
    await beyondEcho()
    worker.process.kill('SIGINT')

    expect(await worker.ended).toBe(0)
    expect(await queueNamed('celery')).toMatchObject({ ready: 1 })
  })

  it('exits at the third signal', async () => {
    const worker = await shop.worker()
    await shop.run('call', 'stubborn', '-A', 'app.ts', '--args', '["d"]')
    await appears('d.running')

    for (const answer of [/stopping/, /aborting/]) {
      worker.process.kill('SIGINT')
      await worker.says(answer)
      await beyondEcho()
    }
    worker.process.kill('SIGINT')

    expect(await worker.ended).toBe(1)
  })

  it('logs JSON lines for collectors', async () => {
    const worker = await shop.worker('--log-format', 'json')
    await shop.run('call', 'small', '-A', 'app.ts', '--args', '[11]')
    await worker.says(/gave up/)

    worker.process.kill('SIGTERM')
    await worker.ended

    const lines = worker
      .said()
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
    expect(lines.find(({ level }) => level === 'error')).toMatchObject({
      task: 'small',
      error: { type: 'TypeError', message: '11 is not small' },
    })
  })

  it('can be told to say only what goes wrong', async () => {
    const worker = shop.start('worker', '-A', 'app.ts', '-l', 'warn')
    const call = shop.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]', '--wait', '20s')

    expect((await call).stdout).toBe('3\n')
    expect(worker.said()).not.toContain('succeeded')
  })

  it.each(['pretty', 'json'])('works on when nobody reads its %s log any more', async (format) => {
    const worker = await shop.worker('--log-format', format)
    worker.process.stdout?.destroy()
    worker.process.stderr?.destroy()

    for (const sum of ['3\n', '7\n']) {
      const args = sum === '3\n' ? '[1, 2]' : '[3, 4]'
      expect((await shop.run('call', 'add', '-A', 'app.ts', '--args', args, '--wait', '20s')).stdout).toBe(sum)
    }

    worker.process.kill('SIGTERM')
    expect(await worker.ended).toBe(0)
  })

  it('shows the stack of a failed start to those who debug', async () => {
    shop.write('tasks.db', 'this is a letter, not a database. '.repeat(40))

    const { stderr } = await shop.run('worker', '-A', 'app.ts', '-l', 'debug')

    expect(stderr).toMatch(/\(STORAGE_CORRUPT\)\n[\s\S]*\n {4}at /)
  })

  it('warns of a queue that is mistyped', async () => {
    const worker = await shop.worker('-Q', 'fragil')

    expect(worker.said()).toContain("no task of this app goes to the queue 'fragil'; did you mean 'fragile'?")
  })
})

describe('a module that is not an app', () => {
  const failure = async (file: string): Promise<string> => {
    const { code, stderr, stdout } = await shop.run('worker', '-A', file)
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' })
    expect(stderr).toContain('(APP_NOT_FOUND)')
    return stderr
  }

  it('with a syntax error is answered with the place and the code', async () => {
    shop.write('broken.ts', `import { Celeriac } from 'celeriac'\nexport const app = new Celeriac('x', {\n`)
    shop.write('broken.js', `import { Celeriac } from 'celeriac'\nexport const app = = 1\n`)

    expect(await failure('broken.ts')).toMatch(/broken\.ts does not load: .* at broken\.ts:[23]/)
    const answer = await failure('broken.js')
    expect(answer).toMatch(/broken\.js does not load: .* at broken\.js:2/)
    expect(answer).toContain('>    2 | export const app = = 1')
  })

  it('that throws is answered with its error and where it was thrown', async () => {
    shop.write('throws.ts', `function load(): never {\n  throw new RangeError('no settings')\n}\nload()\nexport {}\n`)

    const answer = await failure('throws.ts')

    expect(answer).toContain('throws.ts threw while it was loaded: RangeError: no settings')
    expect(answer).toMatch(/at load \(.*throws\.ts:2/)
    expect(answer).not.toContain('load-app')
  })

  it('that imports what is not there is answered with the name', async () => {
    shop.write('imports.ts', `import { x } from './elsewhere.ts'\nexport const app = x\n`)

    expect(await failure('imports.ts')).toMatch(/Cannot find module '.*elsewhere\.ts'.* imported from .*imports\.ts/)
  })

  it('that exports no app is answered with what it exports', async () => {
    shop.write('other.ts', `export const settings = {}\nexport function go() {}\n`)

    expect(await failure('other.ts')).toMatch(/exports no app: it exports '(settings|go)', '(settings|go)'/)
  })

  it('that does not exist is answered with the nearest one', async () => {
    expect(await failure('app.js')).toContain('app.js does not exist; did you mean app.ts?')
  })
})

describe('finding the app', () => {
  it('takes the default export, and the only app among others', async () => {
    const code = `import { Celeriac } from 'celeriac'\nconst it = new Celeriac('x', { broker: 'sqlite://x.db' })\n`
    shop.write('default.ts', `${code}export default it\n`)
    shop.write('named.mjs', `${code}export const warehouse = it\nexport const other = 1\n`)

    expect((await shop.run('doctor', '-A', 'default.ts')).stdout).toContain("'x' defines no tasks")
    expect((await shop.run('doctor', '-A', 'named.mjs')).stdout).toContain("'x' defines no tasks")
  })

  it('takes an app of another copy of the package', async () => {
    const other = await new Workshop({ 'app.ts': demoApp }).installCopy()
    try {
      await other.worker()

      const called = await other.run('call', 'add', '-A', 'app.ts', '--args', '[1, 2]', '--wait', '20s')
      const unknown = await other.run('call', 'ad', '-A', 'app.ts')

      expect(called).toEqual({ code: 0, stdout: '3\n', stderr: '' })
      expect(unknown.stderr).toBe("celeriac: no task is named 'ad'; did you mean 'add'? (TASK_UNKNOWN)\n")
    } finally {
      await other.close()
    }
  })

  it('takes modules that need more than their types stripped', async () => {
    shop.write('settings.ts', `export enum Broker { url = 'sqlite://enum.db' }\n`)
    shop.write(
      'enums.ts',
      `import { Celeriac } from 'celeriac'\nimport { Broker } from './settings.js'\n` +
        `export const app = new Celeriac('enums', { broker: Broker.url })\n`,
    )

    expect((await shop.run('doctor', '-A', 'enums.ts')).stdout).toContain("'enums' defines no tasks")
  })
})

/** A signal within a tenth of a second of another counts as the same. */
function beyondEcho(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 120))
}
