/** A broker that fails to take messages now and then, or takes them twice, the same way for the same seed. */
import type { Broker, OutgoingMessage, PublishOptions } from '../broker/broker.ts'
import { CeleriacError } from '../errors.ts'

export interface FlakyOptions {
  /** Share of the calls of `publish` that are refused, nothing having been taken. 0 to 1. @default 0.1 */
  readonly fails?: number
  /** Share of those whose messages arrive twice, as after a broken connection. 0 to 1. @default 0.1 */
  readonly doubles?: number
  /** @default 1 */
  readonly seed?: number
}

export function flakyBroker(broker: Broker, { fails = 0.1, doubles = 0.1, seed = 1 }: FlakyOptions): Broker {
  const random = seeded(seed)
  const publish = async (messages: Iterable<OutgoingMessage>, options?: PublishOptions): Promise<void> => {
    if (random() < fails) throw new CeleriacError('BROKER_UNAVAILABLE', 'the broker is flaky: nothing was taken')
    const all = [...messages]
    await broker.publish(random() < doubles ? [...all, ...all] : all, options)
  }
  return new Proxy(broker, {
    get(target, key) {
      if (key === 'publish') return publish
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
}

/** Numbers from 0 to 1: the generator "mulberry32" (T. Ettinger, 2017, public domain). */
function seeded(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
