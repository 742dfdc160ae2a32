/**
 * A server or another program that tests start: its end is ours too. It ends with this process even when that is killed
 * (Linux, through util-linux's setpriv), because a server left behind would disturb runs to come.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

export interface ProgramOptions {
  readonly command: string
  readonly args: readonly string[]
  /** On top of this process's own. */
  readonly env?: Readonly<Record<string, string>>
  readonly cwd?: string
  /** Gives it an input (`write`), and tells of what it writes to stdout. @default none */
  readonly onStdout?: (text: string) => void
}

const running = new Set<Program>()

process.on('exit', () => {
  for (const program of running) program.signal('SIGKILL')
})

const setpriv = ['/usr/bin/setpriv', '/bin/setpriv'].find((path) => process.platform === 'linux' && existsSync(path))

export class Program {
  /** Exit code or signal, once it has ended and its output is read. */
  readonly ended: Promise<number | NodeJS.Signals | null>
  readonly #name: string
  readonly #child: ChildProcess
  #said = ''
  #hasEnded = false

  constructor({ command, args, env, cwd, onStdout }: ProgramOptions) {
    const [file, ...rest] = setpriv === undefined ? [command] : [setpriv, '--pdeathsig', 'KILL', '--', command]
    this.#name = command
    this.#child = spawn(file as string, [...rest, ...args], {
      env: { ...process.env, ...env },
      cwd,
      stdio: [onStdout === undefined ? 'ignore' : 'pipe', 'pipe', 'pipe'],
    })
    for (const stream of [this.#child.stdout, this.#child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.#said += text
      })
    }
    if (onStdout !== undefined) this.#child.stdout?.on('data', onStdout)
    // A program that has ended takes no input; whoever waits for it hears of its end.
    this.#child.stdin?.on('error', () => undefined)
    this.ended = new Promise((resolve) => {
      const end = (how: number | NodeJS.Signals | null): void => {
        this.#hasEnded = true
        running.delete(this)
        resolve(how)
      }
      this.#child.once('error', (error) => {
        this.#said += `${error.message}\n`
        end(null)
      })
      this.#child.once('close', (code, signal) => end(signal ?? code))
    })
    running.add(this)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  get hasEnded(): boolean {
    return this.#hasEnded
  }

  /** What it has printed so far, both streams. */
  get said(): string {
    return this.#said
  }

  write(text: string): void {
    this.#child.stdin?.write(text)
  }

  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** SIGTERM, and SIGKILL when that was not enough in time. Resolves when it has ended; harmless when it has. */
  async stop(withinMs = 15_000): Promise<void> {
    if (this.#hasEnded) return
    this.signal('SIGCONT')
    this.signal('SIGTERM')
    const timer = setTimeout(() => this.signal('SIGKILL'), withinMs)
    await this.ended
    clearTimeout(timer)
  }

  /** SIGKILL. Resolves when it has ended. */
  async kill(): Promise<void> {
    if (!this.#hasEnded) this.signal('SIGKILL')
    await this.ended
  }

  /** Resolves once the condition holds. Rejects, with all it said, when it ends before or takes too long. */
  async until(condition: () => boolean | Promise<boolean>, withinMs: number, doing = 'be ready'): Promise<void> {
    const deadlineMs = performance.now() + withinMs
    while (!(await condition())) {
      if (this.#hasEnded) throw new Error(`${this.#name} ended before it could ${doing}:\n${this.#said}`)
      if (performance.now() > deadlineMs) {
        throw new Error(`${this.#name} took more than ${withinMs} ms to ${doing}:\n${this.#said}`)
      }
      await new Promise((resolve) => setTimeout(resolve, 10))
    }
  }
}
