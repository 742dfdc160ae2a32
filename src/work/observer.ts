/** Who wants to know what a worker does: the sender of events, the application's signals. */
import type { Delivery } from '../broker/broker.ts'
import type { TaskMessage } from '../send/message.ts'
import type { Attempt } from './attempt.ts'
import type { Outcome } from './outcome.ts'

export interface WorkerObserver {
  /** It passed the gate, and starts now or once there is a slot. */
  onReceived?(attempt: Attempt): void
  onStarted?(attempt: Attempt): void
  /** Its outcome is decided, not yet stored. `attempt` is undefined for what was not run, `message` for what was unreadable. */
  onEnded?(
    delivery: Delivery,
    message: TaskMessage | undefined,
    attempt: Attempt | undefined,
    outcome: Outcome,
    runMs: number,
  ): void
}
