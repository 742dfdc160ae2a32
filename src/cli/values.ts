/** What flags take: each parser gives the value, or says what the flag takes and the nearest right word. */
import { InvalidArgumentError } from 'commander'
import { type Duration, type Size, toBytes, toMs } from '../duration.ts'
import { CeleriacError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { type PoolKind, poolKinds } from '../pool-kinds.ts'

export type LogLevel = 'debug' | 'info' | 'warn' | 'error'

const logLevels: readonly LogLevel[] = ['debug', 'info', 'warn', 'error']
/** Words of Celery for what is called otherwise here. */
const celeryLevels: Record<string, LogLevel> = { warning: 'warn', critical: 'error', fatal: 'error' }

export function logLevel(text: string): LogLevel {
  const word = text.toLowerCase()
  return celeryLevels[word] ?? oneOf<LogLevel>(logLevels)(word)
}

/** One of a few words. */
export function oneOf<Word extends string>(words: readonly Word[]): (text: string) => Word {
  return (text) => {
    const found = words.find((word) => word === text.toLowerCase())
    if (found !== undefined) return found
    const guess = nearest(text, words)
    throw new InvalidArgumentError(
      `${guess === undefined ? '' : `Did you mean '${guess}'? `}It takes ${words.join(', ')}.`,
    )
  }
}

export function wholeNumber(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (/^\d+$/.test(text.trim()) && value >= min && value <= max) return value
    const range = max === Number.MAX_SAFE_INTEGER ? `of at least ${min}` : `from ${min} to ${max}`
    throw new InvalidArgumentError(`It takes a whole number ${range}.`)
  }
}

/** `30` is seconds, as everywhere; `500ms`, `30s`, `5m`, `2h`, `1d` say it. */
export function duration(text: string): Duration {
  const value = (/^\d+(\.\d+)?$/.test(text.trim()) ? Number(text) : text.trim()) as Duration
  try {
    toMs(value, 'duration')
    return value
  } catch {
    throw new InvalidArgumentError("It takes seconds, or a time such as '500ms', '30s', '5m', '2h' or '1d'.")
  }
}

/** `200MB`, `1GB`; a plain number is KiB, as it is for Celery's `--max-memory-per-child`. */
export function size(text: string): Size {
  const value = (/^\d+$/.test(text.trim()) ? Number(text) * 1024 : text.trim()) as Size
  try {
    toBytes(value, 'size')
    return value
  } catch {
    throw new InvalidArgumentError("It takes a size such as '200MB' or '1GB', or a number of KiB.")
  }
}

/** A kind of pool, by our name or Celery's. */
export function pool(text: string): PoolKind {
  const word = text.toLowerCase()
  return celeryPools[word] ?? oneOf<PoolKind>(poolKinds)(word)
}

const celeryPools: Record<string, PoolKind> = { prefork: 'processes', gevent: 'async', eventlet: 'async' }

/** `10,3` or `3,10`: the most and the least; `10` alone is the most. As Celery's `--autoscale`. */
export function autoscale(text: string): { max: number; min?: number } {
  const match = /^\s*(\d+)\s*(?:,\s*(\d+)\s*)?$/.exec(text)
  const [max = 0, min] = (match?.slice(1) ?? [])
    .filter((part) => part !== undefined)
    .map(Number)
    .sort((one, other) => other - one)
  if (max < 1) throw new InvalidArgumentError('It takes the most and the least tasks at once, such as 10,3.')
  return min === undefined ? { max } : { max, min }
}

export interface HttpAddress {
  readonly host: string
  readonly port: number
}

/** `8080`, `0.0.0.0:8080`, `[::]:8080`; a port alone is for this machine. */
export function httpAddress(text: string): HttpAddress {
  const [, inBrackets, plainHost, digits] = /^(?:\[([^\]]+)\]:|([^:]+):)?(\d+)$/.exec(text.trim()) ?? []
  const port = Number(digits)
  if (digits === undefined || port > 65_535)
    throw new InvalidArgumentError('It takes a port, such as 8080 or 0.0.0.0:8080; 0 takes any that is free.')
  return { host: inBrackets ?? plainHost ?? '127.0.0.1', port }
}

/** Names with commas between. */
export function list(text: string): string[] {
  const names = text
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '')
  if (names.length === 0) throw new InvalidArgumentError('It takes names with commas between, such as picking,packing.')
  return names
}

/** `10/s`, `100/m` or `1000/h`, as a number per second. */
export function rate(text: string): number {
  const match = /^(\d+(?:\.\d+)?)(?:\/([smh]))?$/.exec(text.trim())
  const count = Number(match?.[1])
  if (match === null || count === 0)
    throw new InvalidArgumentError("It takes a rate such as '10/s', '100/m' or '1000/h'.")
  return count / { s: 1, m: 60, h: 3_600 }[(match[2] ?? 's') as 's' | 'm' | 'h']
}

/** `10/s..200/s`: from one rate to another. */
export function ramp(text: string): { readonly from: number; readonly to: number } {
  const [from, to, ...more] = text.split('..')
  if (from === undefined || to === undefined || more.length > 0) {
    throw new InvalidArgumentError("It takes two rates, such as '10/s..200/s'.")
  }
  return { from: rate(from), to: rate(to) }
}

/** A JSON array: positional arguments. */
export function jsonArray(text: string): unknown[] {
  const value = json(text, `'[1, "two"]'`)
  if (Array.isArray(value)) return value
  throw new InvalidArgumentError(`It takes a JSON array, one entry for each argument, such as '[1, "two"]'.`)
}

/** A JSON object: keyword arguments, or the input of a task with a schema. */
export function jsonObject(text: string): Record<string, unknown> {
  const value = json(text, `'{"id": 1}'`)
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new InvalidArgumentError(`It takes a JSON object, such as '{"id": 1}'.`)
}

function json(text: string, example: string): unknown {
  try {
    return JSON.parse(text)
  } catch (error) {
    throw new InvalidArgumentError(
      `It is not JSON: ${(error as Error).message}. In a shell, quote it whole: ${example}.`,
    )
  }
}

/** Somebody used the command wrongly in a way only the command itself can see. Ends with exit code 2. */
export class UsageError extends CeleriacError {
  constructor(message: string) {
    super('CONFIG_INVALID', message)
  }
}
