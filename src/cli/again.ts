/** Running this very command line once more: in place of this process, or as a child that it looks after. */
import { type ChildProcess, spawn } from 'node:child_process'

/** Tells a process that its parent supervises it: the parent's pid. */
const supervisorVariable = 'CELERIAC_SUPERVISOR'

/** As it was before the user's module changed it: a new start must find what the first one found. */
const startedIn = process.cwd()
const startedWith = { ...process.env }
/** Told by the parent's pid, because the variable is inherited by everything that a worker starts. */
const isChild = process.env[supervisorVariable] === String(process.ppid)

/** Whether the parent has the pid file and decides about new starts. */
export function isSupervised(): boolean {
  return isChild
}

type Execve = (file: string, args: readonly string[], env: NodeJS.ProcessEnv) => never

/**
 * Replaces this process by a new one with the same pid, arguments and streams; nothing of the old one is left. Returns
 * only where Node cannot do that: before 22.15, and on Windows.
 */
export function replaceProcess(): void {
  const { execve } = process as unknown as { readonly execve?: Execve }
  if (execve === undefined || process.platform === 'win32') return
  process.chdir(startedIn)
  execve(process.execPath, [process.execPath, ...commandLine()], startedWith)
}

/** A child with the same arguments and streams. A channel tells it when this process is gone. */
export function spawnChild(): ChildProcess {
  return spawn(process.execPath, commandLine(), {
    cwd: startedIn,
    env: { ...startedWith, [supervisorVariable]: String(process.pid) },
    stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
  })
}

/**
 * A child with another command of this program; what it says on stderr can be read. A channel tells it when this process
 * is gone. It is in a process group of its own, so a Ctrl-C at the terminal is not for it.
 */
export function spawnCommand(words: readonly string[]): ChildProcess {
  return spawn(process.execPath, [...process.execArgv, process.argv[1] ?? '', ...words], {
    cwd: startedIn,
    env: { ...startedWith, [supervisorVariable]: String(process.pid) },
    stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
    detached: true,
  })
}

/** Calls it when the process that supervises this one has ended without a word. */
export function onOrphaned(listener: () => void): void {
  if (isChild) process.once('disconnect', listener)
}

function commandLine(): string[] {
  return [...process.execArgv, ...process.argv.slice(1)]
}
