/** One delivery on its way through a worker. */
import type { Delivery } from '../broker/broker.ts'
import type { Job } from '../pool/job.ts'
import type { TaskMessage } from '../send/message.ts'
import type { TaskDefinition } from '../task/registry.ts'

/** A delivery that may be run. */
export interface Attempt extends Job {
  readonly delivery: Delivery
  /** Its place among all attempts at this task; see `ResultRecord.fence`. */
  readonly fence: number
  /** Epoch ms; null before the run. */
  startedAt: number | null
  readonly batch?: readonly Attempt[]
  /** Calls in its run, where that is of a batch. */
  together?: number
}

export function createAttempt(delivery: Delivery, message: TaskMessage, definition: TaskDefinition): Attempt {
  return {
    delivery,
    message,
    wire: delivery.message,
    definition,
    queue: delivery.queue,
    deliveryCount: 1 + lossesOf(message, delivery),
    fence: fenceOf(message, delivery),
    children: [],
    steps: [],
    startedAt: null,
  }
}

/** Earlier messages' attempts (others' messages do not say; their retries are the least there were), and this one's. */
export function fenceOf(message: TaskMessage, delivery: Delivery): number {
  return (message.celeriac.fence ?? message.retries) + delivery.deliveryCount
}

/** How often a worker, or a child of one, was lost while it had this message. */
export function lossesOf(message: TaskMessage, delivery: Delivery): number {
  return delivery.deliveryCount - 1 + (message.celeriac.losses ?? 0)
}

/** The calls of one run: those of a batch, or the one. */
export function callsOf(attempt: Attempt): readonly Attempt[] {
  return attempt.batch ?? [attempt]
}
