/** One delivery on its way through a worker. */
import type { Delivery } from '../broker/broker.ts'
import type { TaskMessage } from '../send/message.ts'
import type { TaskDefinition } from '../task/registry.ts'

/** A delivery that may be run. */
export interface Attempt {
  readonly delivery: Delivery
  readonly message: TaskMessage
  readonly definition: TaskDefinition
  /** Its place among all attempts at this task; see `ResultRecord.fence`. */
  readonly fence: number
  /** Tasks it has sent while running. */
  readonly children: string[]
  /** Epoch ms; null before the run. */
  startedAt: number | null
}

export function createAttempt(delivery: Delivery, message: TaskMessage, definition: TaskDefinition): Attempt {
  return { delivery, message, definition, fence: fenceOf(message, delivery), children: [], startedAt: null }
}

/** Earlier messages' attempts (others' messages do not say; their retries are the least there were), and this one's. */
export function fenceOf(message: TaskMessage, delivery: Delivery): number {
  return (message.celeriac.fence ?? message.retries) + delivery.deliveryCount
}
