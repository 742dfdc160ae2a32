/**
 * Revoked tasks, remembered by the broker: workers that start later must not run them either, and Celery's own way, a
 * list in each worker's memory, forgets them with its last worker.
 *
 * They are messages on a queue that nobody consumes, each with ids and until when they count. A worker looks through
 * them when it starts, and takes away what is over.
 */
import { randomUUID } from 'node:crypto'
import type { Broker, Delivery, Message } from '../broker/broker.ts'
import type { Bus, Subscription } from '../broker/bus.ts'
import { type Clock, sleep } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { Revoked, revokedForMs } from '../work/revoked.ts'

export const revokedQueue = 'celeriac.revoked'

/** Tells the other workers that ids are remembered. */
const rememberedTopic = 'celeriac.revoked.remembered'
/** One of the workers that heard a revocation writes it down: the first after a random part of this time. In ms. */
const maxPauseMs = 300
/** Messages looked through at the start. */
const maxLooked = 50_000

interface Kept {
  readonly ids: readonly string[]
  readonly untilMs: number
}

export interface RevocationsParts {
  readonly broker: Broker
  readonly bus: Bus
  readonly revoked: Revoked
  readonly clock: Clock
  readonly logger: Logger
}

export class Revocations {
  readonly #parts: RevocationsParts
  /** What others have written down. */
  readonly #remembered: Revoked
  #subscription: Subscription | undefined

  constructor(parts: RevocationsParts) {
    this.#parts = parts
    this.#remembered = new Revoked(parts.clock)
  }

  /** Learns what was revoked before. */
  async start(): Promise<void> {
    const { bus, broker, revoked, clock } = this.#parts
    this.#subscription = await bus.subscribe([rememberedTopic], ({ payload }) => {
      if (Array.isArray(payload)) this.#remembered.add(payload.map(String))
    })
    const kept = (await broker.peek(revokedQueue, maxLooked)).flatMap((message) => readKept(message) ?? [])
    for (const { ids, untilMs } of kept) if (untilMs > clock.now()) revoked.add(ids, untilMs)
    if (kept.some(({ untilMs }) => untilMs <= clock.now())) await this.#clear(kept.length)
  }

  async stop(): Promise<void> {
    await this.#subscription?.close()
  }

  /** From now on none of them starts here; and nowhere, once one of the workers that heard it has written it down. */
  async revoke(ids: readonly string[]): Promise<void> {
    this.#parts.revoked.add(ids)
    void this.#remember(ids)
  }

  /** What another worker told in its `hello`. */
  merge(told: unknown): void {
    if (typeof told === 'object' && told !== null) this.#parts.revoked.add(Object.keys(told))
  }

  async #remember(ids: readonly string[]): Promise<void> {
    const { broker, bus, clock, logger } = this.#parts
    await sleep(clock, Math.random() * maxPauseMs)
    const left = ids.filter((id) => !this.#remembered.has(id))
    if (left.length === 0) return
    try {
      await remember(left, { broker, bus, clock })
    } catch (error) {
      logger.error(
        { ids: left, error },
        'revoked tasks could not be written down; workers that start later may run them',
      )
    }
  }

  /** Takes away what is over. Another worker that does the same leaves some of it; that is for the next one. */
  async #clear(count: number): Promise<void> {
    const { broker, clock, logger } = this.#parts
    const consumer = await broker.consume([revokedQueue], { name: `revoked-${randomUUID()}` })
    try {
      const deliveries: Delivery[] = []
      for (let left = count; left > 0; ) {
        const fetched = await consumer.fetch(Math.min(left, 1_000), { waitMs: 0 })
        if (fetched.length === 0) break
        deliveries.push(...fetched)
        left -= fetched.length
      }
      const isOver = ({ message }: Delivery): boolean => (readKept(message)?.untilMs ?? 0) <= clock.now()
      await Promise.all(deliveries.map((delivery) => (isOver(delivery) ? delivery.ack() : delivery.release())))
    } catch (error) {
      logger.debug({ error }, 'old revocations could not be cleared')
    } finally {
      await consumer.close()
    }
  }
}

/** Writes down that the tasks must not start, for workers that start later. @throws what publishing throws */
export async function remember(
  ids: readonly string[],
  { broker, bus, clock }: Pick<RevocationsParts, 'broker' | 'bus' | 'clock'>,
): Promise<void> {
  const kept: Kept = { ids, untilMs: clock.now() + revokedForMs }
  const properties = { contentType: 'application/json', contentEncoding: 'utf-8' }
  await broker.publish([{ queue: revokedQueue, headers: {}, properties, body: JSON.stringify(kept) }])
  await bus.publish(rememberedTopic, ids)
}

function readKept({ body }: Message): Kept | undefined {
  try {
    const { ids, untilMs } = JSON.parse(String(body)) as Partial<Kept>
    return Array.isArray(ids) && typeof untilMs === 'number' ? { ids: ids.map(String), untilMs } : undefined
  } catch {
    return undefined
  }
}
