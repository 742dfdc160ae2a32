/**
 * Leaves alone what fails: after so many failures in a row a task is not started for a while, then one call tries whether
 * it works again (M. Nygard, "Release It!", 2007). What waits meanwhile keeps its retries. Each worker finds out for
 * itself.
 */
import type { Clock } from '../clock.ts'
import type { ResolvedCircuitBreaker } from '../task/limits.ts'
import type { ErrorMatch } from '../task/retry-policy.ts'
import type { Attempt } from './attempt.ts'
import type { Outcome } from './outcome.ts'

interface Circuit {
  failuresInARow: number
  /** Closed until then it is open, on the monotonic clock; 0 = it is closed. */
  openUntil: number
  /** The one call that tries. */
  probe: string | undefined
}

export class CircuitBreakers {
  readonly #clock: Clock
  readonly #circuits = new Map<string, Circuit>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** 0 = it may start; else how long it should stay away, in ms. */
  ask({ message, definition }: Attempt): number {
    const breaker = definition.options.circuitBreaker
    const circuit = this.#circuits.get(message.task)
    if (breaker === undefined || circuit === undefined || circuit.openUntil === 0) return 0
    const leftMs = circuit.openUntil - this.#clock.monotonic()
    // With jitter, so that those who were sent away do not all come back with the probe.
    if (leftMs > 0) return leftMs + Math.random() * breaker.coolDownMs
    if (circuit.probe !== undefined) return breaker.coolDownMs * (0.5 + Math.random())
    circuit.probe = message.id
    return 0
  }

  /** @returns whether the circuit has just opened */
  ended({ message, definition }: Attempt, outcome: Outcome): boolean {
    const breaker = definition.options.circuitBreaker
    if (breaker === undefined) return false
    const circuit = this.#circuits.get(message.task) ?? { failuresInARow: 0, openUntil: 0, probe: undefined }
    this.#circuits.set(message.task, circuit)
    const wasProbe = circuit.probe === message.id
    if (wasProbe) circuit.probe = undefined
    if (outcome.kind === 'success') {
      circuit.failuresInARow = 0
      circuit.openUntil = 0
      return false
    }
    if (!counts(outcome, breaker)) return false
    circuit.failuresInARow += 1
    if (!wasProbe && (circuit.openUntil > 0 || circuit.failuresInARow < breaker.failures)) return false
    circuit.openUntil = this.#clock.monotonic() + breaker.coolDownMs
    return true
  }
}

function counts(outcome: Outcome, { for: match }: ResolvedCircuitBreaker): boolean {
  if (outcome.kind !== 'retry' && outcome.kind !== 'failure') return false
  return match === undefined || matches(outcome.error, match)
}

/** An error from a child has lost its class, and kept its name. */
function matches(error: unknown, match: ErrorMatch): boolean {
  if (typeof match === 'function') return match(error)
  return match.some((type) => error instanceof type || (error instanceof Error && error.name === type.name))
}
