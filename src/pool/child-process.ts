/** A child as a process of its own: it may crash, or be killed, and takes nobody along. */
import { type ChildProcess, spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type { Child, ChildListener } from './child.ts'
import type { ChildSettings, FromChild, ToChild } from './child-messages.ts'

/** Tells a process that it is a child, and of what. */
export const childVariable = 'CELERIAC_CHILD'

/** Of Node's options, those that are for one process alone: two cannot listen on one port for a debugger. */
const forOneProcess = /^--(inspect|debug|watch|test|prof|cpu-prof|heap-prof)/

export function startChildProcess(entry: URL, settings: ChildSettings, listener: ChildListener): Child {
  const child = spawn(process.execPath, [...inherited(process.execArgv), ...programOf(entry)], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
    serialization: 'advanced',
    env: { ...process.env, [childVariable]: JSON.stringify(settings) },
  })
  let isOver = false
  const end = (how: string): void => {
    if (isOver) return
    isOver = true
    listener.onEnd(how)
  }
  child.on('message', (message) => listener.onMessage(message as FromChild))
  child.on('error', (error) => end(`could not be started: ${error.message}`))
  // Not `exit`: what it said last may still be on its way.
  child.on('close', (code, signal) => end(signal === null ? `exited with code ${code}` : `was killed by ${signal}`))
  return new ProcessChild(child)
}

class ProcessChild implements Child {
  readonly #process: ChildProcess

  constructor(process: ChildProcess) {
    this.#process = process
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  send(message: ToChild): void {
    // Its end is told by `close`; what could not be sent before then is the pool's to know.
    if (this.#process.connected) this.#process.send(message, () => undefined)
  }

  kill(): void {
    this.#process.kill('SIGKILL')
  }
}

/** A value may follow its option as an argument of its own; left alone, it would be taken for the program. */
function inherited(execArgv: readonly string[]): string[] {
  let keeps = true
  return execArgv.filter((argument) => {
    if (argument.startsWith('-')) keeps = !forOneProcess.test(argument)
    return keeps
  })
}

/** The published JavaScript runs as it is; TypeScript sources on a Node that cannot read them go through jiti. */
function programOf(entry: URL): string[] {
  const path = fileURLToPath(entry)
  if (!path.endsWith('.ts') || 'typescript' in process.features) return [path]
  const load = `import('jiti').then(({ createJiti }) => createJiti(${JSON.stringify(entry.href)}).import(${JSON.stringify(path)}))`
  return ['--input-type=module', '--eval', load]
}
