/** The command as people run it: `node bin/celeriac.js` from the built package, in a folder of the test's own. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { cp, mkdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { expect } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const bin = join(root, 'bin', 'celeriac.js')
/** Processes start slowly while other tests have the processors. */
const patienceMs = 25_000

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** A worker, or any command that goes on: what it says, and its end. */
export interface Running {
  readonly process: ChildProcess
  /** All it has printed so far, on stdout and stderr. */
  said(): string
  says(pattern: RegExp): Promise<void>
  readonly ended: Promise<number | null>
}

/** A module with tasks that add, wait, are stubborn and fail. */
export const demoApp = `
import { existsSync, writeFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { Celeriac, chain } from 'celeriac'

export const app = new Celeriac('demo', { broker: 'sqlite://tasks.db', results: true })

const add = app.task('add', (x: number, y: number): number => x + y)
const double = app.task('double', (x: number): number => x * 2)
// Says that it runs with one file, and ends when there is another one.
app.task('hold', { bind: true }, async (ctx, name: string) => {
  writeFileSync(name + '.running', '')
  while (!existsSync(name + '.end')) await sleep(10, undefined, { signal: ctx.signal })
  return 'held'
})
// Does not care for its signal.
app.task('stubborn', async (name: string) => {
  writeFileSync(name + '.running', '')
  await sleep(3_600_000)
})
const small = app.task('small', { queue: 'fragile' }, (x: number): number => {
  if (x > 10) throw new TypeError(x + ' is not small')
  return x
})
app.task('pipeline', async (x: number) => (await chain(add.s(x, 1), small.s(), double.s()).delay()).id)
`

/** A folder with modules, where the command is run. */
export class Workshop {
  readonly folder: string
  readonly #running: Running[] = []

  constructor(modules: Readonly<Record<string, string>> = {}) {
    this.folder = realpathSync(mkdtempSync(join(tmpdir(), 'celeriac-cli-')))
    for (const [name, code] of Object.entries(modules)) this.write(name, code)
  }

  write(name: string, content: string): string {
    const path = join(this.folder, name)
    writeFileSync(path, content)
    return path
  }

  /** Makes `import … from 'celeriac'` find the built package, as an installation does. */
  async install(): Promise<this> {
    await mkdir(join(this.folder, 'node_modules'))
    symlinkSync(root, join(this.folder, 'node_modules', 'celeriac'))
    return this
  }

  /** The same with a copy of the package, which shares no classes with the command's own. */
  async installCopy(): Promise<this> {
    const copy = join(this.folder, 'node_modules', 'celeriac')
    await cp(join(root, 'dist'), join(copy, 'dist'), { recursive: true })
    await cp(join(root, 'package.json'), join(copy, 'package.json'))
    symlinkSync(join(root, 'node_modules'), join(copy, 'node_modules'))
    return this
  }

  async run(...args: string[]): Promise<Ran> {
    try {
      const options = { cwd: this.folder, env: environment(), timeout: 2 * patienceMs }
      const { stdout, stderr } = await promisify(execFile)(process.execPath, [bin, ...args], options)
      return { code: 0, stdout, stderr }
    } catch (error) {
      const { code, stdout, stderr } = error as Ran
      return { code, stdout, stderr }
    }
  }

  /** Runs a command that must go well and print JSON. */
  async json<T = unknown>(...args: string[]): Promise<T> {
    const { code, stdout, stderr } = await this.run(...args, '--json')
    expect(code, stderr).toBe(0)
    return JSON.parse(stdout) as T
  }

  start(...args: string[]): Running {
    const child = spawn(process.execPath, [bin, ...args], { cwd: this.folder, env: environment() })
    let said = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        said += text
      })
    }
    const running: Running = {
      process: child,
      said: () => said,
      says: async (pattern) => expect.poll(() => said, { timeout: patienceMs }).toMatch(pattern),
      ended: once(child, 'close').then(([code]) => code as number | null),
    }
    this.#running.push(running)
    return running
  }

  /** A worker that takes tasks. */
  async worker(...args: string[]): Promise<Running> {
    const worker = this.start('worker', '-A', 'app.ts', ...args)
    await worker.says(/\bready\b/)
    return worker
  }

  async close(): Promise<void> {
    for (const { process } of this.#running) process.kill('SIGKILL')
    await Promise.all(this.#running.map(({ ended }) => ended))
    rmSync(this.folder, { recursive: true, force: true })
  }
}

/** Without what the runner of the tests says about colours and brokers. */
function environment(): NodeJS.ProcessEnv {
  const { FORCE_COLOR: _force, CELERIAC_BROKER_URL: _url, NODE_OPTIONS: _options, ...rest } = process.env
  return { ...rest, NO_COLOR: '1' }
}
