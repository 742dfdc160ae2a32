/**
 * Where a migration gets the messages of one queue from: those that are ready, then those that are delayed. It also
 * acknowledges them, and tells when that is certain.
 *
 * - A source with timed leases confirms each acknowledgement.
 * - A source that lends by connection pushes messages and confirms nothing: an acknowledgement is certain once the server
 *   has answered something later on the same channel. Whether it was the same is told by one message of the batch that is
 *   held until then: it is still on loan only if the channel has lived on.
 */
import type { Broker, ConsumeOptions, Consumer, Delivery } from '../broker/broker.ts'
import { type Clock, sleep } from '../clock.ts'
import { LeaseLostError } from '../errors.ts'

/** A message that is on the target, and what is to be told about its acknowledgement. */
export interface Moved {
  readonly delivery: Delivery
  /** It is off the source for good. */
  readonly confirm: () => void
  /** The lease was lost: the source will deliver it again, or may. */
  readonly lose: () => void
}

export interface Intake {
  /** The next messages, none when there are none at this moment. One batch at a time. */
  next(max: number, signal?: AbortSignal): Promise<readonly Delivery[]>
  /** Takes messages of this batch off the source. */
  settle(moved: readonly Moved[]): Promise<void>
  /** Gives back what is not settled. */
  close(): Promise<void>
}

export async function openIntake(
  source: Broker,
  queue: string,
  options: ConsumeOptions,
  clock: Clock,
): Promise<Intake> {
  if (source.capabilities.lease === 'connection') return new PushedIntake(source, queue, options, clock)
  const ready = await source.consume([queue], options)
  const delayed = await source.consume([queue], { ...options, delayed: true })
  return new TimedIntake([ready, delayed], clock)
}

const ackTimeoutMs = 30_000
const ackPauseMs = 250
/** A batch that is pushed is complete when nothing more has come for so long, in ms. */
const gatherMs = 200

class TimedIntake implements Intake {
  readonly #consumers: readonly Consumer[]
  readonly #clock: Clock

  constructor(consumers: readonly Consumer[], clock: Clock) {
    this.#consumers = consumers
    this.#clock = clock
  }

  async next(max: number, signal?: AbortSignal): Promise<readonly Delivery[]> {
    for (const consumer of this.#consumers) {
      const deliveries = await consumer.fetch(max, { waitMs: 0, ...(signal && { signal }) })
      if (deliveries.length > 0) return deliveries
    }
    return []
  }

  async settle(moved: readonly Moved[]): Promise<void> {
    await Promise.all(moved.map((one) => acknowledge(one, this.#clock)))
  }

  async close(): Promise<void> {
    for (const consumer of this.#consumers) await consumer.close()
  }
}

class PushedIntake implements Intake {
  readonly #source: Broker
  readonly #queue: string
  readonly #options: ConsumeOptions
  readonly #clock: Clock
  #ready: Consumer | undefined
  #delayed: Consumer | undefined
  #isDelayedTurn = false
  /** Held back while the others of its batch are acknowledged. */
  #witness: Moved | undefined
  /** Acknowledged, and not certain yet. */
  readonly #uncertain: Moved[] = []

  constructor(source: Broker, queue: string, options: ConsumeOptions, clock: Clock) {
    this.#source = source
    this.#queue = queue
    this.#options = options
    this.#clock = clock
  }

  async next(max: number, signal?: AbortSignal): Promise<readonly Delivery[]> {
    if (!this.#isDelayedTurn) {
      const batch = await this.#gather(max, signal)
      await this.#hearWitness()
      if (batch.length > 0) return batch
    }
    this.#isDelayedTurn = true
    this.#delayed ??= await this.#source.consume([this.#queue], { ...this.#options, delayed: true })
    const batch = await this.#delayed.fetch(max, { waitMs: 0, ...(signal && { signal }) })
    if (batch.length > 0) return batch
    // The look that found nothing was answered on the channel of the acknowledgements.
    this.#confirmAll()
    this.#isDelayedTurn = false
    return []
  }

  async settle(moved: readonly Moved[]): Promise<void> {
    const [first, ...others] = moved
    if (first === undefined) return
    const now = this.#isDelayedTurn || this.#witness !== undefined ? moved : others
    if (now === others) this.#witness = first
    await Promise.all(now.map((one) => acknowledge({ ...one, confirm: () => this.#uncertain.push(one) }, this.#clock)))
  }

  async close(): Promise<void> {
    await this.#hearWitness()
    await this.#ready?.close()
    await this.#delayed?.close()
    this.#confirmAll()
  }

  /** A whole batch: then nothing more is on its way to us that would have to be given back. */
  async #gather(max: number, signal: AbortSignal | undefined): Promise<Delivery[]> {
    if (this.#ready === undefined) this.#ready = await this.#source.consume([this.#queue], this.#options)
    else await this.#ready.add(this.#queue)
    const batch: Delivery[] = []
    while (batch.length < max) {
      const waitMs = batch.length === 0 ? 0 : gatherMs
      const more = await this.#ready.fetch(max - batch.length, { waitMs, ...(signal && { signal }) })
      if (more.length === 0) break
      batch.push(...more)
    }
    await this.#ready.cancel(this.#queue)
    return batch
  }

  /** After the server has answered: are the acknowledgements of the batch before certain? Then it is the witness's turn. */
  async #hearWitness(): Promise<void> {
    const witness = this.#witness
    if (witness === undefined) return
    this.#witness = undefined
    try {
      await witness.delivery.extend(0)
    } catch (error) {
      if (!(error instanceof LeaseLostError)) throw error
      for (const { lose } of [...this.#uncertain.splice(0), witness]) lose()
      return
    }
    this.#confirmAll()
    await acknowledge({ ...witness, confirm: () => this.#uncertain.push(witness) }, this.#clock)
  }

  #confirmAll(): void {
    for (const { confirm } of this.#uncertain.splice(0)) confirm()
  }
}

/** Tries until it is done or refused, as long as there is hope. */
async function acknowledge({ delivery, confirm, lose }: Moved, clock: Clock): Promise<void> {
  const deadlineMs = clock.monotonic() + ackTimeoutMs
  for (;;) {
    try {
      await delivery.ack()
      return confirm()
    } catch (error) {
      if (error instanceof LeaseLostError) return lose()
      if (clock.monotonic() > deadlineMs) throw error
    }
    await sleep(clock, ackPauseMs)
  }
}
