/**
 * Keeps a worker running as a child process, and starts it again when that is asked for.
 *
 * Signals are handed on to the child, and its exit code is this process's. SIGHUP, or `restart()`, stops the child as
 * SIGTERM does and starts another one.
 */
import type { ChildProcess } from 'node:child_process'
import { constants } from 'node:os'
import type { Logger } from '../logger.ts'
import { spawnChild } from './again.ts'
import { onSignals } from './signals.ts'

export interface SupervisorOptions {
  readonly logger: Logger
  /** A child that fails is not the end: the next `restart()` starts another one. */
  readonly outlivesFailures: boolean
  /** After so long a child that is to be replaced has to abort its tasks; then it is killed. In ms. @default never */
  readonly hurryAfterMs?: { readonly abort: number; readonly kill: number }
}

export class Supervisor {
  readonly #options: SupervisorOptions
  #child: ChildProcess | undefined
  #goal: 'run' | 'restart' | 'stop' = 'run'
  #hurry: NodeJS.Timeout[] = []
  #resolve: (code: number) => void = () => undefined

  constructor(options: SupervisorOptions) {
    this.#options = options
  }

  /** Starts the child; resolves, once there will be none any more, with the exit code. */
  run(): Promise<number> {
    onSignals({
      stages: [() => this.#stop('SIGTERM'), () => this.#stop('SIGQUIT'), () => this.#stop('SIGQUIT')],
      onRestart: () => this.restart(),
    })
    return new Promise((resolve) => {
      this.#resolve = resolve
      this.#start()
    })
  }

  restart(): void {
    if (this.#goal !== 'run') return
    if (this.#child === undefined) return this.#start()
    this.#goal = 'restart'
    this.#child.kill('SIGTERM')
    const { hurryAfterMs } = this.#options
    if (hurryAfterMs === undefined) return
    this.#hurry = [
      setTimeout(() => this.#child?.kill('SIGQUIT'), hurryAfterMs.abort),
      setTimeout(() => this.#child?.kill('SIGKILL'), hurryAfterMs.kill),
    ]
  }

  #start(): void {
    this.#goal = 'run'
    const child = spawnChild()
    this.#child = child
    child.on('error', (error) => {
      if (child.pid !== undefined) return
      this.#options.logger.error({ error }, 'the worker could not be started')
      this.#ended(1, null)
    })
    child.once('exit', (code, signal) => this.#ended(code, signal))
  }

  #stop(signal: NodeJS.Signals): void {
    // One that is to be replaced has been told already.
    const isTold = this.#goal === 'restart' && signal === 'SIGTERM'
    this.#goal = 'stop'
    if (this.#child === undefined) this.#resolve(0)
    else if (!isTold) this.#child.kill(signal)
  }

  #ended(code: number | null, signal: NodeJS.Signals | null): void {
    const { logger, outlivesFailures } = this.#options
    for (const timer of this.#hurry.splice(0)) clearTimeout(timer)
    this.#child = undefined
    if (this.#goal === 'restart') return this.#start()
    const exitCode = code ?? 128 + (signal === null ? 0 : constants.signals[signal])
    // Told to stop before it could listen.
    if (this.#goal === 'stop' && (signal === 'SIGTERM' || signal === 'SIGQUIT')) return this.#resolve(0)
    if (this.#goal === 'run' && outlivesFailures && exitCode !== 0) {
      logger.warn({ code: exitCode }, 'the worker has ended; it starts again at the next change')
      return
    }
    this.#resolve(exitCode)
  }
}
