/**
 * JSON as kombu writes it: values that JSON has no form for travel as objects of exactly two keys, `__type__` and
 * `__value__` (kombu ≥ 5.3, `kombu/utils/json.py`). Dates become `datetime`, bytes become `base64`. A `bigint` is written
 * as digits, as Python has them; read, it is a `number` where that loses none of them.
 *
 * What would be lost without a word in plain JSON is refused with its path: functions, symbols, NaN, cycles, and data
 * that already looks like such a typed value, which Python could not read.
 */
import { randomUUID } from 'node:crypto'
import { CeleriacError } from './errors.ts'

/** @throws CeleriacError `PAYLOAD_INVALID` naming the place of what cannot be written */
export function encodeJson(value: unknown): string {
  if (isPlain(value)) return JSON.stringify(value)
  const text = JSON.stringify(toWire(value, '', { above: new Set(), takesLongNumbers: true }))
  return text.includes(longNumberMark) ? text.replace(markedNumber, '$1') : text
}

/** @throws CeleriacError `PAYLOAD_INVALID` when the text is not JSON */
export function decodeJson(text: string): unknown {
  let value: unknown
  try {
    value = parseJson(text)
  } catch (error) {
    throw new CeleriacError('PAYLOAD_INVALID', `not JSON: ${(error as Error).message}`, { cause: error })
  }
  return text.includes('"__type__"') ? fromWire(value) : value
}

/**
 * Plain data, typed values left as they are. NaN and Infinity, which Python writes though JSON has no such thing, become
 * null, as JavaScript writes them itself; whole numbers of which a `number` would lose digits become `bigint`.
 *
 * @throws SyntaxError
 */
export function parseJson(text: string): unknown {
  if (sixteenDigits.test(text)) return parseLongNumbers(text)
  try {
    return JSON.parse(text)
  } catch {
    return parseLongNumbers(text)
  }
}

/** Texts without so many digits in a row, which are most, have no number that is too long. */
const sixteenDigits = /\d{16}/

/** `JSON.parse` does not tell the digits it has read, so long numbers go through it as texts with a mark. */
function parseLongNumbers(text: string): unknown {
  let isMarked = false
  const marked = text.replace(token, (found) => {
    if (found.startsWith('"')) return found
    if (found.endsWith('NaN') || found.endsWith('Infinity')) return 'null'
    // A number that prints as it was written has lost nothing.
    if (!/^-?\d+$/.test(found) || String(Number(found)) === found) return found
    isMarked = true
    return `"${longNumberMark}${found}"`
  })
  return isMarked ? JSON.parse(marked, unmarked) : JSON.parse(marked)
}

/** Strings, so that what stands within one is passed over; numbers; and what Python has for numbers. */
const token = /"(?:[^"\\]+|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?|-?Infinity|NaN/g

/** Not to be guessed, so that no text from outside is taken for a number. */
const longNumberMark = `number ${randomUUID()} `
const markedNumber = new RegExp(`"${longNumberMark}(-?\\d+)"`, 'g')

function unmarked(_key: string, value: unknown): unknown {
  return typeof value === 'string' && value.startsWith(longNumberMark)
    ? BigInt(value.slice(longNumberMark.length))
    : value
}

/**
 * The value as plain JSON data, typed values included: what `encodeJson` writes, before it is text.
 *
 * @throws CeleriacError `PAYLOAD_INVALID` naming the place of what cannot be written
 */
export function toJsonValue(value: unknown): unknown {
  return isPlain(value) ? value : toWire(value, '', { above: new Set(), takesLongNumbers: false })
}

/** Data that JSON writes faithfully as it is: the quick check that spares most values a copy. */
function isPlain(value: unknown, depth = 0): boolean {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return true
    case 'number':
      return Number.isFinite(value)
    case 'object': {
      if (value === null) return true
      if (depth > 64) return false
      if (Array.isArray(value)) {
        for (const item of value) if (!isPlain(item, depth + 1)) return false
        return true
      }
      const prototype = Object.getPrototypeOf(value)
      if (prototype !== Object.prototype && prototype !== null) return false
      for (const key in value) {
        if (key === '__type__' || !isPlain((value as Record<string, unknown>)[key], depth + 1)) return false
      }
      return typeof (value as { toJSON?: unknown }).toJSON !== 'function'
    }
    default:
      return false
  }
}

