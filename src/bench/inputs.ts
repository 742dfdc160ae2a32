/** What flows are given: JSON values, one after the other, and again from the first when there are no more. */
import { CeleriacError } from '../errors.ts'

export interface Inputs {
  /** How many different ones there are. */
  readonly count: number
  /** Of the flow with this number, from 0; a value of its own each time. */
  at(index: number): unknown
}

export interface FillOptions {
  /**
   * Stands in place of `{run}`, and the number of the flow, from 1, in place of `{n}`: for tasks that do nothing with an
   * id they have seen. @default these texts stay as they are
   */
  readonly run?: string | undefined
}

/** A flow that takes nothing. */
export const noInputs: Inputs = { count: 1, at: () => undefined }

/** Of a JSONL file: one value in each line, empty lines left out. @throws CeleriacError `CONFIG_INVALID` names the line */
export function inputsFromLines(text: string, file: string, fill: FillOptions = {}): Inputs {
  const lines = text.split(/\r?\n/).flatMap((line, index) => (line.trim() === '' ? [] : [{ line, number: index + 1 }]))
  if (lines.length === 0) throw invalid(`${file} is empty; it takes one JSON value in each line`)
  for (const { line, number } of lines) parse(line, 0, fill, `line ${number} of ${file}`)
  return inputsFrom(
    lines.map(({ line }) => line),
    fill,
  )
}

/** @throws CeleriacError `CONFIG_INVALID` */
export function inputsFromValues(values: readonly string[], fill: FillOptions = {}): Inputs {
  for (const value of values) parse(value, 0, fill, `the value ${value}`)
  return inputsFrom(values, fill)
}

/** Kept as texts: a flow that changes its input must not change the next one's. */
function inputsFrom(texts: readonly string[], fill: FillOptions): Inputs {
  return {
    count: texts.length,
    at: (index) => parse(texts[index % texts.length] as string, index, fill, 'an input'),
  }
}

function parse(text: string, index: number, { run }: FillOptions, what: string): unknown {
  const filled = run === undefined ? text : text.replaceAll('{n}', String(index + 1)).replaceAll('{run}', run)
  try {
    return JSON.parse(filled)
  } catch (error) {
    throw invalid(`${what} is not JSON: ${(error as Error).message}`)
  }
}

function invalid(message: string): CeleriacError {
  return new CeleriacError('CONFIG_INVALID', message)
}
