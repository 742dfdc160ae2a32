/**
 * What the API says and takes, each shape once: checked on the way in, written into the OpenAPI document, and given to
 * the pages as types (`api-types.ts`). Times are epoch ms, durations ms.
 */
import { z } from 'zod'
import { roles } from '../auth/users.ts'

const time = z.number().describe('Epoch ms')
const text = (most: number) => z.string().min(1).max(most)
export const NodeName = text(255).describe('Node name of a worker, such as w1@host')
export const QueueName = text(255)
export const TaskId = text(255)
/** One or several, each its own parameter: `?state=FAILURE&state=RETRY`. `*` stands for anything. */
const several = z.array(text(255)).max(50)

export const Problem = z.object({
  error: z.object({ code: z.string(), message: z.string() }),
})

export const TaskSummary = z.object({
  id: z.string(),
  name: z.string().nullable(),
  state: z.string(),
  queue: z.string().nullable(),
  worker: z.string().nullable(),
  args: z.string().nullable().describe("As Python's repr would show them; secrets hidden"),
  kwargs: z.string().nullable(),
  result: z.string().nullable(),
  error: z.string().nullable(),
  retries: z.number().nullable(),
  sentAt: time.nullable(),
  readyAt: time.nullable().describe('Since when it could be taken, which workers of Celeriac say'),
  receivedAt: time.nullable(),
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  runtimeMs: z.number().nullable(),
  updatedAt: time,
  seenAt: time.describe('When the monitor heard of it first'),
  rootId: z.string().nullable(),
  parentId: z.string().nullable(),
})

export const TaskPage = z.object({
  tasks: z.array(TaskSummary),
  next: z.number().nullable().describe('Give it as `before` for the next page; null after the last one'),
})

export const TaskEvent = z.object({
  type: z.string(),
  at: time,
  worker: z.string(),
  data: z.record(z.string(), z.unknown()),
})

export const Attempt = z.object({
  number: z.number(),
  worker: z.string().nullable(),
  receivedAt: time.nullable(),
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  outcome: z.string().nullable().describe('succeeded, failed, retried, revoked, rejected; null while it runs'),
  error: z.string().nullable(),
  traceback: z.string().nullable(),
})

export const TaskDetail = TaskSummary.extend({
  traceback: z.string().nullable(),
  eta: z.string().nullable(),
  expires: z.string().nullable(),
  client: z.string().nullable(),
  events: z.array(TaskEvent).describe('Its timeline, in the order in which they were sent'),
  attempts: z.array(Attempt),
  retryable: z
    .enum(['message', 'text', 'no'])
    .describe(
      'What a retry would take its arguments from: its message, the text that was told, or those that are given',
    ),
})

export interface TaskNode {
  readonly id: string
  readonly name: string | null
  readonly state: string
  readonly queue: string | null
  readonly startedAt: number | null
  readonly endedAt: number | null
  readonly children: readonly TaskNode[]
}

export const TaskTree = z.object({
  id: z.string(),
  name: z.string().nullable(),
  state: z.string(),
  queue: z.string().nullable(),
  startedAt: time.nullable(),
  endedAt: time.nullable(),
  get children() {
    return z.array(TaskTree)
  },
})

export const TaskFilter = z.strictObject({
  id: TaskId.optional().describe('An id, or its beginning'),
  name: several.optional(),
  state: several.optional(),
  queue: several.optional(),
  worker: several.optional(),
  text: text(500)
    .optional()
    .describe('Words in arguments, result or error; their beginnings do. "Quoted" words follow each other'),
  error: text(500).optional().describe('The same, in the error alone'),
  from: z.coerce.number().int().min(0).optional().describe('Heard of first at this time or later, epoch ms'),
  to: z.coerce.number().int().min(0).optional().describe('Heard of first before this time, epoch ms'),
})

export const Limit = z.coerce.number().int().min(1).max(500).default(50)
export const Before = z.coerce.number().int().min(1).optional().describe('The `next` of the page before')
export const Span = z.strictObject({
  from: z.coerce.number().int().min(0).optional().describe('Epoch ms; an hour ago if it is not given'),
  to: z.coerce.number().int().min(0).optional().describe('Epoch ms; now if it is not given'),
})