interface Walk {
  /** What the value lies in, to find cycles. */
  readonly above: Set<unknown>
  /** As marked texts. */
  readonly takesLongNumbers: boolean
}

function toWire(value: unknown, path: string, walk: Walk): unknown {
  switch (typeof value) {
    case 'string':
    case 'boolean':
      return value
    case 'undefined':
      return null
    case 'number':
      if (Number.isFinite(value)) return value
      throw invalid(path, String(value))
    case 'bigint':
      if (Number.isSafeInteger(Number(value))) return Number(value)
      if (walk.takesLongNumbers) return `${longNumberMark}${value}`
      throw invalid(path, `${value}n`, 'beyond the 2^53 that JSON keeps exactly; send it as text')
    case 'object':
      return value === null ? null : objectToWire(value, path, walk)
    default:
      throw invalid(path, `a ${typeof value}`)
  }
}

function objectToWire(value: object, path: string, walk: Walk): unknown {
  if (value instanceof Date) {
    if (Number.isNaN(value.getTime())) throw invalid(path, 'an invalid Date')
    // Python ≤ 3.10 reads offsets, but no `Z`.
    return { __type__: 'datetime', __value__: value.toISOString().replace('Z', '+00:00') }
  }
  if (value instanceof Uint8Array) {
    const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength)
    return { __type__: 'base64', __value__: bytes.toString('base64') }
  }
  if (walk.above.has(value)) throw invalid(path, 'a cycle')
  walk.above.add(value)
  const wire = containerToWire(value, path, walk)
  walk.above.delete(value)
  return wire
}

function containerToWire(value: object, path: string, walk: Walk): unknown {
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return toWire(toJSON.call(value, ''), path, walk)
  if (Array.isArray(value) || value instanceof Set) {
    return Array.from(value, (item, index) => toWire(item, `${path}[${index}]`, walk))
  }
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  // Not by assignment: a key `__proto__` would be lost.
  const wire = Object.fromEntries(
    entries
      .filter(([, item]) => item !== undefined)
      .map(([key, item]) => [key, toWire(item, path === '' ? key : `${path}.${key}`, walk)]),
  )
  if ('__type__' in wire && '__value__' in wire && Object.keys(wire).length === 2) {
    throw invalid(path, 'an object of just `__type__` and `__value__`', 'which marks typed values; add or rename a key')
  }
  return wire
}

function invalid(path: string, what: string, why = 'which JSON cannot carry'): CeleriacError {
  return new CeleriacError('PAYLOAD_INVALID', `${path === '' ? 'the value' : `\`${path}\``} is ${what}, ${why}`)
}

function fromWire(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(fromWire)
  if (typeof value !== 'object' || value === null) return value
  const entries = Object.entries(value)
  const { __type__: type, __value__: inner } = value as { __type__?: unknown; __value__?: unknown }
  if (entries.length === 2 && typeof type === 'string' && inner !== undefined) return typedValue(type, inner)
  return Object.fromEntries(entries.map(([key, item]) => [key, fromWire(item)]))
}

/** The types kombu writes. Dates and times without a day, decimals and UUIDs stay text: JavaScript has no such types. */
function typedValue(type: string, value: unknown): unknown {
  switch (type) {
    case 'datetime':
      return new Date(withZone(String(value)))
    case 'date':
    case 'time':
    case 'decimal':
      return value
    case 'uuid':
      return dashed(String((value as { hex?: unknown }).hex))
    case 'bytes':
      return new Uint8Array(Buffer.from(String(value), 'utf8'))
    case 'base64':
      return new Uint8Array(Buffer.from(String(value), 'base64'))
    default:
      throw new CeleriacError('PAYLOAD_INVALID', `a typed value of the unknown type '${type}'`)
  }
}

/** Celery means UTC where a date says no zone. A day alone is read as UTC anyway. */
export function withZone(iso: string): string {
  return /^\d{4}-\d\d-\d\d$|(?:[zZ]|[+-]\d\d:?\d\d)$/.test(iso) ? iso : `${iso}Z`
}

function dashed(hex: string): string {
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5')
}

/** Plain JSON data as read, with its typed values brought back. */
export function fromJsonValue(value: unknown): unknown {
  return isPlain(value) ? value : fromWire(value)
}
