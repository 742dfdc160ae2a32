/** What Redis and its connection answer when something is wrong, in our words. */
import { CeleriacError, type ErrorCode } from '../../errors.ts'

/** The connection is away, so it is not known whether the command was run. */
export class ConnectionLost extends Error {
  override readonly name = 'ConnectionLost'
}

/** First words of replies that a while, or another server of the same data, will mend. */
const passing = new Set([
  'READONLY',
  'LOADING',
  'MASTERDOWN',
  'CLUSTERDOWN',
  'MOVED',
  'ASK',
  'TRYAGAIN',
  'NOREPLICAS',
  'OOM',
  'MISCONF',
  'BUSY',
])
/** Those of them that say: not this server, not now. Another connection may lead elsewhere. */
const elsewhere = new Set(['READONLY', 'MASTERDOWN', 'CLUSTERDOWN', 'MOVED', 'ASK'])
const refusals = new Set(['WRONGPASS', 'NOAUTH', 'NOPERM'])
const full = new Set(['OOM', 'MISCONF'])

/** First word of a reply that is an error: `READONLY`, `OOM`, `ERR` … */
export function replyCode(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  // Errors raised inside a script carry the first word after a dash, or after the name of the script.
  return /^(?:-|ERR (?=(?:OOM|READONLY|MISCONF)\b))?([A-Z]+)\b/.exec(text)?.[1] ?? 'ERR'
}

/** Whether the same command may do well in a while. */
export function isPassing(error: unknown): boolean {
  return error instanceof ConnectionLost || passing.has(replyCode(error))
}

/** Whether the connection is of no use any more, although it answers. */
export function isElsewhere(error: unknown): boolean {
  return !(error instanceof ConnectionLost) && elsewhere.has(replyCode(error))
}

/** @param where the server, without passwords */
export function translate(error: unknown, where: string): CeleriacError {
  if (error instanceof CeleriacError) return error
  const code = replyCode(error)
  const text = error instanceof Error ? error.message : String(error)
  const make = (ours: ErrorCode, message: string): CeleriacError => new CeleriacError(ours, message, { cause: error })
  if (refusals.has(code)) return make('BROKER_AUTH', `the Redis server ${where} refused us: ${text}`)
  if (full.has(code)) return make('STORAGE_FULL', `the Redis server ${where} takes no more: ${text}`)
  if (passing.has(code)) return make('BROKER_UNAVAILABLE', `the Redis server ${where} cannot serve now: ${text}`)
  return make('BROKER_UNAVAILABLE', `the Redis server ${where} cannot be reached: ${text}`)
}
