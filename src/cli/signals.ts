/** What signals ask of a worker, as they do with Celery: a stop in stages, or a new start. */

/**
 * npm and shells pass a Ctrl-C on to a process that has had it from the terminal already: signals closer together than
 * this are one, in ms.
 */
const sameSignalMs = 100

/** The stages that a signal begins with at least: SIGQUIT lets nothing end. */
const firstStage = { SIGINT: 0, SIGTERM: 0, SIGQUIT: 1 } as const

export interface Signals {
  /** Begins the first stage, if no signal has. */
  begin(): void
  /** Lets signals do what they do by themselves. */
  release(): void
}

export interface SignalListener {
  /** Called in turn, one for each SIGINT or SIGTERM; SIGQUIT leaves out the first. The last one is called again. */
  readonly stages: readonly [() => void, ...(() => void)[]]
  /**
   * Called at SIGHUP, until a stage has begun. At a terminal SIGHUP says that it was closed, where a new start would
   * live on unseen; there, and on Windows, it counts as SIGTERM.
   */
  readonly onRestart?: () => void
}

export function onSignals({ stages, onRestart }: SignalListener): Signals {
  let next = 0
  let lastMs = Number.NEGATIVE_INFINITY
  const go = (first: number): void => {
    const stage = Math.max(next, first)
    next = stage + 1
    stages[Math.min(stage, stages.length - 1)]?.()
  }
  const stop = (first: number): void => {
    const nowMs = performance.now()
    const isEcho = nowMs - lastMs < sameSignalMs && first < next
    lastMs = nowMs
    if (!isEcho) go(first)
  }
  const listeners: [NodeJS.Signals, () => void][] = Object.entries(firstStage).map(([signal, first]) => [
    signal as NodeJS.Signals,
    () => stop(first),
  ])
  const meansRestart = onRestart !== undefined && !process.stdin.isTTY && process.platform !== 'win32'
  listeners.push(['SIGHUP', () => (meansRestart ? next === 0 && onRestart() : stop(0))])
  for (const [signal, listener] of listeners) process.on(signal, listener)
  return {
    begin: () => {
      if (next === 0) go(0)
    },
    release: () => {
      for (const [signal, listener] of listeners) process.off(signal, listener)
    },
  }
}
