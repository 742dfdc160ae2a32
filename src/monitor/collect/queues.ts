/** The queues: what waits in them, how fast it comes and goes, and the messages themselves where a look costs nothing. */
import type { Broker, PeekedMessage, QueueInfo } from '../../broker/broker.ts'
import type { Clock } from '../../clock.ts'
import type { ReceivedEvent } from '../../events/received-event.ts'
import { deadSuffix } from '../../send/dead-letters.ts'
import { markerQueue } from '../../send/migration-ledger.ts'
import type { MonitorStore } from '../store/store.ts'
import type { Places } from './places.ts'

export interface QueuesParts {
  readonly broker: Broker
  readonly store: MonitorStore
  readonly places: Places
  readonly clock: Clock
  /** Look at messages where they lie, to be able to send them again. */
  readonly peeks: boolean
  /** Takes what messages tell of their tasks. */
  readonly learn: (events: readonly ReceivedEvent[]) => void
}

/** A queue, and how it has changed since the last look. */
export interface KnownQueue extends QueueInfo {
  /** More (or, below zero, fewer) messages per second than before; null after the first look. */
  readonly growthPerS: number | null
}

/** Messages looked at in each queue; those behind them come up in later rounds. */
const peeked = 100
/** Queues that nobody uses any more, such as those of replies, must not fill the file. */
const maxQueues = 2_000

export class Queues {
  readonly #parts: QueuesParts
  #queues: readonly KnownQueue[] = []
  #lookedAtMs: number | null = null

  constructor(parts: QueuesParts) {
    this.#parts = parts
  }

  all(): readonly KnownQueue[] {
    return this.#queues
  }

  get(name: string): KnownQueue | undefined {
    return this.#queues.find(({ queue }) => queue === name)
  }

  /** When they were looked at last, on the monotonic clock's scale of `Clock.now`: epoch ms; null before the first look. */
  get lookedAtMs(): number | null {
    return this.#lookedAtMs
  }

  async look(): Promise<void> {
    const { broker, clock, store } = this.#parts
    const queues = (await broker.queues()).filter(({ queue }) => queue !== markerQueue).slice(0, maxQueues)
    const nowMs = clock.now()
    const passedMs = this.#lookedAtMs === null ? null : nowMs - this.#lookedAtMs
    const before = new Map(this.#queues.map((known) => [known.queue, total(known)]))
    this.#queues = queues.map((info) => {
      const last = before.get(info.queue)
      const isKnown = last !== undefined && passedMs !== null && passedMs > 0
      return { ...info, growthPerS: isKnown ? ((total(info) - last) * 1_000) / passedMs : null }
    })
    this.#lookedAtMs = nowMs
    store.write(() => {
      for (const { queue, ready, delayed, inFlight, oldestMs, consumers } of this.#queues) {
        store.series.gauge('queue', queue, { ready, delayed, inFlight, oldestMs, consumers })
      }
    })
    // Elsewhere a look would take each message away for a moment, and mark it as delivered.
    if (this.#parts.peeks && broker.capabilities.silentPeek) await this.#peek()
  }

  async #peek(): Promise<void> {
    const { broker, store, places } = this.#parts
    for (const { queue, ready, delayed } of this.#queues) {
      if (ready + delayed === 0) continue
      const messages = await broker.peek(queue, peeked)
      store.messages.add(messages)
      if (queue.endsWith(deadSuffix)) continue
      for (const { headers } of messages) if (typeof headers.task === 'string') places.learn(headers.task, queue)
      this.#parts.learn(messages.flatMap((message) => sentEvent(message) ?? []))
    }
  }
}

/** What a producer would have told when he sent it, had he told. Undefined for what is no task of protocol 2. */
function sentEvent({ queue, headers, at }: PeekedMessage): ReceivedEvent | undefined {
  const {
    id: uuid,
    task: name,
    argsrepr: args,
    kwargsrepr: kwargs,
    root_id,
    parent_id,
    retries,
    eta,
    expires,
  } = headers
  if (typeof uuid !== 'string' || typeof name !== 'string') return undefined
  const hostname = typeof headers.origin === 'string' ? headers.origin : ''
  const { sent } = (headers.celeriac ?? {}) as { sent?: unknown }
  const timestamp = (typeof sent === 'number' ? sent : at) / 1_000
  const told = { name, args, kwargs, root_id, parent_id, retries, eta, expires, queue }
  return { type: 'task-sent', uuid, hostname, timestamp, clock: 0, ...told } as ReceivedEvent
}

function total({ ready, delayed, inFlight }: QueueInfo): number {
  return ready + delayed + inFlight
}
