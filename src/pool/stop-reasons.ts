/** Why a run may be told to stop, and how it counts when it then does. */
import { CeleriacError } from '../errors.ts'
import type { RunOutcome } from './outcome.ts'

/** The worker must stop: what was running goes back to its queue. */
export class WorkerShutdown extends CeleriacError {
  constructor() {
    super('CLOSED', 'the worker is shutting down; the task goes back to its queue')
  }
}

/** Somebody revoked the task. */
export class Revocation extends CeleriacError {
  readonly terminate: boolean
  /** As it was asked for; whatever it says, what is killed is killed. */
  readonly signum: string | number | null

  constructor(terminate: boolean, signum: string | number | null) {
    super('TASK_REVOKED', terminate ? 'the task was terminated' : 'the task was revoked')
    this.terminate = terminate
    this.signum = signum
  }
}

/** The outcome of a run that ended after it was told to; undefined where the reason is none that decides it. */
export function outcomeOfStop(reason: CeleriacError | undefined): RunOutcome | undefined {
  if (reason instanceof WorkerShutdown) return { kind: 'interrupted' }
  if (reason instanceof Revocation) return { kind: 'revoked', terminated: reason.terminate, signum: reason.signum }
  return undefined
}
