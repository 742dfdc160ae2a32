/** Ctrl-C: the first asks for an orderly end, the second gets it at once. */

/** Somebody wants us to stop. */
export class Interrupted extends Error {
  override readonly name = 'Interrupted'
}

/**
 * npm passes a Ctrl-C on to a process that has just had it from the terminal. Signals closer together than this are
 * one, in ms.
 */
const sameSignalMs = 500

export function stopOnSignals(end: AbortController, say: (text: string) => void, abandon: () => void): void {
  let firstMs: number | undefined
  const onSignal = (): void => {
    const now = performance.now()
    if (firstMs === undefined) {
      firstMs = now
      say('closing: the workers finish what they are doing (again to stop at once)')
      end.abort(new Interrupted('interrupted'))
    } else if (now - firstMs > sameSignalMs) {
      abandon()
      process.exit(130)
    }
  }
  process.on('SIGINT', onSignal)
  process.on('SIGTERM', onSignal)
}