const Histogram = z.object({
  count: z.number(),
  meanMs: z.number().nullable(),
  p50Ms: z.number().nullable(),
  p95Ms: z.number().nullable(),
  p99Ms: z.number().nullable(),
})
const counts = {
  sent: z.number(),
  received: z.number(),
  started: z.number(),
  succeeded: z.number(),
  failed: z.number(),
  retried: z.number(),
  revoked: z.number(),
  rejected: z.number(),
  run: Histogram,
  wait: Histogram,
}
export const CountsPoint = z.object({ at: time, ...counts })
export const TaskCounts = z.object({ task: z.string().nullable(), queue: z.string().nullable(), ...counts })
export const GaugePoint = z.object({
  at: time,
  last: z.record(z.string(), z.number()),
  high: z.record(z.string(), z.number()),
})

export const Series = z.object({
  stepMs: z.number(),
  from: time,
  to: time,
  points: z.array(CountsPoint).describe('Steps in which something happened'),
})

export const Queue = z.object({
  name: z.string(),
  ready: z.number(),
  delayed: z.number(),
  inFlight: z.number(),
  consumers: z.number(),
  paused: z.boolean(),
  oldestMs: z.number().nullable(),
  isDead: z.boolean().describe('Whether it holds dead letters'),
  inPerS: z.number().nullable().describe('Messages that come, over the last minute'),
  outPerS: z.number().nullable().describe('Tasks that end, over the last minute'),
  drainMs: z.number().nullable().describe('Until it is empty, as things are; null when that is never, or not known'),
  workers: z.array(z.string()),
})
export const QueueDetail = Queue.extend({
  stepMs: z.number(),
  history: z.array(GaugePoint),
  tasks: z.array(TaskCounts),
})
export const WaitingMessage = z.object({
  id: z.string().nullable(),
  task: z.string().nullable(),
  state: z.enum(['ready', 'delayed', 'in-flight']),
  at: time,
  deliveryCount: z.number(),
  args: z.unknown(),
  kwargs: z.unknown(),
})

export const Worker = z.object({
  name: z.string(),
  isAlive: z.boolean(),
  pid: z.number().nullable(),
  heardAt: time.nullable(),
  software: z.string().nullable(),
  system: z.string().nullable(),
  active: z.number().nullable(),
  processed: z.number().nullable(),
  concurrency: z.number().nullable(),
  pool: z.string().nullable(),
  queues: z.array(z.string()),
  loadavg: z.array(z.number()),
  cpu: z.number().nullable().describe('Share of one processor; 1 = one processor busy'),
  memoryBytes: z.number().nullable(),
  loopLagMs: z.number().nullable(),
  recycled: z.record(z.string(), z.number()).nullable().describe('Children that were replaced, by what ended them'),
  uptimeS: z.number().nullable(),
  counts: z.record(z.string(), z.number()).describe('Events of its tasks since the monitor was started'),
})
export const WorkerDetail = Worker.extend({
  stats: z.record(z.string(), z.unknown()).nullable(),
  conf: z.record(z.string(), z.unknown()).nullable(),
  registered: z.array(z.string()),
  activeTasks: z.array(z.record(z.string(), z.unknown())),
  reservedTasks: z.array(z.record(z.string(), z.unknown())),
  scheduledTasks: z.array(z.record(z.string(), z.unknown())),
  revokedIds: z.array(z.string()),
  stepMs: z.number(),
  history: z.array(GaugePoint),
})
/** What a worker, or all of them, said to a command. */
export const Told = z.object({ replies: z.record(z.string(), z.string()), done: z.boolean() })

export const DeadLetter = z.object({
  id: z.string(),
  task: z.string().nullable(),
  queue: z.string(),
  reason: z.string(),
  error: z.object({ type: z.string(), message: z.string(), traceback: z.string().nullable() }).nullable(),
  worker: z.string(),
  at: z.string(),
  deliveries: z.number(),
  attempts: z.array(z.object({ at: z.string(), worker: z.string(), error: z.string() })),
  args: z.unknown(),
  kwargs: z.unknown(),
  next: z.array(z.string()).describe('Tasks that wait behind it in its chain'),
  fingerprint: z.string(),
  place: z.string().nullable(),
})
export const DeadLetterGroup = z.object({
  fingerprint: z.string(),
  task: z.string().nullable(),
  queue: z.string(),
  reason: z.string(),
  type: z.string().nullable(),
  message: z.string().nullable().describe('Of the latest one'),
  place: z.string().nullable(),
  count: z.number(),
  first: z.string(),
  latest: z.string(),
})
export const LetterFilter = z.strictObject({
  queue: QueueName.optional(),
  ids: z.array(TaskId).min(1).max(1_000).optional(),
  task: text(255).optional(),
  fingerprint: z
    .string()
    .regex(/^[0-9a-f]{16}$/)
    .optional(),
})

