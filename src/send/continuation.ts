/**
 * What follows the end of a task, read from its own message: the next step of its chain and its callbacks after a
 * success, its error callbacks and the fate of the remaining steps after a failure. Pure; sends nothing.
 * (Celery: `celery/app/trace.py`, `celery/backends/base.py`.)
 */
import type { TaskMessage } from './message.ts'
import type { WireSignature } from './wire.ts'

/** A signature about to be sent, with what its position gives it. */
export interface Successor {
  readonly signature: WireSignature
  /** Put before the signature's own arguments, unless it is immutable. */
  readonly partialArgs: readonly unknown[]
  /** Steps that follow it, the next one last; null where it is no step of a chain. */
  readonly chain: readonly WireSignature[] | null
}

/** Sent after a success with `value`: callbacks first, then the next step. */
export function afterSuccess(message: TaskMessage, value: unknown): Successor[] {
  const { callbacks, chain } = message.embed
  const successors: Successor[] = (callbacks ?? []).map((signature) => ({
    signature,
    partialArgs: [value],
    chain: null,
  }))
  const next = chain?.[chain.length - 1]
  if (chain !== null && next !== undefined) {
    successors.push({ signature: next, partialArgs: [value], chain: chain.slice(0, -1) })
  }
  return successors
}

/** Error callbacks take the id of the failed task, the one form that crosses languages. */
export function afterFailure(message: TaskMessage): Successor[] {
  return (message.embed.errbacks ?? []).map((signature) => ({ signature, partialArgs: [message.id], chain: null }))
}

/** The steps that will not run now, in their order. */
export function remainingSteps(message: TaskMessage): WireSignature[] {
  return [...(message.embed.chain ?? [])].reverse()
}
