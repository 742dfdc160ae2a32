/** Real processes for tests that kill: scripts of `fixtures/`, on the built package. */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, vi } from 'vitest'

const root = join(import.meta.dirname, '..', '..')
const running = new Set<Program>()
const folders: string[] = []

/** Brings `dist/` up to date. */
export async function buildPackage(): Promise<void> {
  const build = "await (await import('./scripts/build.mjs')).buildIfStale()"
  await promisify(execFile)(process.execPath, ['--input-type=module', '-e', build], { cwd: root })
}

export interface Program {
  readonly pid: number
  /** What it has printed so far, both streams. */
  readonly said: string
  /** Exit code or signal, once it has ended and its output is read. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  kill(signal: NodeJS.Signals): void
}

/** Starts a script of `fixtures/`. It is killed after the test if it still runs. */
export function start(
  script: string,
  args: readonly (string | number)[],
  env: Readonly<Record<string, string>> = {},
  nodeOptions: readonly string[] = [],
): Program {
  const child: ChildProcess = spawn(
    process.execPath,
    [...nodeOptions, join(import.meta.dirname, 'fixtures', script), ...args.map(String)],
    {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    },
  )
  let said = ''
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => {
      said += text
    })
  }
  const program: Program = {
    pid: child.pid ?? 0,
    get said() {
      return said
    },
    ended: new Promise((resolve) => child.once('close', (code, signal) => resolve(signal ?? code))),
    kill: (signal) => void child.kill(signal),
  }
  running.add(program)
  return program
}

/** Resolves once the program has said it. */
export async function hears(program: Program, text: string, timeout = 25_000): Promise<void> {
  await until(() => program.said.includes(text), timeout)
}

export function until(condition: () => boolean | Promise<boolean>, timeout = 25_000): Promise<unknown> {
  return vi.waitUntil(condition, { interval: 10, timeout })
}

/** An empty folder, removed after the tests. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'celeriac-e2e-'))
  folders.push(folder)
  return folder
}

afterEach(async () => {
  for (const program of running) {
    program.kill('SIGKILL')
    await program.ended
  }
  running.clear()
})

// When all is over: applications are closed after each test, and that needs their files.
afterAll(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true, force: true })
})
