import type { Bus, BusHeaders, BusMessage, RequestOptions, Subscription } from '../../broker/bus.ts'
import { type Clock, systemClock } from '../../clock.ts'
import { CeleriacError } from '../../errors.ts'
import type { BusHub } from './bus-hub.ts'
import type { MemoryOptions } from './store.ts'
import { toJson } from './stored-message.ts'

/** The reference bus: fan-out within this process. */
export class MemoryBus implements Bus {
  readonly #hub: BusHub
  readonly #clock: Clock
  /** What closing has to end: subscriptions, and requests that still gather. */
  readonly #open = new Set<() => void>()
  #closed = false

  constructor({ store, clock = systemClock }: MemoryOptions) {
    this.#hub = store.bus
    this.#clock = clock
  }

  async open(): Promise<void> {
    this.#assertOpen()
  }

  async publish(topic: string, payload: unknown, headers: BusHeaders = {}): Promise<void> {
    this.#assertOpen()
    this.#hub.send(topic, toJson(payload, `the payload for ${topic}`), headers, undefined)
  }

  async subscribe(topics: readonly string[], listener: (message: BusMessage) => void): Promise<Subscription> {
    this.#assertOpen()
    const stop = this.#hub.subscribe(topics, listener)
    this.#open.add(stop)
    return {
      close: async () => {
        stop()
        this.#open.delete(stop)
      },
    }
  }

  async request(
    topic: string,
    payload: unknown,
    { timeoutMs, replies: wanted = Number.POSITIVE_INFINITY, headers = {} }: RequestOptions,
  ): Promise<unknown[]> {
    this.#assertOpen()
    const payloadJson = toJson(payload, `the payload for ${topic}`)
    const replies: unknown[] = []
    await new Promise<void>((resolve) => {
      const end = (): void => {
        timer.cancel()
        this.#open.delete(end)
        resolve()
      }
      const timer = this.#clock.after(timeoutMs, end)
      this.#open.add(end)
      this.#hub.send(topic, payloadJson, headers, async (reply) => {
        if (!this.#open.has(end)) return
        replies.push(JSON.parse(toJson(reply, `the reply to ${topic}`)))
        if (replies.length >= wanted) end()
      })
    })
    return replies
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const end of this.#open) end()
    this.#open.clear()
  }

  #assertOpen(): void {
    if (this.#closed) throw new CeleriacError('CLOSED', 'the memory bus is closed')
  }
}
