/** Between a task's call and the wire: an object with a schema travels as kwargs, a plain function's parameters as args. */
import { CeleriacError } from '../errors.ts'
import type { Schema } from './options.ts'

export interface WireArguments {
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

const noArgs: readonly never[] = []
const noKwargs = Object.freeze({})

/** A schema task's input as it travels: an object as kwargs, anything else as the one positional argument. */
export function inputToWire(input: unknown): WireArguments {
  return isPlainObject(input) ? { args: noArgs, kwargs: input } : { args: [input], kwargs: noKwargs }
}

export function argsToWire(args: readonly unknown[]): WireArguments {
  return { args, kwargs: noKwargs }
}

/** The input of a schema task from the wire. A chain hands the previous output as an argument; kwargs go over it. */
export function inputFromWire(args: readonly unknown[], kwargs: Readonly<Record<string, unknown>>): unknown {
  if (args.length === 0) return kwargs
  const [first] = args
  return isPlainObject(first) && Object.keys(kwargs).length > 0 ? { ...first, ...kwargs } : first
}

/** What the schema makes of a value. @throws CeleriacError `INPUT_INVALID` with every issue and its place */
export function validate(schema: Schema, value: unknown, taskName: string): unknown | Promise<unknown> {
  const result = schema['~standard'].validate(value)
  return result instanceof Promise ? result.then((settled) => accept(settled, taskName)) : accept(result, taskName)
}

type SchemaResult = Awaited<ReturnType<Schema['~standard']['validate']>>

function accept(result: SchemaResult, taskName: string): unknown {
  if (result.issues === undefined) return result.value
  const issues = result.issues.map(({ path, message }) => {
    const keys = (path ?? []).map((part) => (typeof part === 'object' ? part.key : part)).map(String)
    return keys.length === 0 ? message : `${keys.join('.')}: ${message}`
  })
  throw new CeleriacError('INPUT_INVALID', `the input of '${taskName}' does not fit its schema: ${issues.join('; ')}`)
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  return (
    typeof value === 'object' &&
    value !== null &&
    !Array.isArray(value) &&
    !ArrayBuffer.isView(value) &&
    !(value instanceof Date)
  )
}
