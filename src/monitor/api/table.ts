/** Every route of the API, in the order in which they are tried. */
import type { Guard } from '../auth/guard.ts'
import type { ApiParts } from './parts.ts'
import type { Route } from './route.ts'
import { accountRoutes } from './routes/accounts.ts'
import { alertRoutes } from './routes/alerts.ts'
import { deadLetterRoutes } from './routes/dead-letters.ts'
import { insightRoutes } from './routes/insight.ts'
import { overviewRoutes } from './routes/overview.ts'
import { queueRoutes } from './routes/queues.ts'
import { scheduleRoutes } from './routes/schedules.ts'
import { taskRoutes } from './routes/tasks.ts'
import { workerRoutes } from './routes/workers.ts'

export function routeTable(parts: ApiParts, guard: Guard): Route[] {
  return [
    ...overviewRoutes(parts),
    ...taskRoutes(parts),
    ...queueRoutes(parts),
    ...workerRoutes(parts),
    ...deadLetterRoutes(parts),
    ...scheduleRoutes(parts),
    ...insightRoutes(parts),
    ...alertRoutes(parts),
    ...accountRoutes(parts, guard),
  ]
}
