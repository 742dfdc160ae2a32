/** Python with Celery: Debian's, which the python3 in PATH need not be. */
import { execFile, execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { promisify } from 'node:util'
import { Program } from './program.ts'

let found: string | undefined | null = null

/** A Python that can import Celery, its Redis client and its serializers; undefined where there is none. */
export function pythonWithCelery(): string | undefined {
  if (found === null) {
    found = ['/usr/bin/python3', 'python3'].find((python) => {
      try {
        execFileSync(python, ['-c', 'import celery, msgpack, redis, yaml'], { stdio: 'ignore' })
        return true
      } catch {
        return false
      }
    })
  }
  return found
}

function python(): string {
  const path = pythonWithCelery()
  if (path === undefined) throw new Error('no Python with Celery is installed')
  return path
}

export interface PythonWorkerOptions {
  /** Its module defines the Celery application `app`. */
  readonly appFile: string
  /** What the module reads from its environment. */
  readonly env: Readonly<Record<string, string>>
  readonly queues: readonly string[]
  /** @default 1 */
  readonly concurrency?: number
  /**
   * `solo` and `threads` of Celery 5.2 sleep for seconds while messages wait in their buffers.
   * @default 'prefork'
   */
  readonly pool?: 'prefork' | 'solo' | 'threads'
  /** @default 'python@localhost' */
  readonly name?: string
  /** Further arguments of `celery worker`. */
  readonly args?: readonly string[]
}

export interface PythonWorker {
  readonly pid: number
  readonly name: string
  /** Its log so far. */
  readonly said: string
  /** Exit code or signal, once it has ended. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly hasEnded: boolean
  /** SIGTERM: finishes what runs. */
  stop(): Promise<void>
  /** SIGKILL, for the processes of its pool too, as when a machine dies. */
  kill(): Promise<void>
  freeze(): void
  thaw(): void
}

const startWithinMs = 30_000

/** Resolves once the worker consumes. */
export async function startCeleryWorker(options: PythonWorkerOptions): Promise<PythonWorker> {
  const { appFile, env, queues, concurrency = 1, pool = 'prefork', name = 'python@localhost', args = [] } = options
  // Celery 5.2 looks at a timer it has just set only when its loop wakes again; the heartbeat sees to that every second.
  const quiet = ['--without-gossip', '--without-mingle', '--heartbeat-interval', '1']
  const program = new Program({
    command: python(),
    args: [
      ...['-m', 'celery', '-A', basename(appFile, '.py'), 'worker', '-n', name, '-Q', queues.join(','), '-l', 'INFO'],
      ...['-P', pool, '-c', String(concurrency), '-O', 'fair', ...quiet, ...args],
    ],
    cwd: dirname(appFile),
    env: { PYTHONUNBUFFERED: '1', PYTHONDONTWRITEBYTECODE: '1', C_FORCE_ROOT: '1', ...env },
  })
  await program.until(() => program.said.includes(' ready.'), startWithinMs)
  return {
    get pid() {
      return program.pid
    },
    name,
    get said() {
      return program.said
    },
    ended: program.ended,
    get hasEnded() {
      return program.hasEnded
    },
    stop: () => program.stop(),
    kill: async () => {
      const children = childrenOf(program.pid)
      await program.kill()
      for (const pid of children) killIfThere(pid)
    },
    freeze: () => program.signal('SIGSTOP'),
    thaw: () => program.signal('SIGCONT'),
  }
}

/** Where the system does not tell, they notice by themselves: without a parent they end after their task. */
function childrenOf(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    return []
  }
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
  }
}

export interface PythonRun {
  readonly env?: Readonly<Record<string, string>>
  /** Folder its imports are looked up in. */
  readonly folder?: string
  /** @default 60_000 */
  readonly timeoutMs?: number
}

/**
 * Runs a script that reads one JSON value from the environment variable `INPUT` and prints one JSON value as its last line.
 * @throws Error with what it wrote to stderr
 */
export async function runPython(script: string, input: unknown, run: PythonRun = {}): Promise<unknown> {
  const { env, folder, timeoutMs = 60_000 } = run
  const cwd = folder ?? mkdtempSync(join(tmpdir(), 'celeriac-python-'))
  try {
    const { stdout } = await promisify(execFile)(python(), ['-c', script], {
      cwd,
      env: { ...process.env, PYTHONDONTWRITEBYTECODE: '1', ...env, INPUT: JSON.stringify(input) },
      timeout: timeoutMs,
      killSignal: 'SIGKILL',
      maxBuffer: 64 * 1024 * 1024,
    })
    const last = stdout.trimEnd().split('\n').at(-1) ?? ''
    return last === '' ? undefined : JSON.parse(last)
  } finally {
    if (folder === undefined) rmSync(cwd, { recursive: true, force: true })
  }
}
