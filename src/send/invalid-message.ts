import { CeleriacError } from '../errors.ts'

/** What every message that cannot be run ends with; `what` goes on from "the message cannot be run: ". */
export function invalidMessage(what: string, cause?: unknown): CeleriacError {
  return new CeleriacError('MESSAGE_INVALID', `the message cannot be run: ${what}`, { cause })
}
