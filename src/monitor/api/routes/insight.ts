/** What the facts mean: pipelines with what keeps them back, and what is wrong now. */
import { z } from 'zod'
import { pipelinesOf } from '../../insight/pipelines.ts'
import { sosOf } from '../../insight/sos.ts'
import type { ApiParts } from '../parts.ts'
import { type Route, route } from '../route.ts'
import { Pipeline, Sos } from '../shapes.ts'

const tag = 'insight'

export function insightRoutes(parts: ApiParts): Route[] {
  return [
    route(
      {
        ...{ method: 'get', path: '/pipelines', tag, role: 'viewer', reply: z.array(Pipeline) },
        summary: 'Tasks that follow each other, as stages; which of them keeps the others back, and what would help',
      },
      () => pipelinesOf(parts),
    ),
    route(
      {
        ...{ method: 'get', path: '/sos', tag, role: 'viewer', reply: Sos },
        summary: 'What is wrong now, the worst first, each with what helps',
      },
      () => sosOf(parts),
    ),
  ]
}