const Args = z.array(z.unknown()).max(1_000)
const Kwargs = z.record(z.string().max(255), z.unknown())
export const Edit = z.strictObject({ args: Args.optional(), kwargs: Kwargs.optional() })
export const Retry = Edit.extend({ queue: QueueName.optional() })
export const Retried = z.object({ how: z.enum(['redriven', 'sent']), id: z.string() })
export const Revoke = z.strictObject({
  terminate: z.boolean().default(false),
  signal: z
    .string()
    .regex(/^SIG[A-Z0-9]{2,10}$/)
    .default('SIGTERM'),
})
export const Send = z.strictObject({
  name: text(255),
  args: Args.default([]),
  kwargs: Kwargs.default({}),
  queue: QueueName.optional(),
  countdownS: z.number().min(0).max(31_536_000).optional(),
  priority: z.int().min(0).max(9).optional(),
})

const perSecond = z.number().positive().max(100_000).nullable().default(null)
const dryRun = z.boolean().default(false).describe('Only count what it would be done to')
export const BulkTasks = z.strictObject({
  action: z.enum(['retry', 'revoke', 'terminate']),
  filter: TaskFilter,
  perSecond,
  dryRun,
})
export const BulkRedrive = z.strictObject({
  letters: LetterFilter,
  edit: Edit.nullable().default(null),
  perSecond,
  dryRun,
})
export const BulkDiscard = z.strictObject({ letters: LetterFilter, dryRun })
export const Job = z.object({
  id: z.string(),
  at: time,
  user: z.string(),
  state: z.enum(['running', 'done', 'cancelled', 'failed']),
  action: z.string(),
  total: z.number().describe('Counted when it began'),
  done: z.number(),
  failed: z.number(),
  errors: z.array(z.string()),
})
export const Started = z.object({ count: z.number(), job: Job.nullable().describe('Null for a dry run') })

export const AuditEntry = z.object({
  no: z.number(),
  at: time,
  user: z.string(),
  role: z.string(),
  action: z.string(),
  target: z.record(z.string(), z.unknown()),
  outcome: z.string(),
})

export const Me = z.object({
  name: z.string(),
  role: z.enum(roles),
  readOnly: z.boolean(),
  canLogOut: z.boolean(),
})

export const Broker = z.object({
  url: z.string().describe('Without its password'),
  version: z.string().describe('Of the monitor'),
  product: z.string(),
  serverVersion: z.string().nullable(),
  latencyMs: z.number().nullable().describe('Until it answered; null while it does not'),
  error: z.string().nullable(),
  memoryBytes: z.number().nullable(),
  memoryLimitBytes: z.number().nullable(),
  connections: z.number().nullable(),
  fileBytes: z.number().nullable(),
  facts: z.record(z.string(), z.string()),
  capabilities: z.record(z.string(), z.unknown()),
})

export const Overview = z.object({
  at: time,
  version: z.string(),
  broker: z.string(),
  rates: z.record(z.string(), z.number()).describe('Events of tasks per second, over the last ten'),
  states: z.record(z.string(), z.number()).describe('Tasks that are stored, by state'),
  workers: z.object({ alive: z.number(), gone: z.number(), active: z.number(), slots: z.number() }),
  queues: z.object({ ready: z.number(), delayed: z.number(), inFlight: z.number(), oldestMs: z.number().nullable() }),
  deadLetters: z.number(),
  events: z.object({ taken: z.number(), missed: z.number(), buffered: z.number() }),
  troubles: z.array(z.string()).describe('What the monitor could not do lately'),
})

export const Stage = z.object({
  task: z.string(),
  queue: z.string().nullable(),
  workers: z.array(z.string()),
  slots: z.number().nullable().describe('Tasks that its workers run at once, shared with whatever else they serve'),
  ready: z.number(),
  delayed: z.number(),
  inFlight: z.number(),
  oldestMs: z.number().nullable(),
  inPerS: z.number().nullable(),
  outPerS: z.number(),
  failedPerS: z.number(),
  retriedPerS: z.number(),
  wait: Histogram,
  run: Histogram,
  utilisation: z.number().nullable().describe('Share of the slots that it keeps busy, 0 to 1'),
})

export const Pipeline = z.object({
  id: z.string().describe('Stays the same as long as its stages do'),
  name: z.string(),
  stages: z.array(Stage).describe('In the order in which they follow each other'),
  edges: z.array(z.object({ from: z.string(), to: z.string(), count: z.number() })),
  bottleneck: z
    .object({
      task: z.string(),
      reason: z.string().describe('Why this stage, in words and numbers'),
      advice: z.string().describe('What to do'),
      command: z.string().nullable(),
      oneMoreWorker: z
        .object({ perS: z.number(), drainMs: z.number().nullable() })
        .nullable()
        .describe('What the stage would do with one more worker like those it has'),
    })
    .nullable(),
})

