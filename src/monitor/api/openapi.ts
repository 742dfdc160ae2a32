/** The API as an OpenAPI 3.1 document, made from the table of routes: what is checked is what is described. */
import { z } from 'zod'
import { packageVersion } from '../../version.ts'
import type { Route } from './route.ts'
import * as shapes from './shapes.ts'

type Json = Record<string, unknown>

/** Status codes that any route may answer with. */
const problems = {
  400: 'What was sent does not fit; the message says what would',
  401: 'Nobody was named, or nobody that is known',
  403: 'Not with this role, not from another site, not in read-only mode',
  404: 'It is not there',
  409: 'It cannot be done as things are',
  413: 'The body is too large',
  429: 'Too many requests, or too many wrong passwords',
  503: 'The broker, the store or the monitor cannot answer now',
} as const

const base = '/api/v1'

export function openApi(routes: readonly Route[]): Json {
  const components = new Components()
  const paths: Record<string, Json> = {}
  const add = (path: string, method: string, operation: Json): void => {
    const place = `${base}${path.replace(/:(\w+)/g, '{$1}')}`
    paths[place] = { ...paths[place], [method]: operation }
  }
  for (const route of routes) add(route.path, route.method, operationOf(route, components))
  add('/live', 'get', liveOperation(components))
  add('/openapi.json', 'get', {
    ...{ tags: ['overview'], summary: 'This document', operationId: 'getOpenapi' },
    responses: { 200: { description: 'Well', content: { 'application/json': { schema: { type: 'object' } } } } },
  })
  return {
    openapi: '3.1.0',
    info: {
      title: 'Celeriac monitor',
      version: packageVersion(),
      description: 'What a fleet of workers does, and what it can be told. Times are epoch ms, durations ms.',
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: '/' }],
    security: [{}, { bearer: [] }, { basic: [] }, { session: [] }],
    paths,
    components: {
      schemas: components.schemas,
      securitySchemes: {
        bearer: { type: 'http', scheme: 'bearer' },
        basic: { type: 'http', scheme: 'basic' },
        session: { type: 'apiKey', in: 'cookie', name: 'celeriac_session' },
      },
    },
  }
}

function operationOf(route: Route, components: Components): Json {
  const { method, path, tag, summary, role, params, query, body, reply } = route
  const words = path.split(/[/:-]/).filter((word) => word !== '')
  const isOpen = role === 'anybody'
  return {
    tags: [tag],
    summary,
    operationId: [method, ...words.map(capitalised)].join(''),
    description: isOpen ? 'For anybody.' : `For role ${role} and above.`,
    ...(isOpen && { security: [{}] }),
    parameters: [...parametersOf('path', params), ...parametersOf('query', query)],
    ...(body !== undefined && {
      requestBody: { content: { 'application/json': { schema: inline(body) } } },
    }),
    responses: {
      200: { description: 'Well', content: { 'application/json': { schema: components.schemaOf(reply) } } },
      ...problemResponses(components),
    },
  }
}

function liveOperation(components: Components): Json {
  return {
    tags: ['overview'],
    summary: 'What happens, as server-sent events',
    operationId: 'getLive',
    description:
      'Events `overview`, `tasks`, `queues`, `workers`, `alert`, `job` with JSON as data; `missed` when the reader was too slow or more changed than is sent: read the lists anew.',
    responses: {
      200: { description: 'A stream', content: { 'text/event-stream': { schema: { type: 'string' } } } },
      ...problemResponses(components),
    },
  }
}

function problemResponses(components: Components): Json {
  const schema = components.schemaOf(shapes.Problem)
  return Object.fromEntries(
    Object.entries(problems).map(([status, description]) => [
      status,
      { description, content: { 'application/json': { schema } } },
    ]),
  )
}

function parametersOf(place: 'path' | 'query', shape: z.ZodType | undefined): Json[] {
  if (shape === undefined) return []
  const { properties = {}, required = [] } = inline(shape) as {
    properties?: Record<string, Json>
    required?: string[]
  }
  return Object.entries(properties).map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    required: place === 'path' || required.includes(name),
    ...(description !== undefined && { description }),
    schema,
  }))
}

/** What is sent: what has a default may be left out. */
function inline(shape: z.ZodType): Json {
  const { $schema: _draft, ...schema } = z.toJSONSchema(shape, { io: 'input', unrepresentable: 'any' }) as Json
  return schema
}

/** What is answered, with shapes of a name told once. */
class Components {
  readonly schemas: Record<string, unknown> = {}
  readonly #names = z.registry<{ id: string }>()

  constructor() {
    for (const [id, shape] of Object.entries(shapes)) if (shape instanceof z.ZodType) this.#names.add(shape, { id })
  }

  schemaOf(shape: z.ZodType): unknown {
    // Within another one it is told by its name, even where it holds itself.
    const around = z.toJSONSchema(z.object({ it: shape }), {
      ...{ io: 'output', unrepresentable: 'any', metadata: this.#names },
    }) as unknown as { properties: { it: unknown }; $defs?: Record<string, Json> }
    for (const [name, { id: _id, ...schema }] of Object.entries(around.$defs ?? {})) {
      this.schemas[name] = placed(schema)
    }
    return placed(around.properties.it)
  }
}

/** References as they are in this document. */
function placed(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema).replaceAll('"#/$defs/', '"#/components/schemas/'))
}

function capitalised(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}
