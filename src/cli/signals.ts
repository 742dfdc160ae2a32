/** Ctrl-C in stages: each further signal asks more firmly. */

/**
 * npm and shells pass a Ctrl-C on to a process that has had it from the terminal already: signals closer together than
 * this are one, in ms.
 */
const sameSignalMs = 100

/** Calls the stages in turn, one for each SIGINT or SIGTERM; the last one again for every further signal. */
export function onSignals(stages: readonly [() => void, ...(() => void)[]]): void {
  let next = 0
  let lastMs = Number.NEGATIVE_INFINITY
  const onSignal = (): void => {
    const nowMs = performance.now()
    const isEcho = nowMs - lastMs < sameSignalMs
    lastMs = nowMs
    if (isEcho) return
    stages[Math.min(next, stages.length - 1)]?.()
    next += 1
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}
