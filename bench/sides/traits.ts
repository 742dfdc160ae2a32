/** What the scenarios need to know of the sides beforehand: where they run, at which settings, and what they lack. */
import type { BrokerName, Setting, SideName } from './side.ts'

export interface Traits {
  /** `drain` tries them all. Other scenarios take the last one, which is the best there, or, where little goes on, the first. */
  readonly settings: readonly [Setting, ...Setting[]]
  /** The part of a scenario's tasks that this side is given, so that all of them take about as long. */
  readonly share: number
  /** On which brokers it can hold back ten thousand tasks until a given time. */
  readonly delays: readonly BrokerName[]
  /** Whether it takes part where the way to the broker is longer. */
  readonly goesFar: boolean
  /** Whether it has chains and chords of its own; otherwise each step would send the next one by hand. */
  readonly canvas: boolean
  /** Whether one process can await many sends at a time. */
  readonly concurrentSends: boolean
}

const threads: Traits['settings'] = [
  { variant: 'c50', concurrency: 50, prefetchMultiplier: 1 },
  { variant: 'c200', concurrency: 200, prefetchMultiplier: 1 },
]

export const traits: Readonly<Record<SideName, Traits>> = {
  celeriac: {
    settings: threads,
    share: 1,
    delays: ['sqlite', 'redis', 'amqp'],
    goesFar: true,
    canvas: true,
    concurrentSends: true,
  },
  bullmq: {
    settings: threads,
    share: 0.4,
    delays: ['sqlite', 'redis'],
    goesFar: true,
    canvas: true,
    concurrentSends: true,
  },
  'bee-queue': {
    settings: threads,
    share: 0.6,
    delays: ['redis'],
    goesFar: true,
    canvas: false,
    concurrentSends: true,
  },
  'celery-node': {
    settings: [{ variant: '', concurrency: 0, prefetchMultiplier: 1 }],
    share: 0.3,
    delays: [],
    goesFar: true,
    canvas: false,
    concurrentSends: true,
  },
  celery: {
    settings: [
      { variant: 'prefetch 4', concurrency: 2, prefetchMultiplier: 4 },
      { variant: 'prefetch 64', concurrency: 2, prefetchMultiplier: 64 },
    ],
    share: 0.05,
    // It fetches every waiting task; ten thousand are seconds late on Redis, and minutes on RabbitMQ.
    delays: [],
    // A round trip or more for every task: it would need longer than all the others together.
    goesFar: false,
    canvas: true,
    concurrentSends: false,
  },
}

/** Who is measured beside whom. On SQLite, BullMQ works on a Redis of its own: it is there for comparison. */
export const sidesOf: Readonly<Record<BrokerName, readonly SideName[]>> = {
  sqlite: ['celeriac', 'bullmq'],
  redis: ['celeriac', 'bullmq', 'bee-queue', 'celery-node', 'celery'],
  amqp: ['celeriac', 'celery-node', 'celery'],
}

/** The npm package of a peer. */
export const packageOf: Readonly<Partial<Record<SideName, string>>> = {
  bullmq: 'bullmq',
  'bee-queue': 'bee-queue',
  'celery-node': 'celery-node',
}
