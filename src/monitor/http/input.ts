/** What a request brings, checked against the shapes of its route. */
import { z } from 'zod'
import { HttpProblem } from './problem.ts'

/** Nesting of a body: what is sent on is gone through by functions that call themselves. */
const maxDepth = 100

/** @throws HttpProblem 400 */
export function checked(shape: z.ZodType | undefined, value: unknown, place: string): unknown {
  if (shape === undefined) {
    const names = Object.keys((value ?? {}) as object)
    if (names.length === 0) return {}
    throw invalid(`${place} has '${names[0]?.slice(0, 100)}', but nothing is taken there`)
  }
  const result = shape.safeParse(value)
  if (result.success) return result.data
  const [issue] = result.error.issues
  const at = issue === undefined || issue.path.length === 0 ? '' : ` \`${issue.path.join('.').slice(0, 200)}\``
  throw invalid(`${place}${at}: ${issue?.message.slice(0, 500) ?? 'it does not fit'}`)
}

/** Parameters of a query: lists where the shape has lists, else one value each. @throws HttpProblem 400 */
export function queryOf(shape: z.ZodType | undefined, search: URLSearchParams): Record<string, string | string[]> {
  const query: Record<string, string | string[]> = {}
  for (const name of new Set(search.keys())) {
    const values = search.getAll(name)
    const isList = shape instanceof z.ZodObject && isArray((shape.shape as Record<string, z.ZodType>)[name])
    if (!isList && values.length > 1) throw invalid(`the query has '${name.slice(0, 100)}' ${values.length} times`)
    Object.defineProperty(query, name, { value: isList ? values : values[0], enumerable: true })
  }
  return query
}

/** @throws HttpProblem 400, 415 */
export function bodyOf(text: string, contentType: string | undefined): unknown {
  if (text === '') return {}
  if (!/^application\/json\b/i.test(contentType ?? '')) {
    throw new HttpProblem(415, 'CONTENT_TYPE', 'a body must be JSON, with content-type: application/json')
  }
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw invalid(`the body is not JSON: ${(error as Error).message.slice(0, 200)}`)
  }
  refuseDeep(value)
  return value
}

function isArray(shape: z.ZodType | undefined): boolean {
  if (shape instanceof z.ZodOptional || shape instanceof z.ZodDefault) return isArray(shape.unwrap() as z.ZodType)
  return shape instanceof z.ZodArray
}

function refuseDeep(value: unknown): void {
  let level: unknown[] = [value]
  for (let depth = 0; level.length > 0; depth += 1) {
    if (depth > maxDepth) throw invalid(`the body is nested deeper than ${maxDepth} levels`)
    level = level.flatMap((item) => (typeof item === 'object' && item !== null ? Object.values(item) : []))
  }
}

function invalid(message: string): HttpProblem {
  return new HttpProblem(400, 'CONFIG_INVALID', message)
}
