/** Settlements of one turn of the event loop, of all consumers, with all their effects, in one script call. */
import type { Effects } from '../../broker/broker.ts'
import { LeaseLostError } from '../../errors.ts'
import type { RedisClient } from './client.ts'
import type { Encoded, Outbox } from './outbox.ts'
import { expiryArg, saveArgs } from './result-save.ts'
import { settleScript } from './scripts.ts'

/** What is settled: a message on loan to a consumer. */
export interface Held {
  /** Its place among all that the consumer was handed, from 1. */
  readonly number: number
  /** The consumer's present id, asked for when the settlement is sent. */
  readonly consumer: { readonly id: string }
  /** Told how it ended; undefined for well. */
  settled(error: unknown): void
}

interface Settlement {
  readonly held: Held
  /** Undefined for a plain acknowledgement. */
  readonly release: { readonly delayMs: number } | undefined
  readonly effects:
    | { readonly publish: readonly Encoded[]; readonly save: readonly (readonly [string, string])[] }
    | undefined
  readonly resolve: () => void
  readonly reject: (error: unknown) => void
}

export class Settlements {
  readonly #client: RedisClient
  readonly #outbox: Outbox
  #open: Settlement[] = []

  constructor(client: RedisClient, outbox: Outbox) {
    this.#client = client
    this.#outbox = outbox
  }

  ack(held: Held, effects: Effects | undefined): Promise<void> {
    const { publish = [], save = [] } = effects ?? {}
    if (publish.length === 0 && save.length === 0) return this.#add(held, undefined, undefined)
    try {
      const encoded = {
        publish: this.#outbox.encode(publish),
        save: save.map((record) => saveArgs(record, this.#client)),
      }
      return this.#add(held, undefined, encoded)
    } catch (refusal) {
      held.settled(refusal)
      return Promise.reject(refusal)
    }
  }

  /** `delayMs` 0 = to its old place. */
  release(held: Held, delayMs: number): Promise<void> {
    return this.#add(held, { delayMs }, undefined)
  }

  /** Sends what was added in this turn. To be called before anything that must come after it. */
  flush(): void {
    const batch = this.#open
    if (batch.length === 0) return
    this.#open = []
    void this.#send(batch)
  }

  #add(held: Held, release: Settlement['release'], effects: Settlement['effects']): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#open.length === 0) setImmediate(() => this.flush())
      this.#open.push({ held, release, effects, resolve, reject })
    })
  }

  async #send(batch: readonly Settlement[]): Promise<void> {
    const { prefix } = this.#client
    const { args, order } = argumentsOf(batch)
    try {
      const all = [prefix, expiryArg(this.#client), ...args]
      const reply = await this.#client.ordered(settleScript, all, Number.POSITIVE_INFINITY)
      const lost = new Set(reply === '' ? [] : reply.split(',').map(Number))
      for (const [place, settlement] of order.entries())
        end(settlement, lost.has(place) ? new LeaseLostError() : undefined)
    } catch (error) {
      for (const settlement of batch) end(settlement, error)
    }
  }
}

function end({ held, resolve, reject }: Settlement, error: unknown): void {
  held.settled(error)
  if (error === undefined) resolve()
  else reject(error)
}

/** The script's arguments, and the settlements in the order in which it counts them. */
function argumentsOf(batch: readonly Settlement[]): { args: (string | number)[]; order: Settlement[] } {
  const args: (string | number)[] = []
  const order: Settlement[] = []
  const acks = new Map<string, Settlement[]>()
  for (const settlement of batch) {
    const { held, release, effects } = settlement
    if (release !== undefined || effects !== undefined) continue
    const { id } = held.consumer
    const same = acks.get(id)
    if (same === undefined) acks.set(id, [settlement])
    else same.push(settlement)
  }
  for (const [id, settlements] of acks) {
    args.push('ack', id, settlements.length)
    for (const settlement of settlements) {
      args.push(settlement.held.number)
      order.push(settlement)
    }
  }
  for (const settlement of batch) {
    const { held, effects } = settlement
    if (effects === undefined) continue
    order.push(settlement)
    args.push('effects', held.consumer.id, held.number, effects.publish.length)
    for (const { queue, step, delayMs, envelope } of effects.publish)
      args.push(queue, step, Math.ceil(delayMs), envelope)
    args.push(effects.save.length)
    for (const [key, text] of effects.save) args.push(key, text)
  }
  // What was handed out last goes back first, so that each comes before those that were behind it.
  const releases = batch.filter(({ release }) => release !== undefined).sort((a, b) => b.held.number - a.held.number)
  for (const settlement of releases) {
    const { held, release } = settlement
    const delayMs = release?.delayMs ?? 0
    order.push(settlement)
    args.push('release', held.consumer.id, held.number, delayMs > 0 ? Math.ceil(delayMs) : '')
  }
  return { args, order }
}
