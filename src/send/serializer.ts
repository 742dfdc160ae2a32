/**
 * How bodies are written and read: serializers by name, as options give them, and by content type, as messages name
 * them. JSON is at hand; MessagePack and YAML are loaded on their first use. Pickle is never read: it runs whatever its
 * writer wants to be run.
 */
import { createRequire } from 'node:module'
import { CeleriacError } from '../errors.ts'
import { decodeJson, encodeJson } from '../json.ts'
import { nearest } from '../nearest.ts'

interface Named {
  /** For options, e.g. `'msgpack'`. */
  readonly name: string
  /** For messages, e.g. `'application/x-msgpack'`; in lower case, without parameters. */
  readonly contentType: string
}

/** Writes and reads text. Both may throw whatever they like. */
export interface TextSerializer extends Named {
  readonly contentEncoding: 'utf-8'
  encode(value: unknown): string
  decode(text: string): unknown
}

/** Writes and reads bytes. */
export interface BinarySerializer extends Named {
  readonly contentEncoding: 'binary'
  encode(value: unknown): Uint8Array
  decode(bytes: Uint8Array): unknown
}

export type Serializer = TextSerializer | BinarySerializer

export const json: TextSerializer = {
  name: 'json',
  contentType: 'application/json',
  contentEncoding: 'utf-8',
  encode: encodeJson,
  decode: decodeJson,
}

const require = createRequire(import.meta.url)

/** Bytes and dates as MessagePack has them, and 64-bit numbers as `bigint` where a `number` would round them. */
const msgpack: BinarySerializer = {
  name: 'msgpack',
  contentType: 'application/x-msgpack',
  contentEncoding: 'binary',
  encode(value) {
    const { encode } = require('@msgpack/msgpack') as typeof import('@msgpack/msgpack')
    return encode(toData(value), { useBigInt64: true })
  },
  decode(bytes) {
    const { decode } = require('@msgpack/msgpack') as typeof import('@msgpack/msgpack')
    return fromData(decode(bytes, { useBigInt64: true }))
  },
}

/** The dialect of PyYAML's `safe_load`, version 1.1: dates, sets and bytes are types of their own. */
const yaml: TextSerializer = {
  name: 'yaml',
  contentType: 'application/x-yaml',
  contentEncoding: 'utf-8',
  encode(value) {
    const { stringify } = require('yaml') as typeof import('yaml')
    return stringify(toData(value), { version: '1.1', schema: 'yaml-1.1', aliasDuplicateObjects: false })
  },
  decode(text) {
    const { parse } = require('yaml') as typeof import('yaml')
    return fromData(parse(text, { version: '1.1', schema: 'yaml-1.1', intAsBigInt: true, logLevel: 'error' }))
  },
}

/** What Celery calls by a name, and we never read. */
export const pickleType = 'application/x-python-serialize'
const pickle: ReadonlySet<string> = new Set(['pickle', pickleType])

/** The serializers of an application. */
export class Serializers {
  readonly #all = new Set<Serializer>([json, msgpack, yaml])

  /** @throws CeleriacError `CONFIG_INVALID` where the name or the content type is taken */
  register(serializer: Serializer): void {
    const { name, contentType } = serializer
    for (const word of [name, contentType]) {
      if (pickle.has(word)) throw noPickle()
      if (this.find(word) !== undefined) {
        throw new CeleriacError('CONFIG_INVALID', `there is a serializer for '${word}' already`)
      }
    }
    this.#all.add(serializer)
  }

  /** By name or content type. */
  find(word: string): Serializer | undefined {
    for (const serializer of this.#all)
      if (serializer.name === word || serializer.contentType === word) return serializer
    return undefined
  }

  /** @throws CeleriacError `CONFIG_INVALID` naming the nearest one there is */
  get(word: string): Serializer {
    const found = this.find(word)
    if (found !== undefined) return found
    if (pickle.has(word)) throw noPickle()
    const names = [...this.#all].map(({ name }) => name)
    const guess = nearest(word, names)
    const advice = guess === undefined ? `there are ${names.join(', ')}` : `did you mean '${guess}'?`
    throw new CeleriacError(
      'CONFIG_INVALID',
      `no serializer is named '${word}'; ${advice} Others are added by \`app.registerSerializer\``,
    )
  }
}

function noPickle(): CeleriacError {
  return new CeleriacError(
    'CONFIG_INVALID',
    'pickle is neither written nor read: it runs whatever its writer wants to be run. Use json, msgpack or yaml',
  )
}

/** A value in the types that both formats have, beside JSON's: bytes, dates and whole numbers of 64 bits. */
function toData(value: unknown): unknown {
  if (typeof value === 'bigint') {
    if (BigInt.asIntN(64, value) === value || BigInt.asUintN(64, value) === value) return value
    throw new Error(`${value}n has more than 64 bits; send it as text`)
  }
  // A `number` of more than 32 bits would be written as a fraction.
  if (Number.isSafeInteger(value) && Math.abs(value as number) > 0x7fff_ffff) return BigInt(value as number)
  if (typeof value === 'function' || typeof value === 'symbol') throw new Error(`a ${typeof value} is no data`)
  if (typeof value !== 'object' || value === null) return value
  if (value instanceof Date || value instanceof Uint8Array) return value
  const { toJSON } = value as { toJSON?: unknown }
  if (typeof toJSON === 'function') return toData(toJSON.call(value, ''))
  if (Array.isArray(value) || value instanceof Set) return Array.from(value, toData)
  const entries = value instanceof Map ? [...value] : Object.entries(value)
  return Object.fromEntries(entries.filter(([, item]) => item !== undefined).map(([key, item]) => [key, toData(item)]))
}

/** The value as a task is to get it: whole numbers that a `number` holds become one. */
function fromData(value: unknown): unknown {
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : value
  if (Array.isArray(value)) return value.map(fromData)
  if (typeof value !== 'object' || value === null || value instanceof Date) return value
  if (value instanceof Uint8Array) return new Uint8Array(value) // Not a part of the whole message's memory.
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, fromData(item)]))
}
