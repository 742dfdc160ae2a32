/**
 * Answers remote control's `ping` for a node: a worker whose event loop is held up by a task is alive all the same, and is
 * not to be taken for dead by whoever asks. To be called in a thread of a driver.
 */
import { isFor } from './addressed.ts'
import { type Bus, controlTopic, type Subscription } from './bus.ts'

export function answerPings(bus: Bus, node: string): Promise<Subscription> {
  return bus.subscribe([controlTopic], ({ payload, headers, reply }) => {
    if (reply === undefined || typeof payload !== 'object' || payload === null) return
    const { method, ...addressed } = payload as { method?: unknown }
    if (method !== 'ping' || !isFor(node, addressed)) return
    const clock = typeof headers.clock === 'number' ? headers.clock + 1 : 0
    // Who asks again is answered again.
    reply({ [node]: { ok: 'pong' } }, { clock }).catch(() => undefined)
  })
}
