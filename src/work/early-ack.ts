/**
 * A delivery acknowledged before its run (`acksLate: false`): what its settlement would do together with the ack
 * happens by itself, and giving it back means publishing it again.
 */
import type { Broker, Delivery, Effects } from '../broker/broker.ts'
import type { ResultStore } from '../result/result-store.ts'
import { withoutRoutingHistory } from '../send/routing-history.ts'

export function acknowledged(delivery: Delivery, broker: Broker, results: ResultStore | undefined): Delivery {
  const { queue, message, deliveryCount } = delivery
  return {
    queue,
    message,
    deliveryCount,
    delayMs: 0,
    async ack({ publish = [], save = [] }: Effects = {}) {
      // In one turn, so that a store that is both commits them together.
      if (results?.sharesStorageWith(broker)) await Promise.all([results.save(save), broker.publish(publish)])
      else {
        await results?.save(save)
        await broker.publish(publish)
      }
    },
    release: (delayMs = 0) =>
      broker.publish([{ ...message, headers: withoutRoutingHistory(message.headers), queue, delayMs }]),
    reject: () => Promise.resolve(),
    extend: () => Promise.resolve(),
  }
}
