/** Listens to what a fleet says of itself. */
import type { Bus, Subscription } from '../broker/bus.ts'
import type { LamportClock } from './lamport-clock.ts'
import { eventsIn, isOfTypes, type ReceivedEvent, topicsOf } from './received-event.ts'

export interface ReceiveOptions {
  /** Types such as `task-failed`, or beginnings such as `worker-*`. @default all */
  readonly types?: readonly string[]
  /** Moved past what the senders' clocks say. */
  readonly lamport?: LamportClock
}

/**
 * After it resolves, every event on the bus is handed over, one by one, in order for each sender; what is no event is
 * passed over. The listener must not throw. Events may come twice, and those of different senders in any order.
 */
export function receiveEvents(
  bus: Bus,
  listener: (event: ReceivedEvent) => void,
  { types = [], lamport }: ReceiveOptions = {},
): Promise<Subscription> {
  return bus.subscribe(topicsOf(types), ({ payload }) => {
    for (const event of eventsIn(payload)) {
      lamport?.observe(event.clock)
      if (isOfTypes(event.type, types)) listener(event)
    }
  })
}