/** A button of a page: what is to be sent to this API. */
export const Remedy = z.object({
  label: z.string(),
  method: z.enum(['post', 'put', 'delete']),
  path: z.string().describe('Under /api/v1'),
  body: z.record(z.string(), z.unknown()),
})

export const Finding = z.object({
  level: z.enum(['info', 'warn', 'critical']),
  kind: z.string().describe('Such as `queue-growing`; stable'),
  about: z.object({ kind: z.enum(['queue', 'worker', 'task', 'schedule', 'broker', 'monitor']), name: z.string() }),
  message: z.string(),
  command: z.string().nullable().describe('What helps, or shows more'),
  remedy: Remedy.nullable(),
})

export const Sos = z.object({
  at: time,
  level: z.enum(['ok', 'info', 'warn', 'critical']),
  checked: z.array(
    z.object({ kind: z.string(), title: z.string(), level: z.enum(['ok', 'info', 'warn', 'critical']) }),
  ),
  findings: z.array(Finding).describe('The worst first'),
})

export const alertKinds = [
  'depth',
  'oldest',
  'error-rate',
  'silent-worker',
  'missed-beat',
  'dead-letters',
  'memory',
] as const
const AlertRuleParts = z.strictObject({
  name: text(100),
  kind: z.enum(alertKinds),
  target: text(255).default('*').describe('Queues, tasks, workers or schedules it is for; `*` stands for anything'),
  threshold: z
    .number()
    .min(0)
    .describe(
      'Messages; ms for oldest, silent-worker and missed-beat; 0 to 1 for error-rate and memory (of its limit)',
    ),
  clearBelow: z
    .number()
    .min(0)
    .nullable()
    .default(null)
    .describe('It is over once it has fallen to this; null = 0.8 of it'),
  forMs: z.number().min(0).max(86_400_000).default(60_000).describe('So long it must last first'),
  channels: z.array(z.string()).max(20).default([]).describe('Ids of channels'),
  isEnabled: z.boolean().default(true),
})
export const NewAlertRule = AlertRuleParts
export const AlertRule = AlertRuleParts.extend({ id: z.string() })
const ChannelParts = z.discriminatedUnion('kind', [
  z.strictObject({
    kind: z.literal('webhook'),
    name: text(100),
    url: z.url().max(2_000),
    secret: text(500).nullable().default(null).describe('Signs the body: X-Celeriac-Signature, HMAC-SHA256 in hex'),
  }),
  z.strictObject({ kind: z.literal('slack'), name: text(100), url: z.url().max(2_000) }),
  z.strictObject({
    kind: z.literal('email'),
    name: text(100),
    url: text(2_000).describe('smtp://user:password@host:587 or smtps://'),
    from: text(320),
    to: z.array(text(320)).min(1).max(50),
  }),
])
export const NewAlertChannel = ChannelParts
export const AlertChannel = z.object({
  id: z.string(),
  name: z.string(),
  kind: z.enum(['webhook', 'slack', 'email']),
  url: z.string().describe('Without its secrets'),
  isSigned: z.boolean(),
  from: z.string().nullable(),
  to: z.array(z.string()),
  lastSentAt: time.nullable(),
  lastError: z.string().nullable(),
})
export const Alert = z.object({
  rule: z.string(),
  name: z.string(),
  kind: z.enum(alertKinds),
  target: z.string(),
  state: z.enum(['pending', 'firing']),
  value: z.number(),
  threshold: z.number(),
  since: time,
  message: z.string(),
})
export const AlertEvent = z.object({
  no: z.number(),
  at: time,
  rule: z.string(),
  target: z.string(),
  event: z.enum(['firing', 'resolved', 'sent', 'not-sent', 'test']),
  message: z.string(),
})

export const Schedule = z.object({
  name: z.string(),
  task: z.string(),
  schedule: z.string().describe('In words, as `every 10 seconds`'),
  args: z.unknown(),
  kwargs: z.unknown(),
  queue: z.string().nullable(),
  source: z.enum(['code', 'api']),
  isPaused: z.boolean(),
  nextAt: time.nullable(),
  lastDueAt: time.nullable(),
  lastSentAt: time.nullable(),
  lastId: z.string().nullable(),
  sent: z.number(),
  missed: z.number(),
  skipped: z.number(),
  lastError: z.string().nullable(),
  catchUp: z.string(),
  overlap: z.string(),
})
